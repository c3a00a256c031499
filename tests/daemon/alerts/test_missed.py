from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from collectors.facts import Intent
from daemon.alerts import message, missed, outbox
from tests.daemon.alerts.build import CRASHED, HOST, OOM, death
from tests.daemon.watchpost import HOUR, MINUTE, SECOND, WatchPost
from tests.fakes.clock import NOW
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collectors.facts import Death

TOLD = {CRASHED, OOM}
LONG_AGO = NOW - 5 * HOUR


@pytest.fixture
def post(tmp_path: Path) -> Iterator[WatchPost]:
    """Give a watch post whose engine can be scripted."""
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        post = WatchPost(engine, tmp_path)
        yield post
        post.close()


def summaries(post: WatchPost) -> list[list[str]]:
    """Give the lines of every summary that people are told, oldest first."""
    rows = post.store.read("SELECT record FROM outbox WHERE kind = 'summary' ORDER BY id")
    return [list(missed.RECORD.validate_json(row["record"]).lines()) for row in rows]


def names(deaths: list[Death]) -> list[str]:
    return [each.name for each in missed.too_old(deaths, NOW, ["quiet-*"], TOLD)]


def test_old_ends_that_are_found_after_an_absence_are_one_message(
    post: WatchPost, caplog: pytest.LogCaptureFixture
) -> None:
    etl, api = post.engine.add("etl"), post.engine.add("api")
    clean, fresh = post.engine.add("clean"), post.engine.add("fresh")
    post.cycle()
    post.die(etl, 1, told=False)
    post.die(api, 139, told=False)
    post.die(clean, 0, told=False)
    again = post.restarted(5 * HOUR)
    again.die(fresh, 2, told=False)
    again.cycle(MINUTE)
    [lines] = summaries(again)
    assert sorted(line.split(":")[0] for line in lines) == ["api", "etl"]
    assert again.notified
    assert "while nobody watched 2 containers ended badly, too long ago for an alert: " in caplog.text
    again.cycles(3, MINUTE)
    third = again.restarted(HOUR)
    third.cycles(3, SECOND)
    assert len(summaries(third)) == 1
    third.close()


def test_many_ends_within_the_last_hour_are_one_message_no_storm(post: WatchPost) -> None:
    fleet = [post.engine.add(f"job-{number}") for number in range(30)]
    post.cycle()
    for container in fleet:
        post.die(container, 1, told=False)
    again = post.restarted(10 * MINUTE)
    again.cycles(60)
    batch = outbox.next_batch(again.store, "console", again.clock.now())
    assert batch is not None
    assert {state.subject.name for state in batch.states} == {container.name for container in fleet}
    outbox.mark_sent(again.store, batch.ids, again.clock.now())
    assert outbox.next_batch(again.store, "console", again.clock.now()) is None
    assert summaries(again) == []
    again.close()


def test_a_summary_that_could_not_be_stored_is_told_by_the_next_cycle(post: WatchPost) -> None:
    etl = post.engine.add("etl")
    post.cycle()
    post.die(etl, 1, told=False)
    again = post.restarted(5 * HOUR)
    again.store.write(lambda inside: inside.execute("ALTER TABLE outbox RENAME TO elsewhere"))
    with pytest.raises(Exception, match="no such table"):
        again.cycle()
    again.store.write(lambda inside: inside.execute("ALTER TABLE elsewhere RENAME TO outbox"))
    again.cycle()
    assert len(summaries(again)) == 1
    again.close()


def test_only_what_is_bad_and_wanted_and_no_news_is_summed_up() -> None:
    old = death(LONG_AGO, name="old")
    assert names([old, death(NOW - MINUTE, name="young")]) == ["old"]
    assert names([death(LONG_AGO, name="clean", exit_code=0), replace(old, intent=Intent.API)]) == []
    assert names([replace(old, name="quiet-1"), replace(old, labels={"shipkeeper.alerts": "off"})]) == []
    assert list(missed.too_old([old], NOW, [], {OOM})) == []


def test_a_summary_lists_the_newest_first_and_stays_short() -> None:
    ends = [replace(death(LONG_AGO + timedelta(seconds=n), name=f"job-{n:03}"), container_id=str(n)) for n in range(70)]
    told = missed.sum_up([*ends, replace(ends[0], finished_at=LONG_AGO - HOUR)])
    assert told is not None
    shown = message.missed_ends(told, HOST)
    assert shown.title == "while nobody watched 70 containers ended badly"
    assert shown.lines[0].startswith("job-069: exited 7 (error) at ")
    assert shown.lines[20].startswith("also job-049, job-048, ")
    assert shown.lines[-1] == "and 10 more"
    assert list(told.lines())[-1].endswith(", 2 times")


def test_a_summary_goes_out_alone_and_once(post: WatchPost) -> None:
    for number in range(2):
        told = missed.sum_up([death(LONG_AGO, name=f"job-{number}")])
        assert told is not None
        for _ in range(2):
            post.store.write(partial(outbox.save_summary, missed=told, sinks=["slack"], now=NOW))
    sent = []
    while batch := outbox.next_batch(post.store, "slack", NOW):
        assert batch.missed is not None
        sent.append([end.name for end in batch.missed.ends])
        outbox.mark_sent(post.store, batch.ids, NOW)
    assert sent == [["job-0"], ["job-1"]]
