from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.sampler import Sample
from daemon.trends import Trends
from tests.fakes.clock import FakeClock
from tests.policies.build import GIB, filesystem

if TYPE_CHECKING:
    from collectors.facts import Filesystem

MINUTE = timedelta(minutes=1)
MIB = 1 << 20


class Host:
    """A disk that fills by 1 MiB a second, seen once a minute."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sample: Sample | None = None
        self.trends = Trends(lambda: self.sample, self.clock)
        self.left = 80 * GIB

    def pass_time(self, minutes: int, rate: int = MIB, device: int = 1) -> Filesystem:
        """Let time pass, and take notes."""
        for _ in range(minutes):
            self.clock.advance(MINUTE)
            self.left -= 60 * rate
            disk = filesystem(available=self.left, device=device)
            self.sample = Sample(at=self.clock.now(), filesystems=(disk,), errors={}, marks={})
            self.trends.note()
        return disk


def test_growth_is_known_half_an_hour_after_the_start() -> None:
    host = Host()
    assert host.trends.rate(host.pass_time(30)) is None
    assert host.trends.rate(host.pass_time(1)) == MIB


def test_what_was_six_hours_ago_does_not_count() -> None:
    host = Host()
    host.pass_time(360)
    assert host.trends.rate(host.pass_time(361, rate=0)) == 0


def test_setting_the_clock_does_not_change_it() -> None:
    host = Host()
    host.pass_time(20)
    host.clock.step(timedelta(days=-3))
    assert host.trends.rate(host.pass_time(20)) == MIB


def test_another_filesystem_at_the_same_place_begins_anew() -> None:
    host = Host()
    host.pass_time(60)
    assert host.trends.rate(host.pass_time(5, device=9)) is None


def test_an_old_sample_is_no_new_point() -> None:
    host = Host()
    disk = host.pass_time(1)
    for _ in range(60):
        host.clock.advance(MINUTE)
        host.trends.note()
    host.sample = None
    host.trends.note()
    assert host.trends.rate(disk) is None
