"""Plans and runs outlive the daemon, and what a crash cuts off is known afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.facts import ObjectRef, SubjectKind
from daemon import runs, steady
from daemon.errors import ShipkeeperError
from daemon.outcome import Answer, Outcome
from daemon.plans import make_plan
from daemon.runs import KEPT_FOR, KEPT_PLANS, Runs, RunState
from daemon.schema import MIGRATIONS
from daemon.store import Store
from policies.policy import Removal
from tests.fakes.clock import NOW, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.plans import Plan

DAY = timedelta(days=1)


def removal(name: str) -> Removal:
    ref = ObjectRef(SubjectKind.CONTAINER, name.encode().hex().ljust(64, "0"), name)
    return Removal(object=ref, size_bytes=7, filesystem="/", policy="containers", reason="exited 0 9 days ago")


class Record:
    """The tables in a store that can be opened again."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.folder = folder
        self.open()

    def open(self) -> None:
        """Open."""
        self.store = Store.open(self.folder, self.clock)
        self.runs = Runs(self.store, steady.load(self.store, self.clock))

    def reopen(self) -> None:
        """Begin as the next daemon does."""
        self.store.close()
        self.open()

    def plan(self, *names: str) -> Plan:
        """Make a plan that no other one equals."""
        self.clock.advance(timedelta(seconds=1))
        return make_plan([removal(name) for name in names], "approve", self.clock.now())


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    made = Record(tmp_path)
    yield made
    made.store.close()


def test_a_plan_is_found_by_its_first_characters_and_is_exactly_what_was_shown(record: Record) -> None:
    plan = record.plan("a", "b")
    record.runs.remember(plan)
    record.reopen()
    for name in (plan.plan_id, plan.hash, f" {plan.plan_id.upper()} "):
        assert record.runs.plan(name) == plan


@pytest.mark.parametrize("name", ["", "abc", "%%%%%%", "zzzzzz", "______"])
def test_what_is_no_name_of_a_plan_is_said(record: Record, name: str) -> None:
    record.runs.remember(record.plan("a"))
    with pytest.raises(ShipkeeperError, match="named by the six characters"):
        record.runs.plan(name)


def test_an_unknown_plan_is_said_with_the_cure(record: Record) -> None:
    with pytest.raises(ShipkeeperError, match="no plan that this daemon remembers begins with ffffff\n  cure: ask for"):
        record.runs.plan("ffffff")


def test_the_newest_hundred_plans_are_kept(record: Record) -> None:
    first, *_, last = plans = [record.plan("a") for _ in range(KEPT_PLANS + 1)]
    for plan in plans:
        record.runs.remember(plan)
    assert record.store.read("SELECT count(*) AS n FROM plans")[0]["n"] == KEPT_PLANS
    assert record.runs.plan(last.hash) == last
    with pytest.raises(ShipkeeperError):
        record.runs.plan(first.hash)


def test_a_run_tells_what_came_of_each_object(record: Record) -> None:
    plan = record.plan("a", "b")
    run = record.runs.begin(plan, "ada")
    one, other = plan.removals
    record.runs.note(run, 0, one, None)
    assert record.runs.run(run).steps[0].outcome is None
    record.runs.note(run, 0, one, Answer(Outcome.REMOVED))
    record.runs.note(run, 1, other, Answer(Outcome.IN_USE, "container is running"))
    record.runs.end(run, RunState.DONE)
    record.reopen()
    found = record.runs.last()
    assert found == record.runs.run(run)
    assert found is not None
    assert (found.asked_by, found.plan_hash, found.planned, found.state) == ("ada", plan.hash, 2, RunState.DONE)
    assert [(step.removal.object.name, step.outcome, step.words) for step in found.steps] == [
        ("a", Outcome.REMOVED, ""),
        ("b", Outcome.IN_USE, "container is running"),
    ]


def test_a_run_found_half_done_is_interrupted_and_its_open_object_unknown(record: Record) -> None:
    plan = record.plan("a", "b", "c")
    record.runs.remember(plan)
    run = record.runs.begin(plan, "ada")
    record.runs.note(run, 0, plan.removals[0], Answer(Outcome.REMOVED))
    record.runs.note(run, 1, plan.removals[1], None)
    record.reopen()
    assert record.runs.interrupt() == 1
    found = record.runs.run(run)
    assert found.state is RunState.INTERRUPTED
    assert found.ended == record.clock.now()
    assert [step.outcome for step in found.steps] == [Outcome.REMOVED, Outcome.UNKNOWN, Outcome.NOT_BEGUN]
    assert record.runs.interrupt() == 0


