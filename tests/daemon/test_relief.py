"""A run against a full disk goes on until the target is reached, and no further."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from collectors.facts import Protection
from collectors.storage_facts import ReliefEnd
from daemon.outcome import Answer, Outcome
from daemon.plans import make_plan
from daemon.proposals import verdicts
from daemon.relieving import SETTLES, Relieving
from daemon.runs import RunState
from policies.bounds import Bounds
from policies.containers import ExitedContainers
from policies.disk_pressure import DiskPressure
from policies.gauges import Level
from policies.relieved import Reliefs
from policies.selection import parse
from tests.daemon.deck import DAY, Deck, outcomes
from tests.daemon.full_disk import PRESSURE, FullDisk
from tests.daemon.watchpost import MINUTE, SECOND
from tests.policies.build import GIB

if TYPE_CHECKING:
    from collectors.facts import Filesystem
    from daemon.plans import Plan

AFTER_GRACE = 16 * MINUTE


@pytest.fixture
def disk(deck: Deck) -> FullDisk:
    return FullDisk(deck)


def fill(disk: FullDisk) -> None:
    """Add nine images of 8 GiB, the oldest first, and leave 10 GiB: two of them are missing to the target."""
    for number in range(9):
        name = f"app:{number}"
        disk.add(f"{number}", name, layers={name: 8}, idle=(90 - number) * DAY)
    disk.foreign += 18
    disk.meet()


def plan(disk: FullDisk) -> Plan:
    disk.sample(AFTER_GRACE)
    disk.sample(15 * SECOND)
    snapshot, book = disk.deck.post.watch.snapshot, disk.deck.post.watch.book
    assert snapshot is not None
    return make_plan(verdicts(snapshot.decision, book), book.mode, disk.deck.clock.now())


def test_it_goes_on_until_the_target_is_reached_and_no_further(disk: FullDisk) -> None:
    fill(disk)
    assert disk.by_itself(AFTER_GRACE) is None, "one sample is not enough"
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert outcomes(run) == {"app:0": Outcome.REMOVED, "app:1": Outcome.REMOVED}
    assert (run.state, run.planned) == (RunState.DONE, 9)
    assert run.words == "on /: 16.0 GiB freed, 26.0 GiB left: the target is reached"
    assert [step.freed_bytes for step in run.steps] == [8 * GIB, 8 * GIB]
    assert {method for method, _ in disk.deck.engine.non_get()} == {"DELETE"}


def test_after_a_run_the_disk_has_a_rest_unless_it_comes_to_a_worse_level(disk: FullDisk) -> None:
    fill(disk)
    disk.sample(AFTER_GRACE)
    assert disk.by_itself(15 * SECOND) is not None
    disk.foreign += 15
    disk.sample(15 * SECOND)
    assert disk.by_itself(15 * SECOND) is None, "11 GiB are left, and it acted a minute ago"
    disk.foreign += 7
    run = disk.by_itself(15 * SECOND)
    assert run is not None, "4 GiB are critical"
    assert len(run.steps) == 2
    disk.foreign += 9
    disk.sample(9 * MINUTE)
    assert disk.by_itself(30 * SECOND) is None
    assert disk.by_itself(31 * SECOND) is not None


def test_a_disk_that_was_relieved_and_is_critical_again_has_no_rest(disk: FullDisk) -> None:
    fill(disk)
    disk.foreign += 6
    disk.sample(AFTER_GRACE)
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert run.words.endswith("20.0 GiB left: the target is reached")
    disk.foreign += 16
    disk.sample(15 * SECOND)
    assert disk.by_itself(15 * SECOND) is not None, "4 GiB are left, of 20 half a minute ago"


def test_what_is_shared_counts_once_its_last_sharer_is_left(disk: FullDisk) -> None:
    disk.add("1", "a:1", layers={"base": 7, "a": 1})
    left = disk.add("2", "b:1", layers={"base": 7, "b": 1})
    disk.foreign = 81
    disk.meet()
    disk.sample(AFTER_GRACE)
    assert {each.unique_bytes for each in disk.deck.recheck.look().images} == {GIB}
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert run.words == "on /: 9.0 GiB freed, 19.0 GiB left: nothing more may go"
    assert left not in disk.names
    disk.add("3", "c:1", layers={"base": 7, "c": 1})
    disk.now()
    assert [each.unique_bytes for each in disk.deck.recheck.look().images] == [8 * GIB]


@pytest.mark.parametrize(("late", "removed"), [(0, 2), (4, 1)])
def test_what_docker_deletes_late_is_awaited_where_it_may_be_enough(disk: FullDisk, late: int, removed: int) -> None:
    fill(disk)
    shown = plan(disk)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        disk.deck.clock.advance(seconds * SECOND)
        disk.foreign -= late if len(waits) == 1 else 0
        return True

    relieving = Relieving(
        list(enumerate(shown.removals)),
        recheck=disk.deck.recheck,
        measure=lambda _: disk.now(),
        book=lambda: disk.deck.post.watch.book,
        clock=disk.deck.clock,
        wait=wait,
        settles=SETTLES,
    )
    for _, removal in relieving:
        disk.deck.engine.remove(f"/images/{removal.object.id}", "")
        relieving.note(Answer(Outcome.REMOVED))
    outcome = relieving.outcome()
    assert (outcome.removed, outcome.end) == (removed, ReliefEnd.TARGET)
    assert len(waits) == 1, "nothing else is on its way once two looks agree, and what is enough is not awaited"


def test_whoever_is_to_end_does_not_wait_for_what_docker_deletes_late(disk: FullDisk) -> None:
    fill(disk)
    shown = plan(disk)
    measured: list[str] = []

    def measure(mountpoint: str) -> Filesystem | None:
        measured.append(mountpoint)
        assert len(measured) < 100, "no time passes while the thread is to end"
        return disk.now()

    relieving = Relieving(
        list(enumerate(shown.removals)),
        recheck=disk.deck.recheck,
        measure=measure,
        book=lambda: disk.deck.post.watch.book,
        clock=disk.deck.clock,
        wait=lambda _: False,
        settles=SETTLES,
    )
    next(relieving)
    relieving.note(Answer(Outcome.REMOVED))
    next(relieving)
    assert relieving.outcome().removed == 1


def test_a_file_that_is_not_dockers_costs_no_more_than_three_images(disk: FullDisk) -> None:
    fill(disk)
    disk.writes = 8
    disk.sample(AFTER_GRACE)
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert len(outcomes(run)) == 3
    assert "the space is not Docker's" in run.words


def test_a_run_frees_no_more_than_its_cap(disk: FullDisk) -> None:
    fill(disk)
    disk.deck.adopt(bounds={"disk_pressure": Bounds(in_order=True, max_bytes=8 * GIB)})
    disk.sample(AFTER_GRACE)
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert (len(run.steps), run.words.endswith("max_bytes")) == (1, True)


def test_a_run_begins_nothing_new_after_its_timeout(disk: FullDisk) -> None:
    fill(disk)
    disk.deck.adopt(policies={"disk_pressure": DiskPressure(timeout=30 * SECOND)})
    disk.deck.engine.after_delete = lambda: disk.deck.clock.advance(31 * SECOND)
    disk.sample(AFTER_GRACE)
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert (len(run.steps), run.words.endswith("after its timeout")) == (1, True)


@pytest.mark.parametrize("mode", ["observe", "approve"])
def test_it_acts_by_itself_in_mode_enforce_alone(disk: FullDisk, mode: str) -> None:
    fill(disk)
    disk.deck.adopt(bounds={"disk_pressure": Bounds(in_order=True, mode=mode)})
    disk.sample(AFTER_GRACE)
    assert disk.by_itself(15 * SECOND) is None
    assert disk.deck.engine.non_get() == []


def test_a_plan_shows_what_is_expected_to_suffice_and_an_approval_takes_no_more(disk: FullDisk) -> None:
    fill(disk)
    disk.deck.adopt(mode="approve")
    shown = plan(disk)
    assert [(each.object.name, each.policy) for each in shown.removals] == [
        ("app:0", "disk_pressure"),
        ("app:1", "disk_pressure"),
    ]
    assert outcomes(disk.deck.apply(shown)) == {"app:0": Outcome.REMOVED, "app:1": Outcome.REMOVED}


def test_a_plan_counts_on_nothing_that_its_policy_is_to_leave_alone(disk: FullDisk) -> None:
    fill(disk)
    left_out = Bounds(in_order=True, exclude=(parse("app:0"), parse("app:2")))
    disk.deck.adopt(mode="approve", bounds={"disk_pressure": left_out})
    shown = plan(disk)
    assert [each.object.name for each in shown.removals] == ["app:1", "app:3"]
    assert disk.deck.apply(shown).words.endswith("the target is reached")


def test_an_approval_that_comes_when_the_disk_has_room_again_removes_nothing(disk: FullDisk) -> None:
    fill(disk)
    disk.deck.adopt(mode="approve")
    shown = plan(disk)
    disk.foreign = -30
    run = disk.deck.apply(shown)
    assert outcomes(run) == {}
    assert run.words.endswith("the target is reached")
    assert disk.deck.engine.non_get() == []


def test_what_was_protected_since_the_plan_stays_and_another_one_goes(disk: FullDisk) -> None:
    fill(disk)
    disk.sample(AFTER_GRACE)
    disk.sample(15 * SECOND)
    disk.deck.executor.offer(disk.deck.post.handed_over[-1])
    disk.deck.engine.images[0]["Labels"] = {"shipkeeper.protect": "true"}
    disk.deck.executor.round()
    run = disk.deck.runs.last()
    assert outcomes(run) == {"app:1": Outcome.REMOVED, "app:2": Outcome.REMOVED}


def test_what_goes_for_its_age_anyway_goes_first(disk: FullDisk) -> None:
    fill(disk)
    old = disk.add("a", layers={"left": 2}, idle=2 * DAY)
    disk.meet()
    disk.deck.look(DAY)
    disk.sample(DAY)
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert {step.removal.policy for step in run.steps} == {"images_dangling", "disk_pressure"}
    assert old in disk.deck.engine.deleted[0]
    assert run.words.endswith("the target is reached")


def test_a_full_disk_does_not_wait_for_what_docker_cannot_remove(disk: FullDisk) -> None:
    for number in range(20):
        disk.deck.engine.add(f"service-{number}")
        disk.deck.engine.statuses[f"/containers/{disk.deck.job(f'stuck-{number}').id}"] = 500
    disk.deck.adopt(policies={"containers": ExitedContainers(), **PRESSURE})
    fill(disk)
    disk.sample(AFTER_GRACE)
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert (run.state, {outcomes(run)[f"app:{number}"] for number in (0, 1)}) == (RunState.FAILED, {Outcome.REMOVED})
    assert run.words.startswith("3 objects in a row failed; on /: 16.0 GiB freed")
    disk.foreign += 22
    disk.sample(15 * SECOND)
    run = disk.by_itself(15 * SECOND)
    assert run is not None, "4 GiB are critical, and only what fails waits"
    assert (run.state, set(outcomes(run)) <= {f"app:{number}" for number in range(9)}) == (RunState.DONE, True)
    assert "the last run failed" in disk.deck.executor.held_up()


def test_inodes_are_freed_to_their_target_too(disk: FullDisk) -> None:
    fill(disk)
    disk.foreign -= 20
    inodes = dict.fromkeys(disk.layers, 60)

    def measured(_: str) -> object:
        here = sum(inodes[each["Id"]] for each in disk.deck.engine.images)
        return replace(disk.now(), inodes=1000, inodes_free=590 - here)

    disk.deck.measure = measured  # type: ignore[assignment]
    for _ in range(2):
        disk.deck.post.disks.filesystems = (measured(""),)  # type: ignore[assignment]
        disk.deck.offer(AFTER_GRACE)
    disk.deck.executor.round()
    run = disk.deck.runs.last()
    assert run is not None
    assert outcomes(run) == {"app:0": Outcome.REMOVED, "app:1": Outcome.REMOVED}
    assert "and 120 inodes freed" in run.words


def test_a_disk_that_cannot_be_read_any_more_ends_the_run(disk: FullDisk) -> None:
    fill(disk)
    disk.sample(AFTER_GRACE)
    disk.sample(15 * SECOND)
    disk.deck.executor.offer(disk.deck.post.handed_over[-1])
    disk.deck.adopt(policies={"images_dangling": PRESSURE["images_dangling"]})
    disk.deck.executor.round()
    assert disk.deck.engine.non_get() == []


@pytest.mark.parametrize("after", [0, 1])
def test_nothing_goes_for_a_disk_that_cannot_be_measured(disk: FullDisk, after: int) -> None:
    fill(disk)
    disk.sample(AFTER_GRACE)
    disk.deck.measure = lambda _: disk.now() if len(disk.deck.engine.deleted) < after else None
    run = disk.by_itself(15 * SECOND)
    assert len(disk.deck.engine.deleted) == after
    assert run is not None
    assert run.words == (
        "on /: 0 B freed as far as it was measured, what is left is not known: it cannot be read any more"
    )


def test_at_the_critical_level_less_patience_is_due_but_only_there(disk: FullDisk) -> None:
    fill(disk)
    disk.deck.adopt(policies={"disk_pressure": DiskPressure(min_age=1000 * DAY)})
    disk.sample(AFTER_GRACE)
    assert disk.by_itself(15 * SECOND) is None
    disk.foreign += 6
    run = disk.by_itself(15 * SECOND)
    assert run is not None
    assert len(run.steps) == 1, "then it is critical no more"
    assert run.words.endswith("nothing more may go")


def test_the_level_of_now_is_known(disk: FullDisk) -> None:
    fill(disk)
    assert disk.deck.recheck.level("/") is None
    disk.sample(AFTER_GRACE)
    assert disk.deck.recheck.level("/") is Level.ACT
    disk.foreign += 6
    assert disk.deck.recheck.level("/") is Level.CRITICAL
    assert disk.deck.recheck.level("/elsewhere") is None


def test_the_journal_says_what_a_run_came_to(disk: FullDisk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fill(disk)
    disk.sample(AFTER_GRACE)
    disk.by_itself(15 * SECOND)
    assert any("run 1 done: 2 removed · on /: 16.0 GiB freed" in line for line in caplog.messages)


def test_people_are_told_what_a_cleanup_came_to(disk: FullDisk) -> None:
    fill(disk)
    pressure = disk.deck.post.watch.book.pressure
    assert pressure is not None
    disk.deck.adopt(policies={**PRESSURE, "reliefs": Reliefs(pressure=pressure)})
    disk.sample(AFTER_GRACE)
    disk.by_itself(15 * SECOND)
    disk.sample(15 * SECOND)
    assert disk.told() == {"disk-relieved"}
    disk.writes = 8
    disk.foreign += 20
    disk.sample(15 * MINUTE)
    disk.by_itself(15 * SECOND)
    disk.sample(15 * SECOND)
    assert "disk-not-docker" in disk.told()


def test_people_are_told_of_a_full_disk_of_which_nothing_may_go(disk: FullDisk) -> None:
    fill(disk)
    pressure = disk.deck.post.watch.book.pressure
    assert pressure is not None
    disk.deck.adopt(policies={**PRESSURE, "reliefs": Reliefs(pressure=pressure)}, protection=Protection(images=("*",)))
    disk.sample(AFTER_GRACE)
    assert disk.by_itself(15 * SECOND) is None
    assert disk.told() == {"disk-target-missed"}
