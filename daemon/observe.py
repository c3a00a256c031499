"""Gathers the facts of one cycle: what Docker shows and what befell it, with the samples of the slower lanes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import (
    COMPOSE_PROJECT,
    NO_INTENTS,
    NO_MEMORY,
    Container,
    ContainerState,
    Death,
    Facts,
    Filesystem,
    Image,
    Intent,
    Known,
    OomKill,
    Source,
    SourceName,
    SubjectKind,
    Unknown,
)
from collectors.gpu_requests import effective
from collectors.own_facts import OwnWork
from daemon.gpu_holds import GpuHolds
from daemon.health_turns import HealthTurns
from daemon.late_stops import LateStops, ended_with_engine
from daemon.ledger import Look
from daemon.log_tails import LogTails
from daemon.memory_trends import MemoryTrends
from daemon.pressed import Pressed
from policies import ages, gpu_words, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from collectors.engine_events import Event
    from collectors.facts import DiskUse
    from collectors.inventory import Inventory
    from collectors.own_facts import MemoryUse
    from collectors.storage_facts import Network, Relieved, Volume
    from daemon.clock import Clock
    from daemon.clock_steps import ClockSteps
    from daemon.gpu_account import GpuAccount, GpuCharge, GpuLook
    from daemon.host_ooms import HostOoms
    from daemon.idle import IdleTimes
    from daemon.last_use import LastUse
    from daemon.ledger import Baseline, Ledger
    from daemon.lookout import EngineView, Lookout, Sight
    from daemon.recent import Recent
    from daemon.redact import Redactor
    from daemon.rulebook import Rulebook
    from daemon.sampler import Sample, Sampler
    from daemon.sightings import Sightings
    from daemon.stock import Stock

log = logging.getLogger(__name__)

_NO_TIME = timedelta(0)

INTENTS = {
    Intent.NONE: "nobody asked for it",
    Intent.API: "somebody asked Docker for it",
    Intent.ENGINE: "the engine took it along",
}
_STOPPED = frozenset({ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD})


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
    touched: frozenset[str]
    """The keys of the containers that these news are about; empty if there is none, or if all were compared."""
    lying: Mapping[str, Intent] = field(default_factory=lambda: NO_INTENTS)
    """By container id: why it lies there, where that is another thing than why it ended."""


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
    last_use: LastUse
    idle: IdleTimes
    clock_steps: ClockSteps
    stock: Callable[[], Stock]
    """What the slow lanes know of networks, volumes, build cache and logs."""
    gpus: GpuAccount
    host_ooms: HostOoms
    oom_count: Callable[[Container], int | None]
    """Reads the cgroup `oom_kill` counter of one container now."""
    sizes: Callable[[], Mapping[str, int]]
    """Writable layer sizes measured so far, by container id."""
    unique_bytes: Callable[[], Mapping[str, int]]
    """What no other image shares, as last told by Docker, by image id."""
    reliefs: Callable[[], tuple[Relieved, ...]]
    """What the last run against each full disk came to."""
    engine_stuck: Callable[[], str]
    """Says what Docker does not finish of what we asked of it; empty if nothing."""
    state_fault: Callable[[], str | None]
    """Says why our own state cannot be written just now."""
    own_container_id: str = ""
    """The container that we run in, if any."""
    growth: Callable[[Filesystem], float | None] = lambda _: None
    """How fast a filesystem fills, in bytes per second."""
    uses: Callable[[], tuple[DiskUse, ...]] = tuple
    """What takes how much of which filesystem."""
    own: Callable[[timedelta | None], OwnWork] = lambda no_events: OwnWork(no_events_for=no_events)
    """How our own work goes; takes for how long no events have come."""
    ended_by: Mapping[str, Intent] = field(default_factory=lambda: NO_INTENTS)
    """By container id: why it ended last, as the store remembers it."""


class Observer:
    """Used from the watch thread only; `rebooted` tells that the machine was started anew in our absence."""

    def __init__(self, eyes: Eyes, clock: Clock, *, rebooted: bool) -> None:
        self._eyes = eyes
        self._clock = clock
        self._rebooted = rebooted
        self._shown: dict[str, tuple[Container, Container]] = {}
        self._manner: _Manner | None = None
        self._gpu_holds = GpuHolds()
        self._deaths: tuple[Death, ...] = ()
        self._kills: tuple[OomKill, ...] = ()
        self._pressed = Pressed()
        self._memory = MemoryTrends(clock)
        self._health = HealthTurns(clock)
        self._ended_by = dict(eyes.ended_by)
        self._late_stops = LateStops()
        self._lying: Mapping[str, Intent] = NO_INTENTS
        self._sample: Sample | None = None
        self._uses: tuple[DiskUse, ...] = ()
        self._memory_uses: Mapping[str, MemoryUse] = NO_MEMORY

    @property
    def ready(self) -> bool:
        """True once every container has been seen at least once."""
        return self._eyes.lookout.ready

    def close(self) -> None:
        """Let go of the connection to the engine."""
        self._eyes.lookout.close()

    def observe(self, book: Rulebook) -> Observation:
        """Look at what changed; a source that cannot be read is `Unknown` in the facts, never an error."""
        seen = self._eyes.lookout.docker
        sight, stock = self._eyes.lookout.look(), self._eyes.stock()
        self._note_sample()
        if sight is not None:
            self._meet_idle(sight, stock)
            self._eyes.last_use.hear(sight.events)
            deaths, kills = self._befallen(sight, book)
            # The ledger tells each only once: they wait here until a look ends without an error of our own.
            self._deaths, self._kills = (*self._deaths, *deaths), (*self._kills, *kills)
            self._note_lives(deaths, sight, seen.at if isinstance(seen, Known) else seen.since)
        containers = self._containers(book)
        current = isinstance(self._eyes.lookout.docker, Known)
        gpus = self._eyes.gpus.look(containers, complete=self.ready, idle_below=book.gpu_idle_below, current=current)
        facts = self._gpu_holds.note(self._facts(book, containers, gpus, stock))
        if sight is not None and isinstance(self._eyes.lookout.images, Known):
            self._note_uses(sight, facts)
        facts = replace(facts, images=self._images(facts.images))
        facts = replace(facts, pressed=self._pressed.look(facts, book.pressure))
        deaths, kills, self._deaths, self._kills = self._deaths, self._kills, (), ()
        lying, self._lying = self._lying, NO_INTENTS
        return Observation(
            facts=facts,
            deaths=deaths,
            kills=kills,
            baseline=self._eyes.ledger.baseline if sight is not None else None,
            unsettled=self._eyes.ledger.unsettled or self._eyes.lookout.unsettled,
            charges=gpus.charges,
            touched=self._touched(sight, (*deaths, *kills)),
            lying=lying,
        )

    def _touched(self, sight: Sight | None, ends: Iterable[Death | OomKill]) -> frozenset[str]:
        if sight is None or sight.complete or sight.engine_restarted:
            return frozenset()
        ids = {event.container_id for event in sight.events}
        met = [seen[id_] for seen in (sight.before, self._eyes.inventory.containers) for id_ in ids if id_ in seen]
        return frozenset(each.subject.key for each in (*met, *ends))

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
        deaths = tuple(
            replace(death, memory=self._memory.last(death.container_id)) if death.oom else death for death in deaths
        )
        if eyes.lookout.api is not None:
            deaths = LogTails(book.log_lines, book.redact, self._clock).add(deaths, eyes.lookout.api)
        for death in deaths:
            log.info("container %s %s", words.plain(death.name), _account(death))
        eyes.recent.add(deaths, kills)
        return deaths, kills

    def _note_sample(self) -> None:
        """Work out what follows from a sample, once: a cycle comes with every event, a sample every 15 s."""
        sample = self._eyes.sampler.latest
        if sample is self._sample:
            return
        self._sample = sample
        self._eyes.host_ooms.note(sample.host_ooms if sample else None)
        self._memory.note(sample)
        self._memory_uses = self._memory.uses(sample)
        self._uses = self._eyes.uses()

    def _note_lives(self, deaths: Sequence[Death], sight: Sight, seen_until: datetime) -> None:
        """Remember whose health turned, and why each ended last; of an end that no event told of nobody knows."""
        ended_by = dict(self._ended_by)  # another one, for the last facts hold the old
        for death in deaths:
            if death.inferred and death.intent is Intent.NONE:
                ended_by.pop(death.container_id, None)
            else:
                ended_by[death.container_id] = death.intent
        present = self._eyes.inventory.containers
        stopped = self._late_stops.look(sight.events, sight.before, present)
        late = (id_ for id_ in stopped if ended_by.get(id_, Intent.NONE) is Intent.NONE)
        lying = dict.fromkeys(late, Intent.API)
        if sight.engine_restarted:
            taken = (id_ for id_ in ended_with_engine(present, seen_until) if ended_by.get(id_) is Intent.API)
            lying |= dict.fromkeys(taken, Intent.ENGINE)
        ended_by |= lying
        self._lying = {**self._lying, **lying}
        if sight.complete:
            ended_by = {id_: intent for id_, intent in ended_by.items() if id_ in present}
        self._ended_by = ended_by
        self._health.look(present.values())
        if sight.complete:
            self._health.forget_all_but(frozenset(each.subject.key for each in present.values()))

    def _oom_counts(self, events: Sequence[Event]) -> dict[str, int]:
        sample, containers = self._eyes.sampler.latest, self._eyes.inventory.containers
        told = sample.oom_kills if sample else {}
        counts = {id_: count for id_, count in told.items() if sample and sample.saw(containers.get(id_))}
        for container_id in self._eyes.ledger.awaiting_oom | {e.id for e in events if e.action == "oom"}:
            container = containers.get(container_id)
            count = self._eyes.oom_count(container) if container else None
            if count is not None:
                counts[container_id] = count
        return counts

    def _meet_idle(self, sight: Sight, stock: Stock) -> None:
        """Take note of what is idle; what an event speaks of was in use a moment ago."""
        idle, now = self._eyes.idle, self._clock.now()
        containers = self._eyes.inventory.containers.values()
        stopped = {_end(each): ages.since_end(each, now) or _NO_TIME for each in containers if each.state in _STOPPED}
        idle.meet(SubjectKind.CONTAINER, stopped)
        touched = {(event.type, event.id) for event in sight.events}
        projects = {each.compose_project for each in containers} - {""}
        if isinstance(stock.sources.get(SourceName.NETWORKS), Known):
            used = {name for each in containers for name in (*each.networks, each.network_mode)}
            nobodys = (each for each in stock.networks if each.labels.get(COMPOSE_PROJECT) not in projects)
            unused = (each.id for each in nobodys if not {each.id, each.name} & used)
            idle.meet(SubjectKind.NETWORK, {id_: _NO_TIME for id_ in unused if ("network", id_) not in touched})
        if isinstance(stock.sources.get(SourceName.VOLUMES), Known):
            used = {name for each in containers for name in each.volumes}
            left = (each for each in stock.volumes if each.labels.get(COMPOSE_PROJECT) not in projects)
            free = (each for each in left if each.dangling and each.name not in used)
            idle.meet(SubjectKind.VOLUME, {each.key: _NO_TIME for each in free if ("volume", each.name) not in touched})

    def _facts(self, book: Rulebook, containers: tuple[Container, ...], gpus: GpuLook, stock: Stock) -> Facts:
        now = self._clock.now()
        self._eyes.clock_steps.look()  # after that: a step is in both, or in neither
        deaths, kills = self._eyes.recent.shown(now)
        filesystems_source, filesystems = self._filesystems(now)
        return Facts(
            now=now,
            sources={
                SourceName.DOCKER: self._eyes.lookout.docker,
                SourceName.IMAGES: self._eyes.lookout.images,
                SourceName.FILESYSTEMS: filesystems_source,
                SourceName.GPU: gpus.source,
                **stock.sources,
            },
            engine=self._eyes.engine.engine,
            containers=containers,
            images=tuple(self._eyes.lookout.listed_images.values()),
            filesystems=filesystems,
            build_records=stock.build_records,
            networks=self._networks(stock.networks),
            volumes=self._volumes(stock.volumes),
            logs=stock.logs,
            watched=self._eyes.sightings.watched,
            clock_set_ago=self._eyes.clock_steps.set_ago,
            deaths=deaths,
            oom_kills=kills,
            gpus=gpus.gpus,
            protection=book.protection,
            own_container_id=self._eyes.own_container_id,
            ignore=book.ignore,
            owner_label=book.owner_label,
            reliefs=self._eyes.reliefs(),
            engine_stuck=self._eyes.engine_stuck(),
            state_fault=self._eyes.state_fault() or "",
            growth={each.mountpoint: rate for each in filesystems if (rate := self._eyes.growth(each)) is not None},
            disk_uses=self._uses,
            memory=self._memory_uses,
            host_memory=self._sample.host_memory if self._sample else None,
            host_ooms=self._eyes.host_ooms.shown,
            health_turns=self._health.counts(),
            unhealthy_for=self._health.unhealthy_for(),
            health_watched=self._health.settled,
            all_filesystems=self._all_filesystems(filesystems),
            ended_by=self._ended_by,
            own=self._eyes.own(self._eyes.lookout.no_events_for),
        )

    def _containers(self, book: Rulebook) -> tuple[Container, ...]:
        """
        Give the containers by name, as policies may see them.

        One that stays the same stays the same object: a scrape renders its labels only once.
        """
        manner = _Manner(book.log_lines > 0, book.redact, self._eyes.engine.engine.default_runtime)
        sizes, before = self._eyes.sizes(), self._shown if manner == self._manner else {}
        self._shown, self._manner = {}, manner
        for id_, source in self._eyes.inventory.containers.items():
            known, stopped_for = before.get(id_), self._stopped_for(source)
            if (
                known is None
                or known[0] is not source
                or known[1].size_bytes != sizes.get(id_)
                or known[1].stopped_for != stopped_for
            ):
                seen = replace(source, size_bytes=sizes.get(id_), stopped_for=stopped_for)
                known = source, _as_shown(seen, manner)
            self._shown[id_] = known
        return tuple(sorted((shown for _, shown in self._shown.values()), key=lambda container: container.name))

    def _note_uses(self, sight: Sight, facts: Facts) -> None:
        """Take note of which images are used; of every other the time goes on since its use ended."""
        uses = self._eyes.last_use.meet(facts, listed=sight.images_read)
        unused = {image.id for image in facts.images} - uses.held
        if uses.touched:
            self._eyes.sightings.meet(unused - uses.touched)
        self._eyes.sightings.meet(unused)

    def _stopped_for(self, container: Container) -> timedelta | None:
        if container.state not in _STOPPED:
            return None
        return self._eyes.idle.idle_for(SubjectKind.CONTAINER, _end(container))

    def _networks(self, networks: tuple[Network, ...]) -> tuple[Network, ...]:
        idle = self._eyes.idle
        return tuple(replace(each, watched_for=idle.idle_for(SubjectKind.NETWORK, each.id)) for each in networks)

    def _volumes(self, volumes: tuple[Volume, ...]) -> tuple[Volume, ...]:
        idle = self._eyes.idle
        return tuple(replace(each, watched_for=idle.idle_for(SubjectKind.VOLUME, each.key)) for each in volumes)

    def _images(self, images: Sequence[Image]) -> tuple[Image, ...]:
        """Give the images with what is known of them beside what Docker lists."""
        sightings, uses, unique = self._eyes.sightings, self._eyes.last_use.dates(), self._eyes.unique_bytes()
        return tuple(
            replace(
                image,
                last_used_at=uses[image.id][0] if image.id in uses else None,
                pull_seen=image.id in uses and uses[image.id][1],
                watched_for=sightings.watched_for(image.id),
                unique_bytes=unique.get(image.id),
            )
            for image in images
        )

    def _all_filesystems(self, filesystems: Iterable[Filesystem]) -> bool:
        """Tell whether the sample knew of the engine's places, and each of them answered."""
        sample = self._eyes.sampler.latest
        told = any("data-root" in each.roles for each in filesystems)
        return told and sample is not None and not sample.errors

    def _filesystems(self, now: datetime) -> tuple[Source, tuple[Filesystem, ...]]:
        sample = self._eyes.sampler.latest
        if sample is None:
            return Unknown("there is no reading, or the last one is too old", now), ()
        return Known(sample.at), sample.filesystems


