"""Metric families of containers: figures read at scrape time, with state and health from the last inspect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collectors.cadvisor import CadvisorLayer, DataRoot, Machine, Running, data_root_families, machine_families
from collectors.container_figures import PREFIX as _P
from collectors.container_figures import marked, measured
from collectors.container_labels import Blocks
from collectors.facts import ContainerState
from collectors.families import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.cgroup import CgroupReader
    from collectors.facts import Container
    from collectors.reading import MemoryMarks, Reading

_ENDED = frozenset({ContainerState.EXITED, ContainerState.DEAD, ContainerState.RESTARTING})


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a scrape finds ready: the containers, and of them what others have read or counted."""

    containers: Sequence[Container] = ()
    labels: tuple[str, ...] = ()
    """The names of the owner's labels that are shown."""
    cadvisor: bool = False
    """True if cAdvisor's names are served as well."""
    now: float = 0.0
    """Unix time."""
    marks: Mapping[str, MemoryMarks] = field(default_factory=dict)
    """By container id."""
    stats: Mapping[str, Reading] = field(default_factory=dict)
    """By container id: what Docker told of those whose cgroup is out of reach."""
    oom_kills: Mapping[str, float] = field(default_factory=dict)
    """By the labels that outlive a container."""
    data_root: DataRoot | None = None
    machine: Machine | None = None


class ContainerCollector:
    """Families of the containers handed in; a figure that cannot be read is an absent series."""

    def __init__(self, cgroups: CgroupReader, view: Callable[[], View]) -> None:
        self._cgroups = cgroups
        self._view = view
        self._blocks: dict[str, Blocks] = {}
        self._cadvisor = CadvisorLayer()

    def collect(self) -> Iterator[Family]:
        """Read the cgroup of every container that has a process, then yield all families."""
        view = self._view()
        blocks = self._current_blocks(view)
        yield from _described(blocks)
        running = [each for each in blocks if each.container.pid]
        readings = {each.container.id: self._reading(each.container, view) for each in running}
        read = [(each, reading) for each in running if (reading := readings[each.container.id]) is not None]
        yield from measured(read)
        yield from marked([(each, marks) for each in running if (marks := view.marks.get(each.container.id))])
        if view.cadvisor:
            yield from self._as_cadvisor(view, blocks, readings)

    def _reading(self, container: Container, view: View) -> Reading | None:
        return self._cgroups.read(container) or view.stats.get(container.id)

    def _as_cadvisor(
        self, view: View, blocks: Sequence[Blocks], readings: Mapping[str, Reading | None]
    ) -> Iterator[Family]:
        running = [
            Running(
                blocks=each,
                block=each.cadvisor(self._cgroups.path(each.container) or f"docker/{each.container.id}"),
                reading=readings[each.container.id],
                marks=view.marks.get(each.container.id),
                oom_kills=view.oom_kills.get(each.lasting),
                written_bytes=each.container.size_bytes,
            )
            for each in blocks
            if each.container.pid
        ]
        ended = [each for each in blocks if not each.container.pid]
        yield from self._cadvisor.collect(running, ended, view.now)
        if view.data_root is not None:
            yield from data_root_families(running, view.data_root)
        if view.machine is not None:
            yield from machine_families(view.machine)

    def _current_blocks(self, view: View) -> list[Blocks]:
        known = self._blocks
        # The inventory hands out the same object until an inspect differs, so identity is enough.
        fresh = {
            container.id: entry
            if (entry := known.get(container.id)) and entry.container is container and entry.allowed == view.labels
            else Blocks(container, view.labels)
            for container in view.containers
        }
        self._blocks = fresh
        return list(fresh.values())


def _described(blocks: Sequence[Blocks]) -> Iterator[Family]:
    read = [entry for entry in blocks if entry.container.inspected]
    yield Family(_P + "info", "gauge", "What a container is; always 1.", [(entry.info, 1) for entry in blocks])
    yield Family(
        _P + "state", "gauge", "The state that the container is in; always 1.", [(entry.state, 1) for entry in blocks]
    )
    yield Family(
        _P + "health", "gauge", "The status of its health check; always 1.", [(entry.health, 1) for entry in read]
    )
    yield Family(
        _P + "health_failing_streak",
        "gauge",
        "Probes of its health check that failed in a row.",
        [(entry.identity, entry.container.health.failing_streak) for entry in read if entry.container.health],
    )
    yield Family(
        _P + "started_timestamp_seconds",
        "gauge",
        "When it was last started.",
        [(entry.identity, entry.container.started_at.timestamp()) for entry in read if entry.container.started_at],
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
