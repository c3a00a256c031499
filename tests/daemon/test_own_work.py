from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.own_facts import Awaiting
from daemon.alerts.lane import SinkStats
from daemon.own_work import OwnWorkView
from daemon.reload import Standing
from daemon.run_figures import RunFigures
from tests.daemon.watchpost import MINUTE, Options, WatchPost
from tests.fakes.clock import NOW, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.scripted_engine import ScriptedEngine

GOOD = SinkStats(name="console")
DOWN = SinkStats(name="slack", state="down", last_error="Slack says invalid_auth;\n a cure")
LATE = SinkStats(name="webhook", state="retrying", last_error="HTTP 502", oldest=NOW - 5 * MINUTE)


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    post = WatchPost(engine, tmp_path)
    yield post
    post.close()


def view(post: WatchPost, *sinks: SinkStats, problem: str = "", overdue: timedelta | None = None) -> OwnWorkView:
    return OwnWorkView(
        sinks=lambda: sinks,
        overdue=lambda: {"ask-usage": overdue} if overdue else {},
        standing=lambda: Standing(taken_at=NOW, problem=problem),
        figures=RunFigures(),
        answers_within=lambda: None,
        last=lambda: (post.watch.snapshot, post.watch.book),
        clock=FakeClock(),
    )


def test_a_sink_that_needs_a_person_or_fails_for_five_minutes_takes_no_messages(post: WatchPost) -> None:
    fresh = replace(LATE, name="other", oldest=NOW - 4 * MINUTE)
    assert view(post, GOOD, DOWN, LATE, fresh).look(None).undelivered == {
        "slack": "takes none: Slack says invalid_auth; a cure",
        "webhook": "takes none: HTTP 502",
    }


def test_of_a_bad_configuration_the_mistakes_are_told_and_not_the_frame_around_them(post: WatchPost) -> None:
    problem = "cannot read the configuration /x\n  [a] b = 1   no such key\n  [c] d = 2   is bad\n2 problems."
    assert view(post, problem=problem).look(None).reload_fault == "[a] b = 1 no such key; [c] d = 2 is bad"
    assert view(post, problem="not readable").look(None).reload_fault == "not readable"


def test_what_is_overdue_says_for_how_long(post: WatchPost) -> None:
    assert view(post, overdue=25 * MINUTE).look(None).overdue == {"ask-usage": "not done for 25 min"}


def test_something_waits_for_an_approval_only_in_a_mode_that_asks_for_one(post: WatchPost) -> None:
    job = post.engine.add("old-job")
    post.die(job, 0)
    post.cycles(2)
    post.cycle(timedelta(days=10))
    post.cycle(timedelta(days=10))
    assert post.watch.snapshot is not None
    assert post.watch.snapshot.decision.removals
    assert view(post).look(None).awaiting is None
    post.watch.adopt(replace(Options().book(), mode="approve"))
    assert view(post).look(None).awaiting == Awaiting(objects=1, size_bytes=None)
    post.watch.adopt(replace(Options().book(), mode="enforce"))
    assert view(post).look(None).awaiting is None
