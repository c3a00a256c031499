"""Gathers the facts of one cycle: what Docker shows and what befell it, with the samples of the slower lanes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collectors.facts import (
    Container,
    Death,
    Facts,
    Filesystem,
    Image,
    Intent,
    Known,
    OomKill,
    Source,
    SourceName,
    Unknown,
)
from collectors.gpu_requests import effective
from daemon.gpu_holds import GpuHolds
from daemon.ledger import Look
from daemon.log_tails import LogTails
from policies import gpu_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from collectors.engine_events import Event
    from collectors.inventory import Inventory
    from daemon.clock import Clock
    from daemon.gpu_account import GpuAccount, GpuCharge, GpuLook
    from daemon.ledger import Baseline, Ledger
    from daemon.lookout import EngineView, Lookout, Sight
    from daemon.recent import Recent
    from daemon.rulebook import Rulebook
    from daemon.sampler import Sampler
    from daemon.sightings import Sightings

log = logging.getLogger(__name__)

INTENTS = {
    Intent.NONE: "nobody asked for it",
    Intent.API: "somebody asked Docker for it",
    Intent.ENGINE: "the engine took it along",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One refresh: the facts, and what in them is news."""

    facts: Facts
    deaths: tuple[Death, ...]
    kills: tuple[OomKill, ...]
    baseline: Baseline | None
    """What the ledger must remember; `None` if Docker could not be read."""
    unsettled: bool
    """True if something will explain itself within a second: look again then."""
    charges: tuple[GpuCharge, ...]
    """What containers had of GPUs since the last sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Everything that the observer looks with."""

    lookout: Lookout
    engine: EngineView
    inventory: Inventory
    sampler: Sampler
    ledger: Ledger
    recent: Recent
    sightings: Sightings
    gpus: GpuAccount
    oom_count: Callable[[Container], int | None]
    """Reads the cgroup `oom_kill` counter of one container now."""
    sizes: Callable[[], Mapping[str, int]]
    """Writable layer sizes measured so far, by container id."""
    state_fault: Callable[[], str | None]
    """Says why our own state cannot be written just now."""


