from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon import absence
from daemon.absence import Absence

if TYPE_CHECKING:
    from daemon.store import Store
    from tests.fakes.clock import FakeClock

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_before_the_first_run_nobody_was_away(store: Store, clock: FakeClock) -> None:
    assert absence.load(store, clock) == Absence()


@pytest.mark.parametrize("step", [timedelta(0), 5 * HOUR, -5 * HOUR])
def test_an_absence_lasts_as_long_as_it_lasted_whatever_the_wall_clock_says(
    store: Store, clock: FakeClock, step: timedelta
) -> None:
    store.write(lambda connection: absence.save(connection, clock))
    clock.advance(10 * MINUTE)
    clock.step(step)
    assert absence.load(store, clock) == Absence(10 * MINUTE, rebooted=False)


def test_a_long_absence_counts_as_an_hour(store: Store, clock: FakeClock) -> None:
    store.write(lambda connection: absence.save(connection, clock))
    clock.advance(100 * HOUR)
    assert absence.load(store, clock).lasted == HOUR


@pytest.mark.parametrize(("away", "counted"), [(10 * MINUTE, 10 * MINUTE), (-HOUR, timedelta(0)), (9 * HOUR, HOUR)])
def test_after_a_reboot_the_wall_clock_is_all_there_is(
    store: Store, clock: FakeClock, away: timedelta, counted: timedelta
) -> None:
    store.write(lambda connection: absence.save(connection, clock))
    clock.boot = "another"
    clock.step(away)
    assert absence.load(store, clock) == Absence(counted, rebooted=True)
