"""Objects are as old as we have watched them idle, whatever somebody does to the wall clock."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.facts import SubjectKind
from daemon.idle import IdleTimes
from daemon.sightings import Sightings
from daemon.store import Store
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

HOUR, DAY, NOTHING = timedelta(hours=1), timedelta(days=1), timedelta(0)
CONTAINER, NETWORK = SubjectKind.CONTAINER, SubjectKind.NETWORK


class Watching:
    """The daemon's memory of idle things over several of its lives."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock = store, clock
        self.begin()

    def begin(self) -> None:
        """Begin another life of the daemon."""
        self.sightings = Sightings(self.store, self.clock)
        self.idle = IdleTimes(self.store, self.clock, lambda: self.sightings.watched)

    def meet(self, *keys: str, age: timedelta = NOTHING) -> None:
        """See that these containers are stopped."""
        self.idle.meet(CONTAINER, dict.fromkeys(keys, age))

    def restart(self, away: timedelta = NOTHING) -> None:
        """End, be away, and begin again."""
        self.store.write(self.sightings.save)
        self.store.write(self.idle.save)
        self.clock.advance(away)
        self.begin()

    def __getitem__(self, key: str) -> timedelta:
        return self.idle.idle_for(CONTAINER, key)


@pytest.fixture
def watching(store: Store, clock: FakeClock) -> Watching:
    return Watching(store, clock)


def test_what_stopped_before_we_ever_looked_is_as_old_as_its_date(watching: Watching) -> None:
    watching.meet("old", age=30 * DAY)
    assert watching["old"] == 30 * DAY
    watching.clock.advance(DAY)
    assert watching["old"] == 31 * DAY


def test_what_is_found_stopped_later_counts_from_then_on_whatever_its_date_says(watching: Watching) -> None:
    watching.meet()
    watching.clock.advance(HOUR)
    watching.meet("new", age=300 * DAY)
    assert watching["new"] == NOTHING
    watching.clock.advance(2 * HOUR)
    assert watching["new"] == 2 * HOUR


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY])
def test_a_wall_clock_that_is_set_and_left_wrong_makes_nothing_old_or_young(
    watching: Watching, step: timedelta
) -> None:
    watching.meet("job", age=HOUR)
    watching.clock.step(step)
    watching.clock.advance(HOUR)
    watching.meet("job", "later", age=400 * DAY)
    assert (watching["job"], watching["later"]) == (2 * HOUR, NOTHING)


def test_our_absence_makes_nothing_old_and_a_restart_forgets_nothing(watching: Watching) -> None:
    watching.meet("before", age=DAY)
    watching.clock.advance(HOUR)
    watching.restart(away=90 * DAY)
    assert watching["before"] == DAY + HOUR
    watching.meet("before", "meanwhile", age=90 * DAY)
    assert watching["meanwhile"] == NOTHING


def test_what_was_started_again_begins_anew(watching: Watching) -> None:
    watching.meet("job", age=DAY)
    watching.meet()
    assert watching["job"] == NOTHING
    watching.meet("job", age=DAY)
    watching.restart()
    assert watching["job"] == NOTHING


def test_kinds_are_told_apart(watching: Watching) -> None:
    watching.meet("a", age=DAY)
    watching.idle.meet(NETWORK, {"a": NOTHING, "b": NOTHING})
    watching.clock.advance(HOUR)
    watching.idle.meet(NETWORK, {})
    assert (watching["a"], watching.idle.idle_for(NETWORK, "a")) == (DAY + HOUR, NOTHING)


def test_an_upgrade_believes_dates_once(store: Store, clock: FakeClock) -> None:
    sightings = Sightings(store, clock)
    clock.advance(9 * DAY)
    store.write(sightings.save)
    watching = Watching(store, clock)
    watching.meet("old", age=30 * DAY)
    assert watching["old"] == 30 * DAY


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (timedelta(seconds=2.9), timedelta(seconds=2)),
        (timedelta(seconds=119), HOUR / 60),
        (2 * HOUR - HOUR / 60, 115 * HOUR / 60),
    ],
)
def test_ages_are_rounded_down(watching: Watching, passed: timedelta, told: timedelta) -> None:
    watching.meet("job")
    watching.clock.advance(passed)
    assert watching["job"] == told


def test_an_age_changes_seldom_so_that_a_stopped_container_stays_the_same_value(watching: Watching) -> None:
    watching.meet("job", age=DAY)
    ages = set()
    for _ in range(20):
        watching.clock.advance(timedelta(seconds=15))
        ages.add(watching["job"])
    assert len(ages) <= 2


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["wait", "step", "restart", "see", "gone"]), st.integers(0, 10_000)), max_size=12
    )
)
def test_nothing_is_ever_older_than_we_have_watched_in_all(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("idle")
    clock = FakeClock()
    store = Store.open(folder, clock)
    watching = Watching(store, clock)
    watching.meet()
    for what, amount in steps:
        match what:
            case "wait":
                clock.advance(timedelta(seconds=amount))
            case "step":
                clock.step(timedelta(hours=amount - 5000))
            case "restart":
                watching.restart(away=timedelta(hours=amount))
            case "see":
                watching.meet("job", age=timedelta(hours=amount))
            case _:
                watching.meet()
        assert watching["job"] <= watching.sightings.watched
    store.close()