@dataclass(frozen=True, slots=True)
class _Manner:
    """How policies may see containers: whether with what a probe printed, and without which secrets."""

    quotes: bool
    redact: Redactor
    default_runtime: str


def _as_shown(container: Container, manner: _Manner) -> Container:
    requests = effective(container.gpu_requests, container.runtime, manner.default_runtime)
    if requests != container.gpu_requests:
        container = replace(container, gpu_requests=requests)
    # Before anybody cuts it: half of a secret is not recognised any more.
    if container.error and (error := manner.redact.text(container.error)) != container.error:
        container = replace(container, error=error)
    health = container.health
    if health is not None and health.last_output:
        output = manner.redact.text(health.last_output) if manner.quotes else ""
        container = replace(container, health=replace(health, last_output=output))
    return container


def _end(container: Container) -> str:
    """Give the identity of a container's end: one that ran again meanwhile has another."""
    return f"{container.id}@{container.finished_at.isoformat() if container.finished_at else ''}"


def _account(death: Death) -> str:
    """Say one end in a line of the journal."""
    lived = f" after {words.duration(death.uptime)}" if death.uptime is not None else ""
    killed = ", killed for memory" if death.oom else ""
    missed = ", found later" if death.inferred else ""
    held = f", held {gpu_words.held(death.gpus)}" if death.gpus else ""
    return f"{words.exit_code(death.exit_code)}{lived}{killed}{held} · {INTENTS[death.intent]}{missed}"
