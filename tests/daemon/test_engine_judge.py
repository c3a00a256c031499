"""When failed pings mean that the engine is down."""

from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.facts import Engine, EngineState
from daemon.engine_judge import EngineJudge, Outage
from tests.fakes.clock import NOW

CRASHED = Outage(EngineState.CRASHED, "connection refused", "look")
UP = Engine(state=EngineState.UP, since=NOW, version="28.5.2")


def fail(judge: EngineJudge, *seconds: float, outage: Outage = CRASHED) -> EngineState:
    for second in seconds:
        judge.failed(outage, NOW + timedelta(seconds=second), second)
    return judge.engine.state


def up() -> EngineJudge:
    judge = EngineJudge(NOW)
    judge.greeted(UP)
    return judge


def test_at_first_it_is_starting_until_three_failures() -> None:
    judge = EngineJudge(NOW)
    assert judge.engine.state is EngineState.STARTING
    assert fail(judge, 1, 2) is EngineState.STARTING
    assert judge.undecided
    assert fail(judge, 3) is EngineState.CRASHED
    assert not judge.undecided


def test_an_engine_that_was_up_is_down_after_three_failures_since_the_first() -> None:
    judge = up()
    assert fail(judge, 100, 101) is EngineState.UP
    assert fail(judge, 102) is EngineState.CRASHED
    assert judge.engine.since == NOW + timedelta(seconds=100)
    assert (judge.engine.why, judge.engine.version) == ("connection refused", "28.5.2")


def test_a_success_between_begins_the_count_anew() -> None:
    judge = up()
    fail(judge, 1, 2)
    judge.answered()
    assert fail(judge, 3, 4) is EngineState.UP


def test_failures_far_apart_do_not_add_up() -> None:
    assert fail(up(), 1, 20, 40) is EngineState.UP


def test_a_settled_word_needs_no_confirmation() -> None:
    stopped = Outage(EngineState.STOPPED, "stopped", "start it", settled=True)
    assert fail(up(), 1, outage=stopped) is EngineState.STOPPED


def test_once_down_the_kind_may_change_but_not_since_when() -> None:
    judge = up()
    fail(judge, 1, 2, 3)
    stopped = Outage(EngineState.STOPPED, "no such socket", "start it")
    assert fail(judge, 8, outage=stopped) is EngineState.STOPPED
    assert judge.engine.since == NOW + timedelta(seconds=1)


@pytest.mark.parametrize("was_down", [True, False])
def test_one_success_is_up_and_since_then_only_if_it_was_down(*, was_down: bool) -> None:
    judge = up()
    if was_down:
        fail(judge, 1, 2, 3)
    later = NOW + timedelta(seconds=60)
    judge.greeted(Engine(state=EngineState.UP, since=later))
    assert judge.engine.since == (later if was_down else NOW)
    assert judge.engine.why == ""
