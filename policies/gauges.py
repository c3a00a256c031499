"""How little is left of something that runs out, space or inodes, and how much is missing to its target."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING

from policies.policy import ConditionState

if TYPE_CHECKING:
    from collections.abc import Mapping


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
class Missing:
    """What a filesystem lacks to its target; zeros where it has reached it."""

    bytes: int = 0
    inodes: int = 0

    def __bool__(self) -> bool:
        """Tell whether anything is missing."""
        return self.bytes > 0 or self.inodes > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One thing that runs out: what is left, of how much, and where its levels begin."""

    left: int
    total: int
    limits: Mapping[Level, float]
    """Below which amount each level begins, the mildest first."""
    clear_from: float
    target: float
    """How much is to be left after a cleanup that had to act."""
    words: str

    @property
    def level(self) -> Level:
        """The worst level whose limit it is below."""
        below = [level for level, limit in self.limits.items() if self.left < limit]
        return below[-1] if below else Level.OK

    @property
    def state(self) -> ConditionState:
        """Bad from its first limit on, good from `clear_from` on."""
        if self.level is not Level.OK:
            return ConditionState.BAD
        return ConditionState.OK if self.left >= self.clear_from else ConditionState.BETWEEN

    @property
    def missing(self) -> int:
        """What it lacks to the target; zero from there on."""
        return max(ceil(self.target) - self.left, 0)

    @property
    def urgency(self) -> tuple[int, bool, float]:
        """Orders gauges: the worse level, then what has not cleared, then the smaller share."""
        return self.level.rank, self.state is not ConditionState.OK, -self.left / self.total