class Observer:
    """Used from the watch thread only; `rebooted` tells that the machine was started anew in our absence."""

    def __init__(self, eyes: Eyes, clock: Clock, *, rebooted: bool) -> None:
        self._eyes = eyes
        self._clock = clock
        self._rebooted = rebooted
        self._shown: dict[str, tuple[Container, Container]] = {}
        self._manner = True, ""
        self._gpu_holds = GpuHolds()

    @property
    def ready(self) -> bool:
        """True once every container has been seen at least once."""
        return self._eyes.lookout.ready

    def close(self) -> None:
        """Let go of the connection to the engine."""
        self._eyes.lookout.close()

    def observe(self, book: Rulebook) -> Observation:
        """Look at what changed; a source that cannot be read is `Unknown` in the facts, never an error."""
        sight = self._eyes.lookout.look()
        deaths: tuple[Death, ...] = ()
        kills: tuple[OomKill, ...] = ()
        if sight is not None:
            if isinstance(self._eyes.lookout.images, Known):
                self._eyes.sightings.meet(self._unused_images())
            deaths, kills = self._befallen(sight, book)
        containers = self._containers(quotes=book.log_lines > 0)
        gpus = self._eyes.gpus.look(containers, complete=self.ready, idle_below=book.gpu_idle_below)
        return Observation(
            facts=self._gpu_holds.note(self._facts(book, containers, gpus)),
            deaths=deaths,
            kills=kills,
            baseline=self._eyes.ledger.baseline if sight is not None else None,
            unsettled=self._eyes.ledger.unsettled or self._eyes.lookout.unsettled,
            charges=gpus.charges,
        )

    def _befallen(self, sight: Sight, book: Rulebook) -> tuple[tuple[Death, ...], tuple[OomKill, ...]]:
        """Give the deaths and memory kills that this look shows for the first time."""
        eyes, now = self._eyes, self._clock.now()
        deaths, kills = eyes.ledger.record(
            Look(
                now=now,
                events=sight.events,
                before=sight.before,
                after=eyes.inventory.containers,
                complete=sight.complete,
                engine_restarted=sight.engine_restarted or self._rebooted,
                oom_counts=self._oom_counts(sight.events),
            )
        )
        if sight.complete:
            self._rebooted = False
        deaths = self._gpu_holds.add(deaths)
        if eyes.lookout.api is not None:
            deaths = LogTails(book.log_lines, book.redact, self._clock).add(deaths, eyes.lookout.api)
        for death in deaths:
            log.info("container %s %s", words.plain(death.name), _account(death))
        eyes.recent.add(deaths, kills)
        return deaths, kills

    def _oom_counts(self, events: Sequence[Event]) -> dict[str, int]:
        sample = self._eyes.sampler.latest
        counts = dict(sample.oom_kills) if sample else {}
        for container_id in self._eyes.ledger.awaiting_oom | {e.id for e in events if e.action == "oom"}:
            container = self._eyes.inventory.containers.get(container_id)
            count = self._eyes.oom_count(container) if container else None
            if count is not None:
                counts[container_id] = count
        return counts

    def _facts(self, book: Rulebook, containers: tuple[Container, ...], gpus: GpuLook) -> Facts:
        now = self._clock.now()
        deaths, kills = self._eyes.recent.shown(now)
        filesystems_source, filesystems = self._filesystems(now)
        return Facts(
            now=now,
            sources={
                SourceName.DOCKER: self._eyes.lookout.docker,
                SourceName.IMAGES: self._eyes.lookout.images,
                SourceName.FILESYSTEMS: filesystems_source,
                SourceName.GPU: gpus.source,
            },
            engine=self._eyes.engine.engine,
            containers=containers,
            images=self._images(),
            filesystems=filesystems,
            deaths=deaths,
            oom_kills=kills,
            gpus=gpus.gpus,
            protection=book.protection,
            ignore=book.ignore,
            owner_label=book.owner_label,
            state_fault=self._eyes.state_fault() or "",
        )

    def _containers(self, *, quotes: bool) -> tuple[Container, ...]:
        """
        Give the containers by name, as policies may see them.

        One that stays the same stays the same object: a scrape renders its labels only once.
        """
        manner = quotes, self._eyes.engine.engine.default_runtime
        sizes, before = self._eyes.sizes(), self._shown if manner == self._manner else {}
        self._shown, self._manner = {}, manner
        for id_, source in self._eyes.inventory.containers.items():
            known = before.get(id_)
            if known is None or known[0] is not source or known[1].size_bytes != sizes.get(id_):
                known = source, _as_shown(source, sizes.get(id_), *manner)
            self._shown[id_] = known
        return tuple(sorted((shown for _, shown in self._shown.values()), key=lambda container: container.name))

    def _images(self) -> tuple[Image, ...]:
        sightings = self._eyes.sightings
        return tuple(
            replace(image, watched_for=sightings.watched_for(image.id)) if image.dangling else image
            for image in self._eyes.inventory.images.values()
        )

    def _unused_images(self) -> frozenset[str]:
        """Give the ids of the images that nothing refers to; of every other the time begins when its use ends."""
        images = self._eyes.inventory.images
        parents = {image.parent_id for image in images.values()}
        used = {container.image_id for container in self._eyes.inventory.containers.values()}
        return frozenset(id_ for id_, image in images.items() if image.dangling) - used - parents

    def _filesystems(self, now: datetime) -> tuple[Source, tuple[Filesystem, ...]]:
        sample = self._eyes.sampler.latest
        if sample is None:
            return Unknown("there is no reading, or the last one is too old", now), ()
        return Known(sample.at), sample.filesystems


def _as_shown(container: Container, size_bytes: int | None, quotes: bool, default_runtime: str) -> Container:  # noqa: FBT001
    requests = effective(container.gpu_requests, container.runtime, default_runtime)
    if requests != container.gpu_requests:
        container = replace(container, gpu_requests=requests)
    if container.health is not None and container.health.last_output and not quotes:
        container = replace(container, health=replace(container.health, last_output=""))
    return container if size_bytes is None else replace(container, size_bytes=size_bytes)


def _account(death: Death) -> str:
    """Say one end in a line of the journal."""
    lived = f" after {words.duration(death.uptime)}" if death.uptime is not None else ""
    killed = ", killed for memory" if death.oom else ""
    missed = ", found later" if death.inferred else ""
    held = f", held {gpu_words.held(death.gpus)}" if death.gpus else ""
    return f"{words.exit_code(death.exit_code)}{lived}{killed}{held} · {INTENTS[death.intent]}{missed}"
