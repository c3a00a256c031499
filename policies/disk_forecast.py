"""Which filesystems will be full soon if they go on filling as they have in the last hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import disk_words, growth, knobs, words
from policies.disk_pressure import DiskPressure
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts, Filesystem


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskForecast:
    """
    Judge each filesystem that holds Docker's data by when it will be full.

    What grows by less than `least_growth_percent` of the filesystem in six hours is no trend, however full it is.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = ("disk-fill-predicted",)

    warn_within: timedelta = timedelta(hours=24)
    critical_within: timedelta = timedelta(hours=4)
    least_growth_percent: float = 1.0

    def __post_init__(self) -> None:
        knobs.longer_than_zero(warn_within=self.warn_within, critical_within=self.critical_within)
        knobs.larger_than_zero(least_growth_percent=self.least_growth_percent)
        if self.critical_within > self.warn_within:
            raise ValueError("critical_within must be at most warn_within")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for every filesystem whose growth is known: for half an hour after a start it is not."""
        for filesystem in facts.filesystems:
            rate = facts.growth.get(filesystem.mountpoint)
            if rate is not None and DiskPressure.concerns(filesystem):
                yield self._judge(filesystem, rate, facts)

    def _judge(self, filesystem: Filesystem, rate: float, facts: Facts) -> Condition:
        full_in = growth.full_in(filesystem.available_bytes, rate) if self._grows(filesystem, rate) else None
        urgent = full_in is not None and full_in < self.critical_within
        taken_by = disk_words.takes(filesystem.mountpoint, facts)
        return Condition(
            alert="disk-fill-predicted",
            subject=filesystem.subject,
            severity=Severity.CRITICAL if urgent else Severity.WARNING,
            state=self._state(full_in),
            reason=_reason(filesystem, rate, full_in),
            details=(taken_by,) if taken_by else (),
            value=full_in.total_seconds() if full_in is not None else None,
            limit=(self.critical_within if urgent else self.warn_within).total_seconds(),
        )

    def _grows(self, filesystem: Filesystem, rate: float) -> bool:
        least = (filesystem.used_bytes + filesystem.available_bytes) * self.least_growth_percent / 100
        return rate * growth.WINDOW.total_seconds() >= least

    def _state(self, full_in: timedelta | None) -> ConditionState:
        if full_in is None or full_in >= 2 * self.warn_within:
            return ConditionState.OK
        return ConditionState.BAD if full_in < self.warn_within else ConditionState.BETWEEN


def _reason(filesystem: Filesystem, rate: float, full_in: timedelta | None) -> str:
    left = f"{words.size(filesystem.available_bytes)} left"
    if full_in is None:
        return f"it no longer fills, {left}"
    return f"full in about {words.about(full_in)}, {left}, {words.size(int(rate * 3600))} more each hour"
