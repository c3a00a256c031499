"""The metric families of containers under cAdvisor's names, with its labels and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from collectors.facts import Container, HealthStatus
from collectors.families import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.container_labels import Blocks
    from collectors.families import Kind
    from collectors.reading import MemoryMarks, Reading

SHOWN_FOR_SECONDS = 600
"""So long `container_last_seen` stands still after an end: rules for "container killed" wait for just that."""

_MOST_ENDED = 1000
_P = "container_"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRoot:
    """The filesystem under Docker's data-root, by its device as cAdvisor names it (`/dev/sda1`)."""

    device: str
    inodes: int | None = None
    inodes_free: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The machine that the containers run on."""

    cpus: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A container that has a process, with what is known of it by now."""

    blocks: Blocks
    block: str
    """Its labels as cAdvisor gives them."""
    reading: Reading | None = None
    marks: MemoryMarks | None = None
    oom_kills: float | None = None
    """By its name, since it was first seen."""
    written_bytes: int | None = None
    """Its writable layer and its logs."""


class _Figure(NamedTuple):
    """A number of a reading that is one series of a container."""

    name: str
    kind: Kind
    help: str
    field: str


class _Flow(NamedTuple):
    """A number of each device or interface."""

    name: str
    help: str
    field: str


_CPU_USAGE = _Figure("cpu_usage_seconds_total", "counter", "CPU time used, of all CPUs together.", "cpu_seconds")
_FIGURES = (
    _Figure("cpu_user_seconds_total", "counter", "CPU time used in user mode.", "cpu_user_seconds"),
    _Figure("cpu_system_seconds_total", "counter", "CPU time used in kernel mode.", "cpu_system_seconds"),
    _Figure("cpu_cfs_periods_total", "counter", "Enforcement periods passed under a CPU quota.", "cpu_periods"),
    _Figure(
        "cpu_cfs_throttled_periods_total",
        "counter",
        "Enforcement periods in which the CPU quota ran out.",
        "cpu_throttled_periods",
    ),
    _Figure(
        "cpu_cfs_throttled_seconds_total",
        "counter",
        "Time spent waiting because the CPU quota had run out.",
        "cpu_throttled_seconds",
    ),
    _Figure(
        "spec_cpu_quota", "gauge", "CPU quota in microseconds a period; absent without one.", "limits.cpu_quota_us"
    ),
    _Figure("spec_cpu_period", "gauge", "Period of the CPU quota in microseconds.", "limits.cpu_period_us"),
    _Figure("spec_cpu_shares", "gauge", "Share of the CPU time, 1024 by default.", "limits.cpu_shares"),
    _Figure("memory_usage_bytes", "gauge", "Memory charged, file cache included.", "memory_bytes"),
    _Figure(
        "memory_working_set_bytes", "gauge", "Memory charged without inactive file cache.", "memory_working_set_bytes"
    ),
    _Figure("memory_rss", "gauge", "Anonymous memory in bytes.", "memory_rss_bytes"),
    _Figure("memory_cache", "gauge", "File cache charged, in bytes.", "memory_cache_bytes"),
    _Figure("memory_mapped_file", "gauge", "File cache that is mapped, in bytes.", "memory_mapped_bytes"),
    _Figure("memory_swap", "gauge", "Swap in use, in bytes.", "memory_swap_bytes"),
    _Figure("spec_memory_limit_bytes", "gauge", "Memory limit; 0 when unlimited.", "limits.memory_bytes"),
    _Figure(
        "spec_memory_reservation_limit_bytes",
        "gauge",
        "Memory reservation; 0 without one.",
        "limits.memory_reservation_bytes",
    ),
    _Figure("spec_memory_swap_limit_bytes", "gauge", "Swap limit; 0 when unlimited.", "limits.memory_swap_bytes"),
    _Figure("threads", "gauge", "Processes and threads.", "pids"),
    _Figure("threads_max", "gauge", "Limit of processes and threads; 0 when unlimited.", "limits.pids"),
    *(
        _Figure(
            f"pressure_{resource}_{how}_seconds_total",
            "counter",
            f"Time in which {who} waited for {resource}.",
            f"{resource}_pressure.{how}_seconds",
        )
        for resource in ("cpu", "memory", "io")
        for how, who in (("waiting", "a process"), ("stalled", "every process"))
    ),
)
_MARKS = (
    _Figure("memory_max_usage_bytes", "gauge", "The most memory ever charged.", "peak_bytes"),
    _Figure("memory_failcnt", "counter", "Times it ran against its memory limit.", "limit_hits"),
)
_NETWORK = tuple(
    _Flow(f"network_{way}_{what}_total", f"{said} {done}.", f"{way}_{field}")
    for way, done in (("receive", "received"), ("transmit", "sent"))
    for what, field, said in (
        ("bytes", "bytes", "Bytes"),
        ("packets", "packets", "Packets"),
        ("errors", "errors", "Packets in error while they were"),
        ("packets_dropped", "dropped", "Packets dropped instead of being"),
    )
)
_BLOCK_IO = (
    _Flow("fs_reads_bytes_total", "Bytes read from a block device.", "read_bytes"),
    _Flow("fs_writes_bytes_total", "Bytes written to a block device.", "write_bytes"),
    _Flow("fs_reads_total", "Read operations on a block device.", "reads"),
    _Flow("fs_writes_total", "Write operations on a block device.", "writes"),
)
_READERS: Mapping[str, Callable[[object], float | None]] = {
    name: attrgetter(name)
    for name in (
        *(each.field for each in (_CPU_USAGE, *_FIGURES, *_MARKS)),
        *(each.field for each in (*_NETWORK, *_BLOCK_IO)),
    )
}


