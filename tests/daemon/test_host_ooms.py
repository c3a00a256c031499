from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.kernel_ooms import LoggedOom
from daemon.host_ooms import HostOoms
from daemon.store import Store
from tests.fakes.clock import NOW, FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MINUTE = timedelta(minutes=1)


class Desk:
    """A memory in a store, with a clock that a test moves."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.clock = clock
        self.ooms = HostOoms(store, clock)

    def logged(self, number: int, ago: timedelta = MINUTE, containers: tuple[str, ...] | None = ("a",)) -> LoggedOom:
        """Give a kill of so long ago."""
        return LoggedOom(
            number=number,
            at=self.clock.monotonic() - ago.total_seconds(),
            process="python",
            resident_bytes=9,
            containers=containers,
        )

    def restart(self) -> None:
        """Begin anew from the store."""
        self.ooms = HostOoms(self.store, self.clock)

    def keys(self) -> list[str] | None:
        """Give what tells the kills apart."""
        return None if self.ooms.shown is None else [each.key.partition("@")[0] for each in self.ooms.shown]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = FakeClock()
    store = Store.open(tmp_path, clock)
    yield Desk(store, clock)
    store.close()


def test_each_kill_is_taken_once_and_dated_by_the_clock_on_the_wall(desk: Desk) -> None:
    first = desk.logged(7)
    desk.ooms.note((first,))
    desk.clock.step(timedelta(hours=5))
    desk.ooms.note((first, desk.logged(8, containers=None)))
    assert desk.ooms.shown is not None
    assert [(each.at, each.containers) for each in desk.ooms.shown] == [
        (NOW - MINUTE, ("a",)),
        (NOW + timedelta(hours=5) - MINUTE, None),
    ]


def test_a_restart_goes_on_with_the_same_kills_and_takes_none_again(desk: Desk) -> None:
    first, second = desk.logged(7), desk.logged(8, containers=None)
    desk.ooms.note((first, second))
    before = desk.ooms.shown
    desk.clock.advance(MINUTE)
    desk.restart()
    desk.ooms.note((second,))  # the log has forgotten the first
    assert desk.ooms.shown == before


def test_after_a_boot_the_numbers_begin_anew(desk: Desk) -> None:
    desk.ooms.note((desk.logged(70),))
    before = desk.ooms.shown
    desk.clock.boot = "another boot"
    desk.restart()
    desk.ooms.note((desk.logged(7),))
    assert desk.keys() == ["7"]
    assert desk.ooms.shown != before


def test_a_day_later_it_is_no_news_and_of_many_the_newest_are_kept(desk: Desk) -> None:
    desk.ooms.note((desk.logged(6, timedelta(days=2)), *(desk.logged(number) for number in range(7, 90))))
    assert desk.keys() == [str(number) for number in range(40, 90)]
    desk.clock.advance(timedelta(days=1))
    assert desk.keys() == []


def test_a_log_that_may_not_be_read_is_not_an_empty_one(desk: Desk) -> None:
    assert desk.keys() is None
    desk.ooms.note((desk.logged(7),))
    desk.ooms.note(None)
    assert desk.keys() is None
