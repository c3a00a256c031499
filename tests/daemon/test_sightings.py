from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.sightings import Sightings

if TYPE_CHECKING:
    from daemon.store import Store
    from tests.fakes.clock import FakeClock

HOUR = timedelta(hours=1)


def save(sightings: Sightings, store: Store) -> None:
    store.write(sightings.save)
    sightings.saved()


def test_an_image_is_as_old_as_we_have_watched_it(store: Store, clock: FakeClock) -> None:
    sightings = Sightings(store, clock)
    sightings.meet(["a"])
    clock.advance(HOUR)
    sightings.meet(["a", "b"])
    clock.advance(HOUR)
    assert [sightings.watched_for(image) for image in "abc"] == [2 * HOUR, HOUR, timedelta(0)]
    assert sightings.watched == 2 * HOUR


@pytest.mark.parametrize("step", [1000 * HOUR, -1000 * HOUR])
def test_a_wall_clock_that_is_set_makes_nothing_old_or_young(store: Store, clock: FakeClock, step: timedelta) -> None:
    sightings = Sightings(store, clock)
    sightings.meet(["a"])
    clock.advance(HOUR)
    clock.step(step)
    assert sightings.watched_for("a") == HOUR


def test_our_absence_makes_nothing_old(store: Store, clock: FakeClock) -> None:
    before = Sightings(store, clock)
    before.meet(["a"])
    clock.advance(HOUR)
    save(before, store)
    clock.advance(1000 * HOUR)
    after = Sightings(store, clock)
    assert after.watched_for("a") == HOUR
    clock.advance(HOUR)
    after.meet(["a"])
    assert after.watched_for("a") == 2 * HOUR


def test_an_image_that_went_away_and_came_back_is_new(store: Store, clock: FakeClock) -> None:
    sightings = Sightings(store, clock)
    sightings.meet(["a"])
    save(sightings, store)
    clock.advance(HOUR)
    sightings.meet([])
    assert sightings.watched_for("a") == timedelta(0)
    sightings.meet(["a"])
    clock.advance(HOUR)
    assert sightings.watched_for("a") == HOUR
    save(sightings, store)
    assert Sightings(store, clock).watched_for("a") == HOUR


def test_an_image_that_is_gone_leaves_no_row(store: Store, clock: FakeClock) -> None:
    sightings = Sightings(store, clock)
    sightings.meet(["a", "b"])
    save(sightings, store)
    sightings.meet(["b"])
    save(sightings, store)
    assert [row["id"] for row in store.read("SELECT id FROM sightings")] == ["b"]
