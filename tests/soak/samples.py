"""What a soak measures of the daemon, and what of it must stay level."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import linear_regression
from typing import TYPE_CHECKING

from tests.bench.figures import MIB, Figure, quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP = 1 / 3
"""The share of a soak that is not judged: caches and histories fill up."""
_TEN_MINUTES = 600.0
_SLOPE_MIB = 1.0
_SPREAD = 2.0
_DATABASE_MIB = 64.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The daemon at one moment, so many seconds after the start of the soak; descriptors and threads at rest."""

    at: float
    pss_bytes: int
    own_bytes: int
    """What of it no file stands behind. Of the rest our part rises when others end who run the same Python."""
    descriptors: int
    threads: int
    database_bytes: int
    cycles: int
    lives: int

    def line(self) -> str:
        """Give one line of the running table."""
        return (
            f"{self.at:6.0f} s {self.lives:6} lives {self.pss_bytes / MIB:7.2f} MiB"
            f" {self.own_bytes / MIB:7.2f} MiB own {self.descriptors:4} fds"
            f" {self.threads:3} threads {self.database_bytes / MIB:6.2f} MiB state {self.cycles:6} cycles"
        )


def verdict(samples: Sequence[Sample], lives_aim: float) -> tuple[Figure, ...]:
    """Judge what came after the warm-up; of lives there shall be at least so many."""
    judged = [sample for sample in samples if sample.at >= samples[-1].at * WARM_UP]
    own = _slope_mib(judged, [s.own_bytes for s in judged])
    whole = _slope_mib(judged, [s.pss_bytes for s in judged])
    return (
        Figure("lives short of the aim", max(lives_aim - samples[-1].lives, 0.0), "", 0.0),
        Figure("slope of our own memory in 10 min", own, "MiB", _SLOPE_MIB),
        Figure("with our part of shared files", whole, "MiB"),
        Figure("descriptors away from the median", _spread([s.descriptors for s in judged]), "", _SPREAD),
        Figure("threads away from the median", _spread([s.threads for s in judged]), "", _SPREAD),
        Figure("state on the disk, most", max(s.database_bytes for s in samples) / MIB, "MiB", _DATABASE_MIB),
        Figure("memory at the end", judged[-1].pss_bytes / MIB, "MiB"),
        Figure("of it our own (anonymous)", judged[-1].own_bytes / MIB, "MiB"),
        Figure("cycles", float(samples[-1].cycles), ""),
        Figure("lives", float(samples[-1].lives), ""),
    )


def _slope_mib(samples: Sequence[Sample], sizes: Sequence[int]) -> float:
    """Give by how many MiB the sizes rise in ten minutes, as the straight line through all of them does."""
    line = linear_regression([sample.at for sample in samples], [size / MIB for size in sizes])
    return line.slope * _TEN_MINUTES


def _spread(values: Sequence[int]) -> float:
    """Give how far the values lie from their median; what is held for a moment does not count."""
    middle = quantile(values, 0.5)
    return float(max(quantile(values, 0.95) - middle, middle - min(values)))
