"""Metric families of containers: figures read at scrape time, with state and health from the last inspect."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from collectors.cadvisor import CadvisorLayer, DataRoot, Machine, Shown, machine_families
from collectors.container_columns import Figures
from collectors.container_figures import PREFIX, marked, measured
from collectors.container_labels import Blocks
from collectors.facts import ContainerState
from collectors.families import Family, texts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from collectors.cgroup import CgroupReader
    from collectors.facts import Container
    from collectors.families import Column
    from collectors.reading import MemoryMarks, Reading

_ONE, _ZERO = " 1", " 0"
_ENDED = frozenset({ContainerState.EXITED, ContainerState.DEAD, ContainerState.RESTARTING})


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a scrape finds ready: the containers, and of them what others have read or counted."""

    containers: Sequence[Container] = ()
    known: bool = True
    """False while Docker cannot be asked: then nobody knows who is there, nor who ended."""
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
    looping: Collection[str] | None = None
    """The subject keys of those that keep restarting; `None` while nobody can tell."""
    layer_bytes: Mapping[str, int] = field(default_factory=dict)
    """By container id: what its writable layer takes, as last measured."""
    written_bytes: Mapping[str, int] = field(default_factory=dict)
    """By container id: what its writable layer and its logs take, as last measured."""
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
        running = [each for each in blocks if each.container.pid]
        figures = self._figures(running, view)
        yield from _described(blocks)
        yield from _found_out(blocks, view)
        yield from measured(figures)
        yield from marked(figures)
        if view.cadvisor:
            yield from self._as_cadvisor(view, blocks, running, figures)

    def _figures(self, running: Sequence[Blocks], view: View) -> Figures:
        """Read every cgroup; for one out of reach there is what Docker told."""
        read = [(each, self._cgroups.read(each.container) or view.stats.get(each.container.id)) for each in running]
        return Figures.of(
            [(each, reading) for each, reading in read if reading is not None],
            [(each, marks) for each in running if (marks := view.marks.get(each.container.id)) is not None],
        )

    def _as_cadvisor(
        self, view: View, blocks: Sequence[Blocks], running: Sequence[Blocks], figures: Figures
    ) -> Iterator[Family]:
        if view.known:  # else all of them would seem to have ended: rules for killed containers would fire
            yield from self._cadvisor.collect(
                Shown(
                    running={each: each.cadvisor(self._place(each.container)) for each in running},
                    ended=[each for each in blocks if not each.container.pid],
                    figures=figures,
                    oom_kills=[view.oom_kills.get(each.lasting) for each in running],
                    written_bytes=[view.written_bytes.get(each.container.id) for each in running],
                    now=view.now,
                    data_root=view.data_root,
                )
            )
        if view.machine is not None:
            yield from machine_families(view.machine)

    def _place(self, container: Container) -> str:
        return self._cgroups.path(container) or f"docker/{container.id}"

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
    ones = [_ONE] * len(blocks)
    read = [entry for entry in blocks if entry.container.inspected]
    identities = [entry.identity for entry in read]
    yield _family("info", "What a container is; always 1.", [entry.info for entry in blocks], ones)
    yield _family("state", "The state that the container is in; always 1.", [entry.state for entry in blocks], ones)
    yield _family(
        "health", "The status of its health check; always 1.", [entry.health for entry in read], ones[: len(read)]
    )
    yield _family(
        "health_failing_streak",
        "Probes of its health check that failed in a row.",
        identities,
        texts([entry.container.health.failing_streak if entry.container.health else None for entry in read]),
    )
    yield _family(
        "started_timestamp_seconds", "When it was last started.", identities, [entry.started for entry in read]
    )
    yield _family(
        "policy_restarts",
        "Restarts by its restart policy since somebody started it.",
        identities,
        texts([entry.container.restart_count for entry in read]),
    )
    ended = [entry for entry in read if entry.container.state in _ENDED and entry.container.finished_at]
    identities = [entry.identity for entry in ended]
    yield _family(
        "exit_code",
        "Exit code of a container that is not running.",
        identities,
        texts([entry.container.exit_code for entry in ended]),
    )
    yield _family(
        "finished_timestamp_seconds",
        "When a container that is not running ended.",
        identities,
        texts([entry.container.finished_at.timestamp() for entry in ended if entry.container.finished_at]),
    )


def _found_out(blocks: Sequence[Blocks], view: View) -> Iterator[Family]:
    """Give what is known of containers beside their inspect, of those that ended, too."""
    looping = view.looping
    judged = [entry for entry in blocks if entry.container.inspected] if looping is not None else []
    yield _family(
        "restart_looping",
        "1 while it ends again and again without anybody's wish.",
        [entry.lasting for entry in judged],
        [_ONE if looping and entry.container.subject.key in looping else _ZERO for entry in judged],
    )
    yield _family(
        "writable_layer_bytes",
        "What it wrote into its own root filesystem, as last measured.",
        [entry.identity for entry in blocks],
        texts([view.layer_bytes.get(entry.container.id) for entry in blocks]),
    )


def _family(name: str, words: str, blocks: Sequence[str], column: Column) -> Family:
    return Family(PREFIX + name, "gauge", words, blocks=blocks, column=column)
