"""What a policy selects goes by itself only in its mode, on its schedule, within its caps, and never by the half."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from daemon.errors import ShipkeeperError
from daemon.outcome import Outcome
from daemon.runs import RunState
from policies.bounds import Bounds
from policies.selection import parse
from tests.daemon.deck import Deck, outcomes
from tests.daemon.watchpost import HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    import pytest

AFTER_GRACE = 16 * MINUTE


def jobs(deck: Deck, count: int) -> None:
    for number in range(count):
        deck.job(f"job-{number}")


def test_a_policy_that_only_observes_removes_nothing_by_itself_nor_by_an_approval(deck: Deck) -> None:
    deck.adopt(bounds={"containers": Bounds(mode="observe")})
    jobs(deck, 1)
    assert deck.by_itself(AFTER_GRACE) is None
    run = deck.apply(deck.plan())
    assert outcomes(run) == {"job-0": Outcome.NOT_ELIGIBLE}
    assert deck.engine.non_get() == []


def test_a_policy_that_waits_for_an_approval_removes_nothing_by_itself(deck: Deck) -> None:
    deck.adopt(bounds={"containers": Bounds(mode="approve")})
    jobs(deck, 1)
    assert deck.by_itself(AFTER_GRACE) is None
    assert outcomes(deck.apply(deck.plan())) == {"job-0": Outcome.REMOVED}


def test_no_policy_does_more_than_the_mode_of_the_whole(deck: Deck) -> None:
    deck.adopt(mode="approve", bounds={"containers": Bounds(mode="enforce")})
    jobs(deck, 1)
    assert deck.by_itself(AFTER_GRACE) is None


def test_a_run_removes_no_more_than_the_caps_allow_and_the_next_one_goes_on(deck: Deck) -> None:
    deck.adopt(bounds={"containers": Bounds(max_removals=2)})
    jobs(deck, 5)
    deck.look()
    assert [len(outcomes(deck.by_itself(AFTER_GRACE))) for _ in range(3)] == [2, 2, 1]


def test_a_policy_acts_at_the_times_of_its_schedule_alone(deck: Deck) -> None:
    deck.adopt(bounds={"containers": Bounds(schedule="0 3 * * *")})
    jobs(deck, 1)
    assert deck.by_itself(AFTER_GRACE) is None
    assert deck.by_itself(HOUR) is None
    assert outcomes(deck.by_itself(10 * HOUR)) == {"job-0": Outcome.REMOVED}
    deck.job("later")
    assert deck.by_itself(6 * MINUTE) is None, "it had its turn"
    assert deck.by_itself(95 * HOUR) is None
    assert deck.by_itself(HOUR) is not None


def test_a_policy_whose_run_was_refused_has_its_turn_later(deck: Deck, monkeypatch: pytest.MonkeyPatch) -> None:
    deck.adopt(bounds={"containers": Bounds(schedule="0 3 * * *")})
    jobs(deck, 1)
    assert deck.by_itself(AFTER_GRACE) is None
    with monkeypatch.context() as person:
        person.setattr(deck.executor, "submit", _taken)
        assert deck.by_itself(11 * HOUR) is None
    assert outcomes(deck.by_itself(MINUTE)) == {"job-0": Outcome.REMOVED}


def _taken(*_: object) -> int:
    raise ShipkeeperError("a person was faster")


def test_an_approved_plan_does_not_wait_for_the_schedule(deck: Deck) -> None:
    deck.adopt(bounds={"containers": Bounds(schedule="0 3 * * *")})
    jobs(deck, 1)
    assert outcomes(deck.apply(deck.plan())) == {"job-0": Outcome.REMOVED}


def test_a_policy_that_selects_over_half_of_ten_aborts_before_acting_and_says_so(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    jobs(deck, 6)
    for number in range(4):
        deck.engine.add(f"web-{number}")
    assert deck.by_itself(AFTER_GRACE) is None
    assert deck.by_itself() is None
    assert deck.engine.non_get() == []
    [said] = [line for line in caplog.messages if "halted" in line]
    assert said.startswith("policy containers is halted: it would remove 6 of 10, more than 50 %")
    deck.engine.add("web-5")
    deck.engine.add("web-6")
    deck.look(6 * MINUTE)
    run = deck.by_itself()
    assert run is not None
    assert (run.state, len(run.steps)) == (RunState.DONE, 6)


def test_a_person_who_has_seen_the_whole_plan_may_approve_more_than_half(deck: Deck) -> None:
    jobs(deck, 10)
    assert set(outcomes(deck.apply(deck.plan())).values()) == {Outcome.REMOVED}


def test_rules_of_include_and_exclude_hold_for_the_last_look_too(deck: Deck) -> None:
    jobs(deck, 2)
    plan = deck.plan()
    assert len(plan.removals) == 2
    deck.adopt(bounds={"containers": Bounds(exclude=(parse("job-0"),))})
    run = deck.apply(plan)
    assert outcomes(run) == {"job-0": Outcome.NOT_ELIGIBLE, "job-1": Outcome.REMOVED}
    assert run.steps[0].words == 'left out: exclude names "job-0"'


def test_a_policy_that_is_to_wait_for_approvals_stops_in_the_middle_of_its_own_run(deck: Deck) -> None:
    jobs(deck, 3)

    def switch() -> None:
        deck.adopt(bounds={"containers": Bounds(mode="approve")})

    deck.engine.after_delete = switch
    run = deck.by_itself(AFTER_GRACE + SECOND)
    assert list(outcomes(run).values()) == [Outcome.REMOVED]
