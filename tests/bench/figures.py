"""Measured figures beside their aims, as the table that people read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `aim` is the most that it shall be, `None` where it only explains another."""

    name: str
    value: float
    unit: str
    aim: float | None = None

    @property
    def verdict(self) -> str:
        """`met` or `missed`; empty without an aim."""
        if self.aim is None:
            return ""
        return "met" if self.value <= self.aim else "missed"


@dataclass(frozen=True, slots=True)
class Chapter:
    """The figures of one subject; `note` says what they were taken from."""

    title: str
    note: str
    figures: Sequence[Figure]


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of all are not above (nearest rank); `share` 1 gives the greatest."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)]


def table(chapters: Iterable[Chapter]) -> Iterator[str]:
    """Yield the lines of the table."""
    for chapter in chapters:
        yield ""
        yield f"{chapter.title} ({chapter.note})"
        for figure in chapter.figures:
            aim = "" if figure.aim is None else f"aim {figure.aim:g}"
            yield f"  {figure.name:34} {figure.value:9.2f} {figure.unit:5} {aim:9} {figure.verdict}".rstrip()
