"""A whole watch at a scripted engine: real inventory, ledger, policies and store, with a clock that a test moves."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from collectors.cgroup import CgroupReader
from collectors.disk import Filesystems
from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.facts import Protection
from collectors.inventory import Inventory
from collectors.own_facts import OwnWork
from collectors.process_owner import ProcessOwners
from collectors.reading import MemoryMarks
from daemon import absence, history, steady
from daemon.alerts.acks import Acks
from daemon.alerts.silences import Silences
from daemon.clock_steps import ClockSteps
from daemon.counters import Counters
from daemon.gpu_account import GpuAccount
from daemon.gpu_seen import SeenGpus
from daemon.host_ooms import HostOoms
from daemon.idle import IdleTimes
from daemon.last_use import LastUse
from daemon.ledger import Ledger
from daemon.lookout import Lookout
from daemon.observe import Eyes, Observer
from daemon.recent import SHOWN_FOR, Recent
from daemon.redact import Redactor
from daemon.rulebook import Rulebook
from daemon.sampler import Sample, Sampler, Sources
from daemon.sightings import Sightings
from daemon.stock import Stock
from daemon.store import Store
from daemon.turns import Turns
from daemon.watch import Watch
from policies.catalogue import BY_NAME
from policies.containers import ExitedContainers
from policies.deaths import Crashes
from policies.disk_pressure import DiskPressure
from policies.engine import EngineDown
from policies.health import ContainerHealth
from policies.images import DanglingImages
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.fakes.engine_view import FakeEngineView
from tests.fakes.events import FakeEvents
from tests.fakes.gpus import FakeGpuEyes
from tests.fakes.images import PromptImages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from collectors.facts import Container, Death, DiskUse, Filesystem
    from collectors.kernel_ooms import LoggedOom
    from collectors.own_facts import HostMemory
    from collectors.storage_facts import Relieved
    from daemon.alerts.state import AlertState, Phase
    from daemon.lookout import ImageSource
    from daemon.observe import Observation
    from policies.catalogue import AlertRule
    from policies.policy import Policy, Removal
    from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
POLICIES: Mapping[str, Policy] = {
    "containers": ExitedContainers(),
    "images_dangling": DanglingImages(),
    "disk_pressure": DiskPressure(),
    "deaths": Crashes(),
    "health": ContainerHealth(),
    "engine": EngineDown(),
}


class FixedDisks(Sources):
    """Filesystems as a test wants them, and no cgroups."""

    def __init__(self) -> None:
        super().__init__(Filesystems(list), CgroupReader(), list, lambda _: {})
        self.filesystems: tuple[Filesystem, ...] = ()
        self.oom_kills: dict[str, int] = {}
        self.memory: dict[str, int] = {}
        self.host_memory: HostMemory | None = None
        self.host_ooms: tuple[LoggedOom, ...] | None = None

    def sample(self, at: datetime) -> Sample:
        """Give them."""
        return Sample(
            at=at,
            filesystems=self.filesystems,
            errors={},
            marks={key: MemoryMarks(oom_kills=count) for key, count in self.oom_kills.items()},
            memory=dict(self.memory),
            host_memory=self.host_memory,
            host_ooms=self.host_ooms,
        )


@dataclass
class Options:
    """How a watch post is built; whatever a test does not name is as in the daemon."""

    log_lines: int = 20
    patience: timedelta = SECOND / 2
    queue: int = 10_000
    policies: Mapping[str, Policy] = field(default_factory=lambda: POLICIES)
    rules: Mapping[str, AlertRule] = field(default_factory=lambda: BY_NAME)
    images: ImageSource | None = None

    def book(self) -> Rulebook:
        """Give what the watch judges by."""
        return Rulebook(
            mode="observe",
            grace=15 * MINUTE,
            host="gpu-host-2",
            policies=self.policies,
            rules=self.rules,
            protection=Protection(),
            ignore=(),
            owner_label="shipkeeper.owner",
            gpu_idle_below=0.01,
            log_lines=self.log_lines,
            redact=Redactor(),
            group_wait=timedelta(0),
        )


class WatchPost:
    """Looks (`look`: the observer alone) or does whole rounds (`cycle`) so much later than the last time."""

    def __init__(
        self, engine: ScriptedEngine, folder: Path, options: Options | None = None, clock: FakeClock | None = None
    ) -> None:
        self.engine = engine
        self.folder = folder
        self.options = options or Options()
        self.clock = clock or FakeClock()
        self.view = FakeEngineView()
        self.events = FakeEvents(self.options.queue)
        self.disks = FixedDisks()
        self.sampler = Sampler(self.disks, self.clock, lambda: None, a_crew(self.clock))
        self.store = Store.open(folder / "state", self.clock)
        self.inventory = Inventory()
        self.sizes: dict[str, int] = {}
        self.sightings = Sightings(self.store, self.clock)
        self.idle = IdleTimes(self.store, self.clock, lambda: self.sightings.watched)
        self.clock_steps = ClockSteps(self.store, self.clock, lambda: self.sightings.watched)
        self.stock = Stock()
        self.gpus = FakeGpuEyes(self.clock)
        self.owners = ProcessOwners(folder / "proc")
        self.away = absence.load(self.store, self.clock)
        self.steady = steady.load(self.store, self.clock)
        self.silences, self.acks = Silences(self.store, self.steady), Acks(self.store, self.steady)
        self.last_use = LastUse(self.store, self.steady)
        self.unique_bytes: dict[str, int] = {}
        self.reliefs: Callable[[], tuple[Relieved, ...]] = tuple
        self.disk_uses: tuple[DiskUse, ...] = ()
        self.engine_stuck = ""
        self.growth: dict[str, float] = {}
        self.own = OwnWork()
        self.observer = self._observer()
        self.notified = 0
        self.handed_over: list[tuple[Removal, ...]] = []
        self.watch = self._watch(self._notify)

    def connect(self) -> EngineApi:
        """Make a client that does not wait for long."""
        return EngineApi.connect(Endpoint(host=self.engine.host), self.options.patience)

    def look(self, after: timedelta = SECOND) -> Observation:
        """Let time pass, and see what the engine shows by then."""
        self._advance(after)
        return self.observer.observe(self.watch.book)

    def cycle(self, after: timedelta = SECOND) -> timedelta:
        """Let time pass, do a round, and give how long it would rest."""
        self._advance(after)
        return self.watch.cycle()

    def glance(self, after: timedelta = SECOND) -> timedelta:
        """Let time pass, do a round as events alone make it, and give how long it would rest."""
        self._advance(after)
        return self.watch.cycle(glance=True)

    def cycles(self, count: int, after: timedelta = SECOND) -> None:
        """Do so many rounds."""
        for _ in range(count):
            self.cycle(after)

    def emit(self, action: str, container: ScriptedContainer, **attributes: str) -> None:
        """Let the engine send an event of a container, which arrives; its labels are laid over it, as Docker does."""
        named = {"name": container.name, "image": "bb:latest"} | attributes | container.labels
        self.events.put(self.engine.emit(action, container.id, **named))

    def die(self, container: ScriptedContainer, code: int, *, told: bool = True, **changes: Any) -> None:
        """Let a container end now; untold, its event is lost."""
        container.state, container.exit_code, container.finished_at = "exited", code, self.engine.now
        for name, value in changes.items():
            setattr(container, name, value)
        if told:
            self.emit("die", container, exitCode=str(code))

    def stop(self, container: ScriptedContainer) -> None:
        """Let somebody stop a container with `docker stop`."""
        self.emit("kill", container, signal="15")
        self.die(container, 143)

    def remove(self, container: ScriptedContainer) -> None:
        """Let somebody remove a container."""
        del self.engine.containers[container.id]
        self.emit("destroy", container)

    def restarted(self, after: timedelta = SECOND) -> WatchPost:
        """Give the watch post after a restart of the daemon that took so long."""
        self.close()
        self._advance(after)
        return WatchPost(self.engine, self.folder, self.options, self.clock)

    @property
    def alerts(self) -> dict[tuple[str, str], AlertState]:
        """The alerts that are on, by alert and the subject's name."""
        assert self.watch.snapshot is not None
        states = self.watch.snapshot.alerts.values()
        return {(state.alert, state.subject.name): state for state in states if state.phase.active}

    def phase(self, alert: str, subject: str) -> Phase | None:
        """Give where an alert stands, or `None` if it is not on."""
        state = self.alerts.get((alert, subject))
        return state.phase if state else None

    def told(self) -> list[tuple[str, str]]:
        """Give what people are told, oldest first: alert and kind of news."""
        rows = self.store.read(
            "SELECT json_extract(record, '$.alert') AS alert, kind FROM outbox WHERE sink = 'console' ORDER BY id"
        )
        return [(row["alert"], row["kind"]) for row in rows]

    def stored_deaths(self) -> tuple[Death, ...]:
        """Give all deaths in the store."""
        return history.deaths_since(self.store, self.steady.now() - 1000 * HOUR, self.steady)

    def close(self) -> None:
        """Let go of the engine and the store."""
        self.watch.close()
        self.store.close()

    def _advance(self, after: timedelta) -> None:
        self.clock.advance(after)
        self.engine.now = max(self.engine.now, self.clock.now())
        self.sampler.sample_now()

    def _came_to(self) -> tuple[Relieved, ...]:
        return self.reliefs()

    def _notify(self) -> None:
        self.notified += 1

    def _observer(self) -> Observer:
        deaths = history.deaths_since(self.store, self.steady.now() - SHOWN_FOR, self.steady)
        kills = history.kills_since(self.store, self.steady.now() - SHOWN_FOR)
        return Observer(
            Eyes(
                lookout=Lookout(
                    self.connect,
                    self.view,
                    self.events,
                    self.inventory,
                    self.options.images or PromptImages(self.connect),
                    self.clock,
                ),
                engine=self.view,
                inventory=self.inventory,
                sampler=self.sampler,
                ledger=Ledger(history.load_baseline(self.store), self.clock.now(), deaths),
                recent=Recent(deaths, kills, self.clock),
                sightings=self.sightings,
                last_use=self.last_use,
                idle=self.idle,
                clock_steps=self.clock_steps,
                stock=lambda: self.stock,
                gpus=GpuAccount(self.gpus, self.owners, SeenGpus(self.store, self.clock), self.clock),
                host_ooms=HostOoms(self.store, self.clock),
                oom_count=_no_count,
                sizes=lambda: self.sizes,
                unique_bytes=lambda: self.unique_bytes,
                reliefs=self._came_to,
                uses=lambda: self.disk_uses,
                engine_stuck=lambda: self.engine_stuck,
                state_fault=lambda: self.store.degraded,
                growth=lambda filesystem: self.growth.get(filesystem.mountpoint),
                own=lambda no_events: replace(self.own, no_events_for=no_events),
                ended_by=history.last_intents(self.store),
            ),
            self.clock,
            rebooted=self.away.rebooted,
        )

    def _watch(self, notify: Callable[[], None]) -> Watch:
        return Watch(
            observer=self.observer,
            book=self.options.book(),
            store=self.store,
            counters=Counters.load(self.store),
            turns=Turns(self.store),
            sightings=self.sightings,
            last_use=self.last_use,
            idle=self.idle,
            clock_steps=self.clock_steps,
            silences=self.silences,
            acks=self.acks,
            sinks=lambda: ["console"],
            clock=self.clock,
            steady=self.steady,
            away=self.away.lasted,
            notify=notify,
            hand_over=lambda removals: self.handed_over.append(tuple(removals)),
            crew=a_crew(self.clock),
        )


def framed(text: str) -> bytes:
    """Give a log as Docker sends it: in one frame of its standard output."""
    data = text.encode()
    return struct.pack(">BxxxL", 1, len(data)) + data


def _no_count(container: Container) -> int | None:
    del container
    return None
