"""How full the filesystems are on which Docker keeps its data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import knobs, words
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collectors.facts import Facts, Filesystem

_GIB = 1024**3
_ROLES = frozenset({"data-root", "containerd-root"})


class Level(StrEnum):
    """How little is left on a filesystem."""

    OK = "ok"
    WARN = "warn"
    ACT = "act"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for ok to 3 for critical."""
        return list(Level).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Gauge:
    """One thing that runs out, space or inodes: what is left, of how much, and where its levels begin."""

    left: int
    total: int
    limits: dict[Level, float]
    """Below which amount each level begins, the mildest first."""
    clear_from: float
    words: str

    @property
    def level(self) -> Level:
        below = [level for level, limit in self.limits.items() if self.left < limit]
        return below[-1] if below else Level.OK

    @property
    def state(self) -> ConditionState:
        if self.level is not Level.OK:
            return ConditionState.BAD
        return ConditionState.OK if self.left >= self.clear_from else ConditionState.BETWEEN

    @property
    def urgency(self) -> tuple[int, bool, float]:
        """Orders gauges: the worse level, then what has not cleared, then the smaller share."""
        return self.level.rank, self.state is not ConditionState.OK, -self.left / self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPressure:
    """
    Judge each filesystem that holds Docker's data by its free space and its free inodes.

    Of a percentage and a size the one that means less space counts: 20 % of a small disk, 30 GiB of a large one.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = ("disk-low",)

    warn_percent: float = 20.0
    warn_bytes: int = 30 * _GIB
    act_percent: float = 12.0
    act_bytes: int = 20 * _GIB
    critical_percent: float = 5.0
    critical_bytes: int = 8 * _GIB
    inodes_warn_percent: float = 15.0
    inodes_act_percent: float = 8.0
    inodes_critical_percent: float = 4.0
    clear_points: float = 5.0
    """Percentage points above the warn level at which the alert clears; beside a size, its like share of it."""

    def __post_init__(self) -> None:
        knobs.falling(
            warn_percent=self.warn_percent, act_percent=self.act_percent, critical_percent=self.critical_percent
        )
        knobs.falling(warn_bytes=self.warn_bytes, act_bytes=self.act_bytes, critical_bytes=self.critical_bytes)
        knobs.falling(
            inodes_warn_percent=self.inodes_warn_percent,
            inodes_act_percent=self.inodes_act_percent,
            inodes_critical_percent=self.inodes_critical_percent,
        )
        if not self.clear_points >= 0:  # written so that it refuses nan as well
            raise ValueError("clear_points must be 0 or more")
        for name in ("warn_percent", "inodes_warn_percent"):
            if getattr(self, name) + self.clear_points > 100:  # noqa: PLR2004  all of it
                raise ValueError(f"{name} + clear_points must be at most 100, or the alert could never clear")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for every filesystem with Docker's data; one that tells no size has none."""
        for filesystem in facts.filesystems:
            if _ROLES.isdisjoint(filesystem.roles) or not (gauges := self._gauges(filesystem)):
                continue
            worst = max(gauges, key=lambda gauge: gauge.urgency)
            low = [gauge for gauge in gauges if gauge.level is not Level.OK] or [worst]
            yield Condition(
                alert="disk-low",
                subject=filesystem.subject,
                severity=Severity.CRITICAL if worst.level is Level.CRITICAL else Severity.WARNING,
                state=worst.state,
                reason=" and ".join(gauge.words for gauge in low),
                value=float(worst.left),
                limit=worst.limits[Level.WARN if worst.level is Level.OK else worst.level],
            )

    def level(self, filesystem: Filesystem) -> Level | None:
        """Give the level of one filesystem, whatever its role; None where it tells no size."""
        gauges = self._gauges(filesystem)
        return max((gauge.level for gauge in gauges), key=lambda level: level.rank) if gauges else None

    def any_critical(self, filesystems: Iterable[Filesystem]) -> bool:
        """Tell whether a filesystem with Docker's data is at its critical level."""
        return any(self.level(each) is Level.CRITICAL for each in filesystems if not _ROLES.isdisjoint(each.roles))

    def _gauges(self, filesystem: Filesystem) -> list[_Gauge]:
        total = filesystem.used_bytes + filesystem.available_bytes
        gauges = [self._space(filesystem.available_bytes, total)] if total > 0 else []
        if filesystem.inodes and filesystem.inodes_free is not None:
            gauges.append(self._inodes(filesystem.inodes_free, filesystem.inodes))
        return gauges

    def _space(self, left: int, total: int) -> _Gauge:
        limits = {
            Level.WARN: min(total * self.warn_percent / 100, float(self.warn_bytes)),
            Level.ACT: min(total * self.act_percent / 100, float(self.act_bytes)),
            Level.CRITICAL: min(total * self.critical_percent / 100, float(self.critical_bytes)),
        }
        return _Gauge(
            left=left,
            total=total,
            limits=limits,
            clear_from=limits[Level.WARN] * (self.warn_percent + self.clear_points) / self.warn_percent,
            words=f"{words.size(left)} ({_percent(left, total)}) left",
        )

    def _inodes(self, left: int, total: int) -> _Gauge:
        return _Gauge(
            left=left,
            total=total,
            limits={
                Level.WARN: total * self.inodes_warn_percent / 100,
                Level.ACT: total * self.inodes_act_percent / 100,
                Level.CRITICAL: total * self.inodes_critical_percent / 100,
            },
            clear_from=total * (self.inodes_warn_percent + self.clear_points) / 100,
            words=f"{left:,} inodes ({_percent(left, total)}) left",
        )


def _percent(left: int, total: int) -> str:
    """Say a share in whole percent, rounded down: "0 %" is reached, never feared."""
    return f"{100 * left // total} %"
