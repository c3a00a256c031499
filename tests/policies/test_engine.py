from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.facts import Engine, EngineState, SourceName, Unknown
from collectors.own_facts import OwnWork
from policies.engine import EngineDown, EngineSlow, EngineStuck, EventsStale
from policies.policy import Condition, ConditionState, Severity
from tests.policies.build import NOW, facts

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN


def judge(state: EngineState, **changes: str) -> Condition:
    dead = {SourceName.DOCKER: Unknown("no engine", NOW)}
    [condition] = EngineDown().decide(facts(engine=Engine(state=state, since=NOW, **changes), sources=dead))  # type: ignore[arg-type]  # words only
    return condition


@pytest.mark.parametrize(
    ("engine", "state", "severity"),
    [
        (EngineState.UP, OK, Severity.CRITICAL),
        (EngineState.STARTING, BETWEEN, Severity.CRITICAL),
        (EngineState.STOPPED, BAD, Severity.INFO),
        (EngineState.CRASHED, BAD, Severity.CRITICAL),
        (EngineState.HUNG, BAD, Severity.CRITICAL),
        (EngineState.DENIED, BAD, Severity.CRITICAL),
        (EngineState.UNSUPPORTED, BAD, Severity.CRITICAL),
    ],
)
def test_an_engine_that_somebody_stopped_is_news_and_any_other_absence_is_urgent(
    engine: EngineState, state: ConditionState, severity: Severity
) -> None:
    found = judge(engine)
    assert (found.state, found.severity) == (state, severity)


def test_each_state_of_the_engine_is_told_in_words_of_its_own() -> None:
    assert len({judge(state).reason for state in EngineState}) == len(EngineState)


def test_the_reason_says_since_when_why_and_what_to_do() -> None:
    denied = judge(EngineState.DENIED, why="permission denied", cure="usermod -aG docker")
    assert denied.reason == (
        "out of our reach: it refuses us, since 2026-11-23 16:02 UTC (permission denied; usermod -aG docker)"
    )


def test_what_the_engine_does_not_finish_is_told() -> None:
    [stuck] = EngineStuck().decide(facts(engine_stuck="it has been removing image app:1 for 12 min"))
    [well] = EngineStuck().decide(facts())
    assert (stuck.state, stuck.reason) == (BAD, "it has been removing image app:1 for 12 min")
    assert well.state is OK


def test_it_needs_no_source_for_it_speaks_when_they_fail() -> None:
    assert EngineDown.needs == frozenset()


@pytest.mark.parametrize(("seconds", "expected"), [(2.0, BAD), (1.5, BETWEEN), (0.9, OK)])
def test_an_engine_that_answers_late_is_slow(seconds: float, expected: ConditionState) -> None:
    own = OwnWork(engine_answers_within=timedelta(seconds=seconds))
    [found] = EngineSlow().decide(facts(own=own))
    assert found.state is expected


def test_how_slow_it_is_says_nothing_while_it_is_down_or_too_few_answers_are_known() -> None:
    away = Engine(state=EngineState.HUNG, since=NOW)
    own = OwnWork(engine_answers_within=timedelta(seconds=5))
    assert [each.state for each in EngineSlow().decide(facts(engine=away, own=own))] == [BETWEEN]
    assert list(EngineSlow().decide(facts())) == []


@pytest.mark.parametrize(("closed", "expected"), [(None, OK), (timedelta(seconds=20), BAD)])
def test_a_stream_of_events_that_is_closed_is_told(closed: timedelta | None, expected: ConditionState) -> None:
    [found] = EventsStale().decide(facts(own=OwnWork(no_events_for=closed)))
    assert found.state is expected