def test_every_decision_is_in_the_audit_in_the_order_of_its_end(record: Record) -> None:
    plan = record.plan("a", "b", "c")
    record.runs.remember(plan)
    run = record.runs.begin(plan, "ada (uid 1000)")
    first, second, _ = plan.removals
    record.runs.note(run, 0, first, None)
    record.clock.advance(timedelta(seconds=9))
    record.runs.note(run, 0, first, Answer(Outcome.REMOVED, "evidence kept", freed_bytes=-5))
    record.runs.note(run, 1, second, Answer(Outcome.FAILED, "500: busy"))
    record.runs.end(run, RunState.STOPPED, "the mode is observe by now")
    record.reopen()
    told = record.runs.decisions(NOW, 0, 10)
    assert [(each.step.removal.object.name, each.step.outcome, each.step.words) for each in told] == [
        ("a", Outcome.REMOVED, "evidence kept"),
        ("b", Outcome.FAILED, "500: busy"),
        ("c", Outcome.NOT_BEGUN, "the mode is observe by now"),
    ]
    assert {(each.run, each.plan_hash, each.asked_by) for each in told} == {(run, plan.hash, "ada (uid 1000)")}
    assert [each.step.freed_bytes for each in told] == [-5, None, None]
    assert told[0].step.removal == first
    assert told[0].at == record.clock.now()
    assert record.runs.decisions(NOW, told[0].entry, 1) == told[1:2]
    assert record.runs.decisions(record.clock.now() + timedelta(seconds=1), 0, 10) == []


def test_what_has_no_end_yet_is_no_decision(record: Record) -> None:
    plan = record.plan("a")
    record.runs.note(record.runs.begin(plan, "ada"), 0, plan.removals[0], None)
    assert record.runs.decisions(NOW, 0, 10) == []


def test_there_may_be_no_run_yet(record: Record) -> None:
    assert record.runs.last() is None
    with pytest.raises(ShipkeeperError, match="there is no run 4"):
        record.runs.run(4)


def test_runs_are_forgotten_after_90_days_and_their_numbers_not_used_again(record: Record) -> None:
    plan = record.plan("a")
    old = record.runs.begin(plan, "ada")
    record.runs.note(old, 0, plan.removals[0], Answer(Outcome.REMOVED))
    record.runs.end(old, RunState.DONE)
    record.clock.advance(KEPT_FOR + DAY)
    record.store.write(lambda connection: runs.prune(connection, record.clock.now()))
    assert record.runs.last() is None
    assert record.store.read("SELECT * FROM steps") == []
    assert record.runs.begin(plan, "ada") > old


def test_a_store_of_the_version_before_keeps_what_it_holds(tmp_path: Path) -> None:
    clock = FakeClock()
    before = Store.open(tmp_path, clock, MIGRATIONS[:1])
    before.write(lambda connection: connection.execute("INSERT INTO meta VALUES ('a', 'x')"))
    before.write(lambda connection: connection.execute("INSERT INTO deaths VALUES ('k', 'c', 's', 1.0, '{}')"))
    before.close()
    now = Store.open(tmp_path, clock)
    assert [tuple(row) for row in now.read("SELECT * FROM meta")] == [("a", "x")]
    assert len(now.read("SELECT * FROM deaths")) == 1
    assert now.read("SELECT * FROM runs") == []
    now.close()
    assert (tmp_path / "state.db.v1").exists()


def test_what_a_policy_did_last_is_told_of_the_newest_run_in_which_it_did_anything(record: Record) -> None:
    assert record.runs.turns() == {}
    for names, freed in ((("a",), 5), (("b", "c"), 9)):
        plan = record.plan(*names)
        number = record.runs.begin(plan, "schedule")
        for position, each in enumerate(plan.removals):
            outcome = Outcome.REMOVED if each.object.name != "c" else Outcome.IN_USE
            gain = freed if outcome is Outcome.REMOVED else None
            record.runs.note(number, position, each, Answer(outcome, "", gain))
        record.runs.end(number, RunState.DONE)
    begun = record.plan("d")
    record.runs.note(record.runs.begin(begun, "schedule"), 0, begun.removals[0], None)
    (turn,) = record.runs.turns().values()
    assert (turn.objects, turn.removed, turn.freed_bytes) == (2, 1, 9)
    assert abs(turn.at - record.clock.now()) < DAY
