"""The executor removes what a plan names, one object after the other, and stops when it should."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.facts import EngineState
from daemon.errors import ShipkeeperError
from daemon.executor import ENDS_WITHIN, MOST_FAILURES
from daemon.lookout import COMPARE_EVERY
from daemon.outcome import Outcome
from daemon.plans import LIFE, make_plan
from daemon.runs import RunState
from tests.daemon.deck import DAY, Deck, outcomes
from tests.daemon.watchpost import HOUR, MINUTE, SECOND
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.waiting import wait_until
from tests.policies.build import filesystem

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.modes import Mode
    from daemon.plans import Plan

AFTER_GRACE = 16 * MINUTE


def refusal(deck: Deck) -> str:
    deck.executor.round()
    with pytest.raises(ShipkeeperError) as refused:
        deck.executor.submit(deck.plan(), "ada")
    return str(refused.value)


def hung_removal(deck: Deck) -> None:
    """Begin a run whose DELETE gets no answer."""
    job = deck.job("slow-job")
    deck.engine.hung_paths.add(f"/containers/{job.id}")
    deck.executor.start()
    deck.executor.submit(deck.plan(), "ada")
    assert deck.engine.wait(lambda: ("DELETE", f"/containers/{job.id}") in deck.engine.requests)


@pytest.mark.parametrize("version", ["1.41", "1.44", "1.48", "1.51", "1.52"])
def test_exactly_the_plan_is_removed_by_plain_deletes_in_every_version_of_the_api(tmp_path: Path, version: str) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", version) as engine:
        deck = Deck(engine, tmp_path)
        jobs = [deck.job(f"job-{number}") for number in range(3)]
        deck.job("kept-job", labels={"shipkeeper.protect": "true"})
        deck.job("new-job", ago=HOUR)
        engine.add("service")
        image = deck.dangling("e")
        deck.dangling("f", "app:latest")
        deck.look()
        run = deck.by_itself(2 * DAY)
        assert run is not None
        assert (run.state, run.asked_by, run.planned) == (RunState.DONE, "schedule", 4)
        spoken = min(version, "1.51")
        assert engine.deleted == [
            *(f"/v{spoken}/containers/{job.id}" for job in jobs),
            f"/v{spoken}/images/{image}?noprune=1",
        ]
        assert {method for method, _ in engine.non_get()} == {"DELETE"}
        assert {each.name for each in engine.containers.values()} == {"kept-job", "new-job", "service"}
        assert deck.by_itself() is None
        deck.close()


def test_what_changed_since_the_plan_stays_and_the_rest_goes(deck: Deck) -> None:
    deck.adopt(mode="approve")
    started, gone, renamed, last = (deck.job(name) for name in ("a", "b", "c", "d"))
    plan = deck.plan()
    started.state, renamed.name = "running", "keep"
    del deck.engine.containers[gone.id]
    run = deck.apply(plan)
    assert (run.state, run.plan_hash, run.asked_by) == (RunState.DONE, plan.hash, "ada")
    assert outcomes(run) == {
        "a": Outcome.NOT_ELIGIBLE,
        "b": Outcome.GONE,
        "c": Outcome.NOT_ELIGIBLE,
        "d": Outcome.REMOVED,
    }
    assert deck.engine.deleted == [f"/v1.51/containers/{last.id}"]


def test_what_comes_after_the_plan_is_not_removed(deck: Deck) -> None:
    deck.adopt(mode="approve")
    deck.job("planned")
    plan = deck.plan()
    deck.job("later")
    assert outcomes(deck.apply(plan)) == {"planned": Outcome.REMOVED}
    assert [each.name for each in deck.engine.containers.values()] == ["later"]


def test_what_docker_keeps_is_no_failure(deck: Deck) -> None:
    busy, free = deck.job("busy"), deck.job("free")
    deck.engine.statuses[f"/containers/{busy.id}"] = 409
    run = deck.apply(deck.plan())
    assert run.state is RunState.DONE
    assert outcomes(run) == {"busy": Outcome.IN_USE, "free": Outcome.REMOVED}
    assert free.id not in deck.engine.containers
    assert deck.executor.figures.outcomes == {
        ("container", "containers", "in_use"): 1,
        ("container", "containers", "removed"): 1,
    }


def test_after_a_failure_the_next_object_has_its_turn(deck: Deck) -> None:
    bad = deck.job("bad")
    deck.job("good")
    deck.engine.statuses[f"/containers/{bad.id}"] = 500
    run = deck.apply(deck.plan())
    assert run.state is RunState.DONE
    assert outcomes(run) == {"bad": Outcome.FAILED, "good": Outcome.REMOVED}
    assert run.steps[0].words == "500: scripted 500"


def test_after_three_failures_in_a_row_the_run_ends(deck: Deck) -> None:
    for number in range(5):
        deck.job(f"job-{number}")
    deck.engine.statuses["/containers/" + "?" * 64] = 403
    run = deck.apply(deck.plan())
    assert (run.state, run.words) == (RunState.FAILED, "3 objects in a row failed")
    assert list(outcomes(run).values()) == [Outcome.REFUSED] * MOST_FAILURES + [Outcome.NOT_BEGUN] * 2


def test_an_engine_that_goes_away_in_the_middle_fails_the_run(deck: Deck) -> None:
    for number in range(4):
        deck.job(f"job-{number}")
    plan = deck.plan()
    deck.executor.round()
    deck.engine.stop()
    run = deck.apply(plan)
    assert run.state is RunState.FAILED
    assert list(outcomes(run).values()) == [Outcome.UNREAD] * MOST_FAILURES + [Outcome.NOT_BEGUN]


@pytest.mark.parametrize("mode", ["observe", "approve"])
def test_by_itself_it_removes_in_enforce_mode_only(deck: Deck, mode: Mode) -> None:
    deck.adopt(mode=mode)
    deck.job("old-job")
    deck.offer(AFTER_GRACE)
    deck.executor.round()
    assert deck.runs.last() is None
    assert deck.executor.held_up() == f"the mode is {mode}"
    assert deck.engine.non_get() == []


def test_in_observe_mode_apply_says_how_to_change_that(deck: Deck) -> None:
    deck.job("old-job")
    deck.adopt(mode="observe")
    assert refusal(deck).startswith('nothing is removed in observe mode\n  cure: set mode = "approve"')


def test_right_after_a_change_from_observe_apply_asks_for_patience(deck: Deck) -> None:
    deck.job("old-job")
    deck.adopt(mode="observe")
    deck.executor.round()
    deck.adopt(mode="approve")
    with pytest.raises(ShipkeeperError, match="it has only just been allowed to: try again in a few seconds"):
        deck.executor.submit(deck.plan(), "ada")
    deck.executor.round()
    assert outcomes(deck.apply(deck.plan())) == {"old-job": Outcome.REMOVED}


def test_an_expired_plan_is_refused(deck: Deck) -> None:
    deck.job("old-job")
    plan = deck.plan()
    deck.executor.round()
    deck.clock.advance(LIFE + SECOND)
    with pytest.raises(
        ShipkeeperError, match="has expired: it was made at 2026-11-23 16:02 UTC and is good for 30 min"
    ):
        deck.executor.submit(plan, "ada")
    deck.clock.step(-2 * LIFE)
    with pytest.raises(ShipkeeperError, match="has expired"):
        deck.executor.submit(plan, "ada")


def test_a_plan_of_nothing_is_refused(deck: Deck) -> None:
    assert refusal(deck).endswith("names nothing to remove")


def test_while_the_engine_is_down_a_plan_is_refused(deck: Deck) -> None:
    deck.job("old-job")
    deck.look()
    deck.post.view.set(EngineState.HUNG, "Docker is hung")
    assert refusal(deck) == "nothing can be removed now: Docker is hung"


def test_two_runs_at_a_time_are_refused(deck: Deck) -> None:
    deck.job("old-job")
    deck.executor.round()
    deck.executor.submit(deck.plan(), "ada")
    assert refusal_now(deck).startswith("run 1, asked for by ada, is still going on")
    deck.executor.round()
    assert deck.executor.running is None


def refusal_now(deck: Deck) -> str:
    with pytest.raises(ShipkeeperError) as refused:
        deck.executor.submit(deck.plan(), "bob")
    return str(refused.value)


def test_where_another_daemon_acts_this_one_observes_until_that_is_gone(deck: Deck, tmp_path: Path) -> None:
    deck.job("old-job")
    other = Deck(deck.engine, tmp_path / "other")
    other.executor.round()
    assert "another shipkeeper" in refusal(deck)
    assert deck.by_itself(AFTER_GRACE) is None
    assert "another shipkeeper" in deck.executor.held_up()
    other.close()
    assert outcomes(deck.by_itself()) == {"old-job": Outcome.REMOVED}


def test_within_the_time_of_grace_only_an_approval_removes(deck: Deck) -> None:
    deck.job("old-job")
    assert deck.by_itself() is None
    assert "Shipkeeper has just started" in deck.executor.held_up()
    assert outcomes(deck.apply(deck.plan())) == {"old-job": Outcome.REMOVED}


def test_a_step_of_the_clock_holds_up_what_was_offered_before_it(deck: Deck) -> None:
    deck.job("old-job")
    deck.offer(AFTER_GRACE)
    deck.clock.step(DAY)
    deck.executor.round()
    assert deck.runs.last() is None
    assert deck.executor.held_up().startswith("the clock was set")


def test_after_a_failed_run_it_waits_longer_each_time(deck: Deck) -> None:
    deck.adopt(grace=timedelta(0))
    deck.engine.statuses["/containers/" + "?" * 64] = 500
    pauses = []
    for number in range(3 * MOST_FAILURES):
        deck.job(f"job-{number}")
    for _ in range(3):
        begun = deck.by_itself(COMPARE_EVERY)
        assert begun is not None
        assert begun.state is RunState.FAILED
        ended = deck.clock.monotonic()
        assert deck.by_itself() is None
        assert deck.executor.held_up().startswith("the last run failed: the next one comes in")
        while deck.executor.held_up():
            deck.clock.advance(10 * SECOND)
        pauses.append(round((deck.clock.monotonic() - ended) / 60))
    assert pauses == [1, 2, 4]


def test_an_object_that_failed_is_not_tried_by_itself_for_a_while(deck: Deck) -> None:
    deck.adopt(grace=timedelta(0))
    busy = deck.job("busy")
    deck.engine.statuses[f"/containers/{busy.id}"] = 409
    assert outcomes(deck.by_itself()) == {"busy": Outcome.IN_USE}
    assert deck.by_itself() is None
    assert deck.by_itself(9 * MINUTE) is None
    assert outcomes(deck.by_itself(MINUTE)) == {"busy": Outcome.IN_USE}
    assert deck.by_itself(19 * MINUTE) is None
    deck.engine.statuses.clear()
    assert outcomes(deck.apply(deck.plan())) == {"busy": Outcome.REMOVED}, "a person need not wait"


def test_an_object_that_failed_waits_though_there_are_rounds_without_an_offer(deck: Deck) -> None:
    deck.adopt(grace=timedelta(0))
    busy = deck.job("busy")
    deck.engine.statuses[f"/containers/{busy.id}"] = 409
    assert outcomes(deck.by_itself()) == {"busy": Outcome.IN_USE}
    deck.executor.round()  # the thread looks every 5 s, a cycle offers every 15 s
    assert deck.by_itself(15 * SECOND) is None


def test_what_was_seen_before_the_end_of_a_run_is_not_believed_after_it(deck: Deck) -> None:
    deck.adopt(grace=timedelta(0))
    deck.job("old-job")
    stale = deck.look()
    assert outcomes(deck.by_itself()) == {"old-job": Outcome.REMOVED}
    deck.executor.offer(stale)
    deck.executor.round()
    run = deck.runs.last()
    assert run is not None
    assert run.id == 1


def test_a_change_to_observe_ends_a_run_after_the_current_object(deck: Deck) -> None:
    for name in ("a", "b"):
        deck.job(name)
    hung = next(iter(deck.engine.containers))
    deck.engine.hung_paths.add(f"/containers/{hung}")
    deck.executor.start()
    run = deck.executor.submit(deck.plan(), "ada")
    assert deck.engine.wait(lambda: ("DELETE", f"/containers/{hung}") in deck.engine.requests)
    deck.adopt(mode="observe")
    deck.engine.relent()
    ended = wait_until(lambda: (found := deck.runs.run(run)).state is not RunState.RUNNING and found, "its end")
    assert ended
    assert (ended.state, ended.words) == (RunState.STOPPED, "the mode is observe by now")
    assert outcomes(ended) == {"a": Outcome.REMOVED, "b": Outcome.NOT_BEGUN}


def test_a_step_is_on_the_disk_before_docker_is_asked(deck: Deck) -> None:
    hung_removal(deck)
    assert outcomes(deck.runs.last()) == {"slow-job": None}
    deck.engine.relent()
    wait_until(lambda: deck.executor.running is None, "the end of the run")
    assert outcomes(deck.runs.last()) == {"slow-job": Outcome.REMOVED}


def test_while_docker_takes_its_time_the_executor_beats_and_the_watch_goes_on(deck: Deck) -> None:
    hung_removal(deck)
    before = deck.beats
    deck.offer()
    assert deck.post.watch.cycles == 2
    wait_until(lambda: deck.beats > before + 1, "signs of life")
    deck.engine.relent()


def test_a_crash_and_a_full_disk_are_told_while_docker_takes_its_time(deck: Deck) -> None:
    web = deck.engine.add("web")
    hung_removal(deck)
    deck.post.disks.filesystems = (filesystem(available_bytes=1 << 30),)
    deck.post.die(web, 3)
    deck.post.cycles(2, MINUTE)
    assert {("container-crashed", "fired"), ("disk-low", "fired")} <= set(deck.post.told())
    assert outcomes(deck.runs.last()) == {"slow-job": None}
    deck.engine.relent()


def test_a_removal_that_takes_very_long_is_told(deck: Deck) -> None:
    hung_removal(deck)
    assert deck.executor.stuck == ""
    deck.clock.advance(12 * MINUTE)
    assert deck.executor.stuck == "it has been removing container slow-job for 12 min"
    deck.engine.relent()
    wait_until(lambda: deck.executor.running is None, "the end of the run")
    assert deck.executor.stuck == ""


def test_each_cycle_hands_over_what_it_would_remove(deck: Deck) -> None:
    job = deck.job("old-job")
    deck.look()
    del deck.engine.containers[job.id]
    deck.look(COMPARE_EVERY)
    assert [[removal.object.name for removal in offered] for offered in deck.post.handed_over] == [["old-job"], []]


def test_a_follower_hears_of_each_object_and_of_the_end(deck: Deck) -> None:
    hung_removal(deck)
    assert deck.executor.wait_for_news(1, 0, timedelta(0)).state is RunState.RUNNING
    deck.engine.relent()
    done = deck.executor.wait_for_news(1, 0, 10 * SECOND)
    assert outcomes(done) == {"slow-job": Outcome.REMOVED}
    wait_until(lambda: deck.executor.wait_for_news(1, 1, 10 * SECOND).state is RunState.DONE, "its end")


class AsksAgain(logging.Handler):
    """Hands in a plan as soon as the log tells that the first run is done."""

    def __init__(self, deck: Deck, plan: Plan) -> None:
        super().__init__()
        self._deck = deck
        self._plan = plan

    def emit(self, record: logging.LogRecord) -> None:
        """Look at one line of the log."""
        if record.getMessage().startswith("run 1 done"):
            self._deck.executor.submit(self._plan, "grace")


def test_a_plan_that_comes_the_moment_the_last_run_ends_is_carried_out(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deck.job("first")
    deck.job("second")
    plan = make_plan(deck.look()[:1], "enforce", deck.clock.now())
    asking = AsksAgain(deck, deck.plan(COMPARE_EVERY))
    logging.getLogger("daemon.executor").addHandler(asking)
    try:
        deck.apply(plan)
    finally:
        logging.getLogger("daemon.executor").removeHandler(asking)
    deck.executor.round()
    assert outcomes(deck.runs.last()) == {"first": Outcome.GONE, "second": Outcome.REMOVED}


def begin_to_close(deck: Deck) -> threading.Thread:
    closing = threading.Thread(target=deck.executor.close)
    closing.start()
    wait_until(deck.executor._worker.stopping.is_set, "the beginning of the end")
    return closing


def test_closing_ends_a_run_after_the_current_object(deck: Deck) -> None:
    deck.job("the-next-job")
    hung_removal(deck)
    closing = begin_to_close(deck)
    deck.engine.relent()
    closing.join()
    run = deck.runs.last()
    assert run is not None
    assert (run.state, run.words) == (RunState.STOPPED, "Shipkeeper is stopping")
    assert outcomes(run) == {"slow-job": Outcome.REMOVED, "the-next-job": Outcome.NOT_BEGUN}


def test_closing_does_not_wait_for_an_answer_that_does_not_come(deck: Deck) -> None:
    hung_removal(deck)
    closing = begin_to_close(deck)
    deck.clock.advance(ENDS_WITHIN)
    closing.join()
    run = deck.runs.last()
    assert run is not None
    assert run.state is RunState.RUNNING, "the next start will call it interrupted"
    assert outcomes(run) == {"slow-job": None}


def test_a_run_found_half_done_is_said_and_not_resumed(deck: Deck, caplog: pytest.LogCaptureFixture) -> None:
    deck.job("old-job")
    plan = deck.plan()
    run = deck.runs.begin(plan, "ada")
    deck.runs.note(run, 0, plan.removals[0], None)
    with caplog.at_level(logging.WARNING):
        deck.executor.start()
    assert "1 cleanup run was in the middle when Shipkeeper ended; not resumed" in caplog.text
    deck.executor.close()
    assert outcomes(deck.runs.last()) == {"old-job": Outcome.UNKNOWN}
    assert deck.engine.non_get() == []


def test_an_error_of_our_own_ends_the_run_and_not_the_thread(deck: Deck, caplog: pytest.LogCaptureFixture) -> None:
    deck.job("old-job")
    plan = deck.plan()
    kept = deck.post.watch.book.policies
    deck.adopt(policies={"containers": Broken()})
    deck.executor.start()
    run = deck.executor.submit(plan, "ada")
    ended = wait_until(lambda: (found := deck.runs.run(run)).state is RunState.FAILED and found, "its end")
    assert ended
    assert ended.words == "an error of Shipkeeper itself; its log tells more"
    wait_until(lambda: "a cleanup run broke off" in caplog.text, "the log to tell of it")
    deck.adopt(policies=kept)
    again = deck.executor.submit(plan, "ada")
    wait_until(lambda: deck.runs.run(again).state is RunState.DONE, "the next run")


class Broken:
    """A policy that knows nothing of what a policy is."""


def test_a_run_that_failed_is_a_fault_until_one_goes_well(deck: Deck) -> None:
    for number in range(3):
        deck.job(f"job-{number}")
    deck.engine.statuses["/containers/" + "?" * 64] = 403
    deck.apply(deck.plan())
    assert deck.executor.figures.fault == "run 1: 3 objects in a row failed"
    deck.engine.statuses.clear()
    deck.apply(deck.plan())
    assert deck.executor.figures.fault == ""
