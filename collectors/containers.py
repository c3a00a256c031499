"""Metric families of containers: figures read at scrape time, with state and health from the last inspect."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from collectors.facts import ContainerState
from collectors.families import Family, Kind, label_block, with_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.cgroup import CgroupReader
    from collectors.cgroup_files import Flow
    from collectors.facts import Container
    from collectors.reading import Reading

_P = "shipkeeper_container_"

_ENDED = frozenset({ContainerState.EXITED, ContainerState.DEAD, ContainerState.RESTARTING})


class _Figure(NamedTuple):
    """A number of a reading that is one series of a container."""

    name: str
    kind: Kind
    help: str
    of: Callable[[Reading], float | None]


class _Flows(NamedTuple):
    """A pair of counters of a reading, one series each per device or interface."""

    label: str
    incoming: tuple[str, str]
    outgoing: tuple[str, str]
    of: Callable[[Reading], Mapping[str, Flow]]


_FIGURES = (
    _Figure(_P + "cpu_usage_seconds_total", "counter", "CPU time used.", attrgetter("cpu_seconds")),
    _Figure(_P + "cpu_user_seconds_total", "counter", "CPU time used in user mode.", attrgetter("cpu_user_seconds")),
    _Figure(
        _P + "cpu_system_seconds_total", "counter", "CPU time used in kernel mode.", attrgetter("cpu_system_seconds")
    ),
    _Figure(
        _P + "cpu_periods_total", "counter", "Enforcement periods passed under a CPU quota.", attrgetter("cpu_periods")
    ),
    _Figure(
        _P + "cpu_throttled_periods_total",
        "counter",
        "Enforcement periods in which the CPU quota ran out.",
        attrgetter("cpu_throttled_periods"),
    ),
    _Figure(
        _P + "cpu_throttled_seconds_total",
        "counter",
        "Time spent waiting because the CPU quota had run out.",
        attrgetter("cpu_throttled_seconds"),
    ),
    _Figure(_P + "memory_usage_bytes", "gauge", "Memory charged, file cache included.", attrgetter("memory_bytes")),
    _Figure(
        _P + "memory_working_set_bytes",
        "gauge",
        "Memory charged without inactive file cache.",
        attrgetter("memory_working_set_bytes"),
    ),
    _Figure(_P + "memory_rss_bytes", "gauge", "Anonymous memory.", attrgetter("memory_rss_bytes")),
    _Figure(_P + "memory_cache_bytes", "gauge", "File cache charged.", attrgetter("memory_cache_bytes")),
    _Figure(
        _P + "memory_limit_bytes", "gauge", "Memory limit; absent when unlimited.", attrgetter("memory_limit_bytes")
    ),
    _Figure(_P + "pids", "gauge", "Processes and threads.", attrgetter("pids")),
    _Figure(
        _P + "pids_limit",
        "gauge",
        "Limit of processes and threads; absent when unlimited.",
        attrgetter("pids_limit"),
    ),
)

_FLOWS = (
    _Flows(
        "interface",
        (_P + "network_receive_bytes_total", "Bytes received."),
        (_P + "network_transmit_bytes_total", "Bytes sent."),
        attrgetter("network"),
    ),
    _Flows(
        "device",
        (_P + "block_io_read_bytes_total", "Bytes read from a block device."),
        (_P + "block_io_write_bytes_total", "Bytes written to a block device."),
        attrgetter("block_io"),
    ),
)


class _Labels:
    """The label blocks of one container, rendered once for as long as its inspect stays the same."""

    __slots__ = ("container", "health", "identity", "info", "state")

    def __init__(self, container: Container) -> None:
        self.container = container
        self.identity = label_block(id=container.id[:12], name=container.name)
        self.state = with_label(self.identity, "state", container.state)
        self.health = with_label(self.identity, "status", container.health.status if container.health else "none")
        self.info = label_block(
            id=container.id[:12],
            name=container.name,
            image=container.image,
            image_id=container.image_id,
            compose_project=container.compose_project,
            compose_service=container.compose_service,
            restart_policy=container.restart_policy.name,
        )


class ContainerCollector:
    """Families of the containers handed in; a figure that cannot be read is an absent series."""

    def __init__(self, cgroups: CgroupReader, containers: Callable[[], Sequence[Container]]) -> None:
        self._cgroups = cgroups
        self._containers = containers
        self._labels: dict[str, _Labels] = {}

    def collect(self) -> Iterator[Family]:
        """Read the cgroup of every container that has a process, then yield all families."""
        labels = self._current_labels()
        yield from _described(labels)
        readings = [(entry.identity, self._cgroups.read(entry.container)) for entry in labels if entry.container.pid]
        yield from _measured([(block, reading) for block, reading in readings if reading is not None])

    def _current_labels(self) -> list[_Labels]:
        known = self._labels
        # The inventory hands out the same object until an inspect differs, so identity is enough.
        fresh = {
            container.id: entry
            if (entry := known.get(container.id)) and entry.container is container
            else _Labels(container)
            for container in self._containers()
        }
        self._labels = fresh
        return list(fresh.values())


def _described(labels: list[_Labels]) -> Iterator[Family]:
    read = [entry for entry in labels if entry.container.inspected]
    yield Family(_P + "info", "gauge", "What a container is; always 1.", [(entry.info, 1) for entry in labels])
    yield Family(
        _P + "state", "gauge", "The state that the container is in; always 1.", [(entry.state, 1) for entry in labels]
    )
    yield Family(
        _P + "health", "gauge", "The status of its health check; always 1.", [(entry.health, 1) for entry in read]
    )
    yield Family(
        _P + "policy_restarts",
        "gauge",
        "Restarts by its restart policy since somebody started it.",
        [(entry.identity, entry.container.restart_count) for entry in read],
    )
    ended = [entry for entry in read if entry.container.state in _ENDED and entry.container.finished_at]
    yield Family(
        _P + "exit_code",
        "gauge",
        "Exit code of a container that is not running.",
        [(entry.identity, entry.container.exit_code) for entry in ended],
    )
    yield Family(
        _P + "finished_timestamp_seconds",
        "gauge",
        "When a container that is not running ended.",
        [(entry.identity, entry.container.finished_at.timestamp()) for entry in ended if entry.container.finished_at],
    )


def _measured(readings: list[tuple[str, Reading]]) -> Iterator[Family]:
    for figure in _FIGURES:
        values = [(block, figure.of(reading)) for block, reading in readings]
        yield Family(
            figure.name, figure.kind, figure.help, [(block, value) for block, value in values if value is not None]
        )
    for flows in _FLOWS:
        rows = [
            (with_label(block, flows.label, key), flow)
            for block, reading in readings
            for key, flow in flows.of(reading).items()
        ]
        yield Family(flows.incoming[0], "counter", flows.incoming[1], [(block, flow.incoming) for block, flow in rows])
        yield Family(flows.outgoing[0], "counter", flows.outgoing[1], [(block, flow.outgoing) for block, flow in rows])