class CadvisorLayer:
    """
    Gives the families, and remembers for 10 minutes when a container that ended was last seen.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def collect(self, running: Sequence[Running], ended: Sequence[Blocks], now: float) -> Iterator[Family]:
        """Give the families of the containers that have a process, and of those that ended by `now` (Unix time)."""
        yield self._last_seen(running, ended, now)
        yield from _described(running)
        yield from _measured([each for each in running if each.reading is not None])
        yield from _rare(running)

    def _last_seen(self, running: Sequence[Running], ended: Sequence[Blocks], now: float) -> Family:
        seen = {each.blocks.container.id: (each.block, now) for each in running}
        gone = {id_: known for id_, known in self._seen.items() if id_ not in seen}
        for blocks in ended:
            container = blocks.container
            if container.finished_at is not None and container.id not in seen:
                # What ended before we came aboard lay where Docker puts a container by default, as far as we know.
                block, _ = gone.get(container.id) or (blocks.cadvisor(f"docker/{container.id}"), now)
                gone[container.id] = block, container.finished_at.timestamp()
        recent = {id_: known for id_, known in gone.items() if now - known[1] <= SHOWN_FOR_SECONDS}
        self._seen = seen | dict(sorted(recent.items(), key=lambda item: item[1][1])[-_MOST_ENDED:])
        return Family(
            f"{_P}last_seen",
            "gauge",
            "When the container was last seen running; stands still for 10 minutes after its end.",
            list(self._seen.values()),
        )


def machine_families(machine: Machine) -> Iterator[Family]:
    """Give what cAdvisor tells of the machine itself."""
    for name, words, value in (
        ("cpu_cores", "CPUs of the machine.", machine.cpus),
        ("memory_bytes", "Memory of the machine.", machine.memory_bytes),
    ):
        yield Family(f"machine_{name}", "gauge", words, [] if value is None else [("", value)])


def data_root_families(running: Sequence[Running], root: DataRoot) -> Iterator[Family]:
    """Give, for each container as cAdvisor does, the filesystem that all of them lie on."""
    blocks = [(each, each.blocks.extended(each.block, "device", root.device)) for each in running]
    for name, words, value in (
        ("inodes_total", "Inodes of the filesystem under the data-root.", root.inodes),
        ("inodes_free", "Free inodes of the filesystem under the data-root.", root.inodes_free),
    ):
        yield Family(f"{_P}fs_{name}", "gauge", words, [] if value is None else [(block, value) for _, block in blocks])
    yield Family(
        f"{_P}fs_usage_bytes",
        "gauge",
        "Size of the writable layer and the logs, as last measured.",
        [(block, each.written_bytes) for each, block in blocks if each.written_bytes is not None],
    )


def _described(running: Sequence[Running]) -> Iterator[Family]:
    yield Family(
        f"{_P}start_time_seconds",
        "gauge",
        "When the container was last started.",
        [
            (each.block, started.timestamp())
            for each in running
            if (started := each.blocks.container.started_at) is not None
        ],
    )
    yield Family(
        f"{_P}health_state",
        "gauge",
        "1 healthy, 0 unhealthy or starting, -1 without a health check.",
        [(each.block, _health(each.blocks.container)) for each in running if each.blocks.container.inspected],
    )


def _health(container: Container) -> int:
    return -1 if container.health is None else int(container.health.status is HealthStatus.HEALTHY)


def _measured(running: Sequence[Running]) -> Iterator[Family]:
    total = [(each.blocks.extended(each.block, "cpu", "total"), each.reading) for each in running]
    yield _family(_CPU_USAGE, total)
    rows = [(each.block, each.reading) for each in running]
    for figure in _FIGURES:
        yield _family(figure, rows)
    traffic = [
        (each.blocks.extended(each.block, "interface", name), counted)
        for each in running
        if each.reading is not None
        for name, counted in each.reading.network.items()
    ]
    devices = [
        (each.blocks.extended(each.block, "device", f"/dev/{name}"), counted)
        for each in running
        if each.reading is not None
        for name, counted in each.reading.block_io.items()
    ]
    for flows, counted_rows in ((_NETWORK, traffic), (_BLOCK_IO, devices)):
        for flow in flows:
            yield _family(_Figure(flow.name, "counter", flow.help, flow.field), counted_rows)


def _rare(running: Sequence[Running]) -> Iterator[Family]:
    marks = [(each.block, each.marks) for each in running if each.marks is not None]
    for figure in _MARKS:
        yield _family(figure, marks)
    yield Family(
        f"{_P}oom_events_total",
        "counter",
        "Processes killed for memory, counted by the container's name.",
        [(each.block, each.oom_kills) for each in running if each.oom_kills is not None],
    )


def _family(figure: _Figure, rows: Sequence[tuple[str, object]]) -> Family:
    read = _READERS[figure.field]
    values = [(block, value) for block, each in rows if (value := read(each)) is not None]
    return Family(_P + figure.name, figure.kind, figure.help, values)
