"""What a scrape has read of the containers, as columns of text that every layer of names shares."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING

from collectors.cgroup_files import BlockIo, Traffic
from collectors.families import texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from collectors.container_labels import Blocks
    from collectors.families import Column
    from collectors.reading import Limits, MemoryMarks, Reading

_READING = (
    *("cpu_seconds", "cpu_user_seconds", "cpu_system_seconds"),
    *("cpu_periods", "cpu_throttled_periods", "cpu_throttled_seconds"),
    *("memory_bytes", "memory_working_set_bytes", "memory_rss_bytes"),
    *("memory_cache_bytes", "memory_mapped_bytes", "memory_swap_bytes", "pids"),
    *(f"{resource}_pressure.{how}_seconds" for resource in ("cpu", "memory", "io") for how in ("waiting", "stalled")),
)
_LIMITS = (
    *("cpus", "cpu_quota_us", "cpu_period_us", "cpu_shares"),
    *("memory_bytes", "memory_reservation_bytes", "memory_swap_bytes", "pids"),
)
_MARKS = ("peak_bytes", "limit_hits")
_MOST_LIMITS = 2048


@dataclass(frozen=True, slots=True)
class Table:
    """Some containers with columns by name, which have a row for each of them."""

    of: Sequence[Blocks]
    columns: Mapping[str, Column]
    things: Sequence[str] = ()
    """The interface or device of each row, where a container has a row for each of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one scrape."""

    measured: Table
    """By field of `Reading`; those of its limits as `limits.<field>`."""
    marked: Table
    traffic: Table
    """By interface."""
    block_io: Table
    """By device."""

    @classmethod
    def of(cls, readings: Sequence[tuple[Blocks, Reading]], marks: Sequence[tuple[Blocks, MemoryMarks]]) -> Figures:
        """Turn every number into text, once for all who show it."""
        return cls(
            measured=_measured(readings),
            marked=Table([each for each, _ in marks], _columns(_MARKS, [_marks(row) for _, row in marks])),
            traffic=_flows(Traffic._fields, [(each, row.network) for each, row in readings]),
            block_io=_flows(BlockIo._fields, [(each, row.block_io) for each, row in readings]),
        )


_reading: Callable[[Reading], tuple[float | None, ...]] = attrgetter(*_READING)
_limits: Callable[[Limits], tuple[float | None, ...]] = attrgetter(*_LIMITS)
_marks: Callable[[MemoryMarks], tuple[float | None, ...]] = attrgetter(*_MARKS)


@lru_cache(_MOST_LIMITS)
def _limit_texts(limits: Limits) -> Column:
    """Give the limits as text; they hardly ever change, and many containers have the same."""
    return texts(_limits(limits))


def _measured(readings: Sequence[tuple[Blocks, Reading]]) -> Table:
    columns = _columns(_READING, [_reading(row) for _, row in readings])
    limits = zip(*[_limit_texts(row.limits) for _, row in readings], strict=True)
    names = [f"limits.{name}" for name in _LIMITS]
    columns |= dict(zip(names, limits, strict=True)) if readings else dict.fromkeys(names, ())
    return Table([each for each, _ in readings], columns)


def _flows(names: Sequence[str], counted: Sequence[tuple[Blocks, Mapping[str, tuple[int | None, ...]]]]) -> Table:
    rows = [(each, thing, row) for each, things in counted for thing, row in things.items()]
    columns = _columns(names, [row for _, _, row in rows])
    return Table([each for each, _, _ in rows], columns, [thing for _, thing, _ in rows])


def _columns(names: Sequence[str], rows: Sequence[Sequence[float | None]]) -> dict[str, Column]:
    if not rows:
        return dict.fromkeys(names, ())
    return dict(zip(names, zip(*map(texts, rows), strict=True), strict=True))
