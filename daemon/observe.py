"""Refreshes the facts: what changed at the engine since the last look, with the samples of the slower lanes."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from collectors.engine_errors import EngineError, EngineUnavailable
from collectors.facts import (
    Container,
    Death,
    Engine,
    EngineState,
    Facts,
    Filesystem,
    Image,
    Intent,
    Known,
    OomKill,
    Protection,
    Source,
    SourceName,
    Unknown,
)
from daemon.ledger import Look
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from collectors.engine_api import EngineApi, Event
    from collectors.inventory import Inventory
    from daemon.clock import Clock
    from daemon.events import EventReader
    from daemon.ledger import Baseline, Ledger
    from daemon.redact import Redactor
    from daemon.sampler import Sampler
    from daemon.sightings import Sightings

log = logging.getLogger(__name__)

INTENTS = {
    Intent.NONE: "nobody asked for it",
    Intent.API: "somebody asked Docker for it",
    Intent.ENGINE: "the engine took it along",
}

RECONCILE_EVERY = timedelta(minutes=5)
DEATHS_SHOWN = timedelta(hours=1)
LOG_TAIL_BYTES = 8192
MOST_KEPT_EVENTS = 10_000
"""While Docker does not answer, this many events wait; beyond, the next complete look finds what they told."""
MOST_SHOWN_DEATHS = 2000
"""Policies look at the newest ones only; the ledger in the store has them all."""


class EngineView(Protocol):
    """What the observer asks of the engine watch."""

    @property
    def engine(self) -> Engine:
        """The engine as last judged."""
        ...

    @property
    def outages(self) -> int:
        """How often the engine was seen gone since we started."""
        ...

    def report_lost(self) -> None:
        """Hear that a call failed, and look again at once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The owner's settings that shape the facts."""

    protection: Protection
    ignore: tuple[str, ...]
    """Globs of container names that no alert may speak of."""
    log_lines: int
    """How many log lines a death record keeps; 0 keeps none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One refresh: the facts, and what in them is news that the store must keep."""

    facts: Facts
    deaths: tuple[Death, ...]
    kills: tuple[OomKill, ...]
    baseline: Baseline | None
    """What the ledger must remember, if it changed."""
    unsettled: bool
    """True if something will explain itself within a second: look again then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eyes:
    """Everything that the observer looks with."""

    connect: Callable[[], EngineApi]
    engine: EngineView
    reader: EventReader
    inventory: Inventory
    sampler: Sampler
    ledger: Ledger
    sightings: Sightings
    oom_count: Callable[[Container], int | None]
    """Reads the cgroup `oom_kill` counter of one container now."""
    sizes: Callable[[], Mapping[str, int]]
    """Writable layer sizes measured so far, by container id."""
    redact: Redactor


class Observer:
    """Used from the watch thread only. No call to Docker that it makes takes longer than its client's 2 s."""

    def __init__(
        self, eyes: Eyes, clock: Clock, rules: Rules, deaths: Sequence[Death], kills: Sequence[OomKill]
    ) -> None:
        self._eyes = eyes
        self._clock = clock
        self._rules = rules
        self._deaths = list(deaths)
        self._kills = list(kills)
        self._api: EngineApi | None = None
        self._events: list[Event] = []
        self._resync = True
        self._reconciled: float | None = None
        self._outages = 0
        self._stored: Baseline | None = None
        self._docker: Source = Unknown("not read yet", clock.now())

    @property
    def ready(self) -> bool:
        """True once every container has been seen at least once."""
        return self._reconciled is not None

    def close(self) -> None:
        """Let go of the connection to the engine."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def observe(self) -> Observation:
        """Look at what changed; a source that cannot be read is `Unknown` in the facts, never an error."""
        self._take_events()
        before = dict(self._eyes.inventory.containers)
        complete = self._refresh()
        deaths: tuple[Death, ...] = ()
        kills: tuple[OomKill, ...] = ()
        if complete is not None:
            deaths, kills = self._record(before, complete=complete)
        baseline = self._eyes.ledger.baseline
        changed = complete is not None and baseline != self._stored
        if changed:
            self._stored = baseline
        return Observation(
            facts=self._facts(),
            deaths=deaths,
            kills=kills,
            baseline=baseline if changed else None,
            unsettled=self._eyes.ledger.unsettled or bool(self._eyes.inventory.unsettled(self._clock.now())),
        )

    def _take_events(self) -> None:
        batch = self._eyes.reader.drain()
        self._resync = self._resync or batch.resync
        self._events += batch.events
        if len(self._events) > MOST_KEPT_EVENTS:
            del self._events[:-MOST_KEPT_EVENTS]
            self._resync = True

    def _refresh(self) -> bool | None:
        """Bring the inventory up to date; true after a complete look, `None` if Docker could not be read."""
        engine = self._eyes.engine.engine
        if engine.state is not EngineState.UP:
            self._lose(engine.why or f"the engine is {engine.state.value}")
            return None
        due = (
            self._resync
            or self._reconciled is None
            or self._clock.monotonic() - self._reconciled >= RECONCILE_EVERY.total_seconds()
        )
        try:
            if self._api is None:
                self._api = self._eyes.connect()
            self._look(self._api, due=due)
        except EngineUnavailable as error:
            self._lose(error.why)
            self._eyes.engine.report_lost()
            return None
        except EngineError as error:
            self._lose(str(error))
            return None
        self._docker = Known(self._clock.now())
        if due:
            self._resync = False
            self._reconciled = self._clock.monotonic()
        return due

    def _look(self, api: EngineApi, *, due: bool) -> None:
        inventory = self._eyes.inventory
        now = self._clock.now()
        images_changed = any(event.type == "image" for event in self._events)
        if due or images_changed:
            inventory.reconcile(api, now)
            self._eyes.sightings.meet(inventory.images)
        touched = {event.container_id for event in self._events if event.container_id}
        wanted = touched | inventory.unsettled(now)
        if wanted:
            inventory.look(api, wanted)

    def _lose(self, why: str) -> None:
        if isinstance(self._docker, Known):
            self._docker = Unknown(why, self._clock.now())
            log.warning("docker cannot be read: %s", why)
        if self._api is not None:
            self._api.close()
            self._api = None
        self._resync = True

    def _record(
        self, before: Mapping[str, Container], *, complete: bool
    ) -> tuple[tuple[Death, ...], tuple[OomKill, ...]]:
        eyes = self._eyes
        events, self._events = self._events, []
        engine = eyes.engine.engine
        restarted = eyes.engine.outages != self._outages and not engine.live_restore
        deaths, kills = eyes.ledger.record(
            Look(
                now=self._clock.now(),
                events=events,
                before=before,
                after=eyes.inventory.containers,
                complete=complete,
                engine_restarted=restarted,
                oom_counts=self._oom_counts(events),
            )
        )
        if complete:
            self._outages = eyes.engine.outages
        deaths = self._with_logs(deaths)
        for death in deaths:
            log.info("container %s %s", words.plain(death.name), _account(death))
        self._deaths = sorted([*self._deaths, *deaths], key=lambda death: death.finished_at)[-MOST_SHOWN_DEATHS:]
        self._kills = [*self._kills, *kills][-MOST_SHOWN_DEATHS:]
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

    def _with_logs(self, deaths: Sequence[Death]) -> tuple[Death, ...]:
        """Add the last log lines of each bad end, redacted; a log that cannot be read is no reason to stay silent."""
        api, most = self._api, self._rules.log_lines
        told = []
        for death in deaths:
            lines: tuple[str, ...] = ()
            if api is not None and most and death.bad:
                try:
                    lines = api.log_tail(death.container_id, most, LOG_TAIL_BYTES, since=None)
                except EngineUnavailable as error:
                    log.warning("no log lines of what ended just now: %s", error.why)
                    api = None  # of a hundred deaths each would wait for it anew
                except EngineError as error:
                    log.debug("no log lines of %s: %s", words.plain(death.name), error)
            told.append(replace(death, log_tail=self._eyes.redact.lines(lines)) if lines else death)
        return tuple(told)

    def _facts(self) -> Facts:
        now = self._clock.now()
        horizon = now - DEATHS_SHOWN
        self._deaths = [death for death in self._deaths if death.finished_at > horizon]
        self._kills = [kill for kill in self._kills if kill.at > horizon]
        filesystems_source, filesystems = self._filesystems(now)
        return Facts(
            now=now,
            sources={SourceName.DOCKER: self._docker, SourceName.FILESYSTEMS: filesystems_source},
            engine=self._eyes.engine.engine,
            containers=self._containers(),
            images=self._images(),
            filesystems=filesystems,
            deaths=tuple(self._deaths),
            oom_kills=tuple(self._kills),
            protection=self._rules.protection,
            ignore=self._rules.ignore,
        )

    def _containers(self) -> tuple[Container, ...]:
        sizes = self._eyes.sizes()
        containers = sorted(self._eyes.inventory.containers.values(), key=lambda container: container.name)
        if not sizes:
            return tuple(containers)
        return tuple(replace(c, size_bytes=sizes[c.id]) if c.id in sizes else c for c in containers)

    def _images(self) -> tuple[Image, ...]:
        sightings = self._eyes.sightings
        return tuple(
            replace(image, watched_for=sightings.watched_for(image.id)) if image.dangling else image
            for image in self._eyes.inventory.images.values()
        )

    def _filesystems(self, now: datetime) -> tuple[Source, tuple[Filesystem, ...]]:
        sample = self._eyes.sampler.latest
        if sample is None:
            return Unknown("there is no reading, or the last one is too old", now), ()
        return Known(sample.at), sample.filesystems


def _account(death: Death) -> str:
    """Say one end in a line of the journal."""
    lived = f" after {words.duration(death.uptime)}" if death.uptime is not None else ""
    killed = ", killed for memory" if death.oom else ""
    missed = ", found later" if death.inferred else ""
    return f"{words.exit_code(death.exit_code)}{lived}{killed} · {INTENTS[death.intent]}{missed}"
