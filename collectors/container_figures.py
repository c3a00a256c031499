"""The native metrics of a container's figures: which number of a reading is which series."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from collectors.families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collectors.container_columns import Figures
    from collectors.families import Column, Kind

PREFIX = "shipkeeper_container_"

_NONE = " 0"


class _Figure(NamedTuple):
    """A number of a reading that is one series of a container."""

    name: str
    kind: Kind
    help: str
    field: str
    limit: bool = False
    """True if 0 means that there is none, which is an absent series."""


class _Flow(NamedTuple):
    """A number of each device or interface of a container."""

    name: str
    help: str
    field: str


_FIGURES = (
    _Figure("cpu_usage_seconds_total", "counter", "CPU time used.", "cpu_seconds"),
    _Figure("cpu_user_seconds_total", "counter", "CPU time used in user mode.", "cpu_user_seconds"),
    _Figure("cpu_system_seconds_total", "counter", "CPU time used in kernel mode.", "cpu_system_seconds"),
    _Figure("cpu_limit_cores", "gauge", "CPUs that the quota allows; absent without one.", "limits.cpus", limit=True),
    _Figure("cpu_periods_total", "counter", "Enforcement periods passed under a CPU quota.", "cpu_periods"),
    _Figure(
        "cpu_throttled_periods_total",
        "counter",
        "Enforcement periods in which the CPU quota ran out.",
        "cpu_throttled_periods",
    ),
    _Figure(
        "cpu_throttled_seconds_total",
        "counter",
        "Time spent waiting because the CPU quota had run out.",
        "cpu_throttled_seconds",
    ),
    _Figure("memory_usage_bytes", "gauge", "Memory charged, file cache included.", "memory_bytes"),
    _Figure(
        "memory_working_set_bytes", "gauge", "Memory charged without inactive file cache.", "memory_working_set_bytes"
    ),
    _Figure("memory_rss_bytes", "gauge", "Anonymous memory.", "memory_rss_bytes"),
    _Figure("memory_cache_bytes", "gauge", "File cache charged.", "memory_cache_bytes"),
    _Figure("memory_mapped_bytes", "gauge", "File cache that is mapped into processes.", "memory_mapped_bytes"),
    _Figure("memory_swap_bytes", "gauge", "Swap in use.", "memory_swap_bytes"),
    _Figure("memory_limit_bytes", "gauge", "Memory limit; absent when unlimited.", "limits.memory_bytes", limit=True),
    _Figure(
        "memory_reservation_bytes",
        "gauge",
        "Memory that is not taken away as long as there is other; absent without a reservation.",
        "limits.memory_reservation_bytes",
        limit=True,
    ),
    _Figure("pids", "gauge", "Processes and threads.", "pids"),
    _Figure("pids_limit", "gauge", "Limit of processes and threads; absent when unlimited.", "limits.pids", limit=True),
    *(
        _Figure(
            f"pressure_{resource}_{how}_seconds_total",
            "counter",
            f"Time in which {who} for {what}.",
            f"{resource}_pressure.{how}_seconds",
        )
        for resource, what in (("cpu", "CPU time"), ("memory", "memory"), ("io", "block I/O"))
        for how, who in (("waiting", "at least one process waited"), ("stalled", "all processes waited"))
    ),
)

_NETWORK = tuple(
    _Flow(f"network_{way}_{what}_total", f"{said} {done}.", f"{way}_{what}")
    for way, done in (("receive", "received"), ("transmit", "sent"))
    for what, said in (
        ("bytes", "Bytes"),
        ("packets", "Packets"),
        ("errors", "Packets in error while they were"),
        ("dropped", "Packets dropped instead of being"),
    )
)

_BLOCK_IO = (
    _Flow("block_io_read_bytes_total", "Bytes read from a block device.", "read_bytes"),
    _Flow("block_io_write_bytes_total", "Bytes written to a block device.", "write_bytes"),
    _Flow("block_io_reads_total", "Read operations on a block device.", "reads"),
    _Flow("block_io_writes_total", "Write operations on a block device.", "writes"),
)

_MARKS = (
    _Figure("memory_peak_bytes", "gauge", "The most memory ever charged since it was started.", "peak_bytes"),
    _Figure(
        "memory_limit_hits_total",
        "counter",
        "Times it ran against its memory limit; most cost it file cache only.",
        "limit_hits",
    ),
)


def measured(figures: Figures) -> Iterator[Family]:
    """Give the families of what was read at this scrape; what could not be read is an absent series."""
    table = figures.measured
    identities = [each.identity for each in table.of]
    for figure in _FIGURES:
        column = table.columns[figure.field]
        if figure.limit:
            column = [None if text == _NONE else text for text in column]
        yield _family(figure, identities, column)
    for label, flows, counted in (("interface", _NETWORK, figures.traffic), ("device", _BLOCK_IO, figures.block_io)):
        blocks = [
            each.extended(each.identity, label, thing) for each, thing in zip(counted.of, counted.things, strict=True)
        ]
        for flow in flows:
            yield _family(_Figure(flow.name, "counter", flow.help, flow.field), blocks, counted.columns[flow.field])


def marked(figures: Figures) -> Iterator[Family]:
    """Give the families of what the sampler read."""
    identities = [each.identity for each in figures.marked.of]
    for figure in _MARKS:
        yield _family(figure, identities, figures.marked.columns[figure.field])


def _family(figure: _Figure, blocks: Sequence[str], column: Column) -> Family:
    return Family(PREFIX + figure.name, figure.kind, figure.help, blocks=blocks, column=column)
