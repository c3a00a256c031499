"""The metric families of containers under cAdvisor's names, with its labels and meanings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from collectors.facts import Container, ContainerState, HealthStatus
from collectors.families import Family, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from collectors.container_columns import Figures
    from collectors.container_labels import Blocks
    from collectors.families import Column, Kind

SHOWN_FOR_SECONDS = 600
"""So long `container_last_seen` stands still after an end: rules for "container killed" wait for just that."""

_MOST_ENDED = 1000
_RUNS = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})
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
    _Figure(
        "spec_cpu_shares", "gauge", "Share of the CPU time against others, as cgroup v1 counts it.", "limits.cpu_shares"
    ),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is told of the containers in one scrape."""

    running: Mapping[Blocks, str]
    """Those that have a process, with their labels as cAdvisor gives them."""
    ended: Sequence[Blocks]
    """The others; one that could not be inspected may run all the same."""
    figures: Figures
    oom_kills: Sequence[float | None]
    """Of each running one by its name, since it was first seen."""
    written_bytes: Sequence[int | None]
    """Of each running one its writable layer and its logs."""
    now: float
    """Unix time."""
    data_root: DataRoot | None = None


class CadvisorLayer:
    """
    Gives the families, and remembers for 10 minutes when a container that ended was last seen.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def collect(self, shown: Shown) -> Iterator[Family]:
        """Give the families of the containers that have a process, and of those that ended."""
        yield self._last_seen(shown)
        yield from _described(shown.running)
        yield from _measured(shown.running, shown.figures)
        yield from _rare(shown)
        if shown.data_root is not None:
            yield from _data_root(shown, shown.data_root)

    def _last_seen(self, shown: Shown) -> Family:
        now = shown.now
        seen = {each.container.id: (block, now) for each, block in shown.running.items()}
        unread = {id_: (block, now) for id_, block in self._running_unread(shown.ended)}
        seen |= unread
        gone = {id_: known for id_, known in self._seen.items() if id_ not in seen}
        for blocks in shown.ended:
            container = blocks.container
            if container.finished_at is not None and container.id not in seen:
                # What ended before we came aboard lay where Docker puts a container by default, as far as we know.
                block, _ = gone.get(container.id) or (blocks.cadvisor(f"docker/{container.id}"), now)
                gone[container.id] = block, container.finished_at.timestamp()
        recent = {id_: known for id_, known in gone.items() if now - known[1] <= SHOWN_FOR_SECONDS}
        stopped = dict(sorted(recent.items(), key=lambda item: item[1][1])[-_MOST_ENDED:])
        self._seen = seen | stopped
        at_once = tuple(texts([now]))
        return Family(
            f"{_P}last_seen",
            "gauge",
            "When the container was last seen running; stands still for 10 minutes after its end.",
            [*unread.values(), *stopped.values()],
            blocks=list(shown.running.values()),
            column=at_once * len(shown.running),
        )

    def _running_unread(self, without_process: Iterable[Blocks]) -> Iterator[tuple[str, str]]:
        """Give those of which Docker's list says that they run, while their process cannot be told."""
        for blocks in without_process:
            container = blocks.container
            if not container.inspected and container.state in _RUNS:
                block, _ = self._seen.get(container.id) or (blocks.cadvisor(f"docker/{container.id}"), 0.0)
                yield container.id, block


def machine_families(machine: Machine) -> Iterator[Family]:
    """Give what cAdvisor tells of the machine itself."""
    for name, words, value in (
        ("cpu_cores", "CPUs of the machine.", machine.cpus),
        ("memory_bytes", "Memory of the machine.", machine.memory_bytes),
    ):
        yield Family(f"machine_{name}", "gauge", words, [] if value is None else [("", value)])


def _data_root(shown: Shown, root: DataRoot) -> Iterator[Family]:
    """Give, for each container as cAdvisor does, the filesystem that all of them lie on."""
    blocks = [each.extended(block, "device", root.device) for each, block in shown.running.items()]
    for name, words, values in (
        ("inodes_total", "Inodes of the filesystem under the data-root.", [root.inodes] * len(blocks)),
        ("inodes_free", "Free inodes of the filesystem under the data-root.", [root.inodes_free] * len(blocks)),
        ("usage_bytes", "Size of the writable layer and the logs, as last measured.", shown.written_bytes),
    ):
        yield Family(f"{_P}fs_{name}", "gauge", words, blocks=blocks, column=texts(values))


def _described(running: Mapping[Blocks, str]) -> Iterator[Family]:
    blocks = list(running.values())
    yield Family(
        f"{_P}start_time_seconds",
        "gauge",
        "When the container was last started.",
        blocks=blocks,
        column=[each.started for each in running],
    )
    yield Family(
        f"{_P}health_state",
        "gauge",
        "1 healthy, 0 unhealthy or starting, -1 without a health check.",
        blocks=blocks,
        column=texts([_health(each.container) for each in running]),
    )


def _health(container: Container) -> int | None:
    if not container.inspected:
        return None
    return -1 if container.health is None else int(container.health.status is HealthStatus.HEALTHY)


def _measured(running: Mapping[Blocks, str], figures: Figures) -> Iterator[Family]:
    table = figures.measured
    blocks = [running[each] for each in table.of]
    total = [each.extended(running[each], "cpu", "total") for each in table.of]
    yield _family(_CPU_USAGE, total, table.columns)
    for figure in _FIGURES:
        yield _family(figure, blocks, table.columns)
    for label, prefix, flows, counted in (
        ("interface", "", _NETWORK, figures.traffic),
        ("device", "/dev/", _BLOCK_IO, figures.block_io),
    ):
        things = zip(counted.of, counted.things, strict=True)
        blocks = [each.extended(running[each], label, f"{prefix}{thing}") for each, thing in things]
        for flow in flows:
            yield _family(_Figure(flow.name, "counter", flow.help, flow.field), blocks, counted.columns)


def _rare(shown: Shown) -> Iterator[Family]:
    marked = shown.figures.marked
    blocks = [shown.running[each] for each in marked.of]
    for figure in _MARKS:
        yield _family(figure, blocks, marked.columns)
    yield Family(
        f"{_P}oom_events_total",
        "counter",
        "Processes killed for memory, counted by the container's name.",
        blocks=list(shown.running.values()),
        column=texts(shown.oom_kills),
    )


def _family(figure: _Figure, blocks: Sequence[str], columns: Mapping[str, Column]) -> Family:
    return Family(_P + figure.name, figure.kind, figure.help, blocks=blocks, column=columns[figure.field])
