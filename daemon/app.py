"""The composition root: builds every part from the settings, starts them in order, closes them in reverse."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Next to nothing of what is loaded and built is garbage: looking for it takes a seventh of a start.
    gc.disable()

import argparse
import json
import logging
import os
import platform
import sys
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from signal import SIGHUP, Signals
from typing import TYPE_CHECKING, Protocol

from collectors.cgroup import CgroupReader
from collectors.disk import Filesystems
from collectors.disk_places import DiskPlaces
from collectors.engine_api import EngineApi
from collectors.engine_calls import EngineCalls
from collectors.facts import SYSTEM_SOCKETS
from collectors.host import Host
from collectors.inventory import Inventory
from collectors.kernel_log import logged_xids
from collectors.kernel_ooms import OomLog
from collectors.own_container import own_container_id
from collectors.process_owner import ProcessOwners
from daemon import absence, banner, examination, garbage, history, runs, steady
from daemon.acting import ActingLock
from daemon.alert_answers import AlertAnswers
from daemon.alerts import chronicle, outbox, posts
from daemon.alerts.acks import Acks
from daemon.alerts.pusher import Pusher
from daemon.alerts.sender import Sender
from daemon.alerts.silences import Silences
from daemon.answers import Answers, Self
from daemon.autopsy import Autopsy
from daemon.clock import SystemClock
from daemon.clock_steps import ClockSteps
from daemon.control import ControlServer
from daemon.counters import Counters
from daemon.crew import Crew, name_this_thread
from daemon.dead_mans_switch import DeadMansSwitch
from daemon.destinations import alertmanagers, monitor, routes
from daemon.digest import Digests
from daemon.disk_usage import UsageLane
from daemon.disks import Disks
from daemon.distant import DistantReadings
from daemon.docker_writer import DockerWriter
from daemon.engine_watch import EngineWatch
from daemon.errands import Errand
from daemon.errors import ShipkeeperError
from daemon.events import EventReader
from daemon.evidence import Evidence
from daemon.evidence_files import EvidenceFiles
from daemon.examination import Examiner
from daemon.executor import Executor
from daemon.exports import Exports
from daemon.fingerprint import fingerprint
from daemon.free_space import FreeSpace
from daemon.gpu_account import GpuAccount
from daemon.gpu_child import NvmlChild
from daemon.gpu_seen import SeenGpus
from daemon.gpu_watch import GpuWatch
from daemon.grace import Grace
from daemon.heap import share_one_heap
from daemon.heartbeats import Heartbeats
from daemon.host_ooms import HostOoms
from daemon.idle import IdleTimes
from daemon.image_lane import ImageLane
from daemon.jobs import Job, Jobs
from daemon.last_use import LastUse
from daemon.layers import LayerSizes
from daemon.ledger import Ledger
from daemon.lifecycle import await_signal, block_signals, end_within
from daemon.loading import config_file, load, load_for_judging
from daemon.log_sizes import EVERY as LOGS_EVERY
from daemon.log_sizes import LogLane
from daemon.logs import set_up_logging
from daemon.lookout import Lookout
from daemon.observe import Eyes, Observer
from daemon.outlet import outlet
from daemon.own_work import OwnWorkView
from daemon.plans import to_json
from daemon.recent import SHOWN_FOR, Recent
from daemon.recheck import Recheck
from daemon.reload import Configuration, Reloads
from daemon.rulebook import Rulebook
from daemon.sampler import Sampler, Sources
from daemon.sightings import Sightings
from daemon.stock import Stock, take_stock
from daemon.storage import EVERY as STORAGE_EVERY
from daemon.storage import StorageLane
from daemon.store import Store
from daemon.systemd import Notifier, Watchdog, watchdog_interval
from daemon.trends import Trends
from daemon.turns import Turns
from daemon.unit_state import UnitState
from daemon.urgency import critical
from daemon.verbs import verb_table
from daemon.vitals import Vitals
from daemon.watch import Watch
from daemon.web.access import Access
from daemon.web.exposition import Exposition, process_registry
from daemon.web.pages import LandingPage, MetricsPage, ReadyPage, healthy_page
from daemon.web.server import WebServer
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.facts import Container
    from collectors.reading import MemoryMarks
    from daemon.clock import Clock
    from daemon.snapshot import Snapshot
    from daemon.web.exchange import Request

log = logging.getLogger("daemon.app")  # `python -m` calls this module __main__

WATCH_PATIENCE = timedelta(seconds=2)
PING_PATIENCE = timedelta(seconds=5)
SLOW_PATIENCE = timedelta(seconds=30)
DEADLINES: Mapping[str, timedelta] = {
    "main": timedelta(seconds=60),
    "engine": timedelta(seconds=60),
    "reader": timedelta(seconds=90),
    "sampler": timedelta(seconds=60),
    "gpu": timedelta(seconds=60),
    "images": timedelta(seconds=120),
    "watch": timedelta(seconds=120),
    "sender": timedelta(seconds=120),
    "alertmanager": timedelta(seconds=120),
    "heartbeat": timedelta(seconds=60),
    "executor": timedelta(seconds=60),
    "scheduler": timedelta(seconds=60),
    "lane": timedelta(seconds=120),
    "web": timedelta(seconds=60),
    "control": timedelta(seconds=60),
    "watchdog": timedelta(seconds=60),
}
"""How old the last heartbeat of a thread may be; the table in docs/architecture.md."""
MAIN_BEATS = timedelta(seconds=5)
CLOSING = timedelta(seconds=12)
"""For all threads together to end, and then for the process: with what is between, within 20 s of the signal."""
CUT_OFF = timedelta(seconds=16)
RELOAD_ENDS = timedelta(seconds=2)
"""A reading of the configuration that is going on at the end is waited for so long."""


class Part(Protocol):
    """A long-lived part of the daemon."""

    def start(self) -> None:
        """Begin to work; ShipkeeperError for what it cannot have."""
        ...

    def stop(self) -> None:
        """Ask it to end; never waits."""
        ...

    def close(self) -> None:
        """Wait for its end, within bounds."""
        ...


class App:
    """All parts of one daemon, built and wired; nothing runs until `start`."""

    def __init__(self, configuration: Configuration, clock: Clock, *, once: bool = False) -> None:
        """Build; with `once` for a single round that tells at once what is wrong now."""
        self.configuration = configuration
        settings = configuration.settings
        book = Rulebook.of(settings)
        self._clock = clock
        self._closing = ExitStack()
        endpoint = settings.docker.endpoint()
        self.beats = Heartbeats(DEADLINES, clock)
        self.crew = crew = Crew(self.beats, clock)
        self._started: list[Part] = []
        self.store = Store.open(settings.state_dir(os.environ, os.geteuid()), clock)
        self._closing.callback(self.store.close)
        self._steady = steady.load(self.store, clock)
        self._silences, self._acks = Silences(self.store, self._steady), Acks(self.store, self._steady)
        calls = EngineCalls()
        self.engine = EngineWatch(
            partial(EngineApi.connect, endpoint, PING_PATIENCE, calls),
            UnitState(concerns_us=endpoint.socket_path in SYSTEM_SOCKETS),
            clock,
            self._engine_changed,
            crew,
        )
        connect, pinging, patiently = (
            self.engine.while_up(partial(EngineApi.connect, endpoint, patience, calls))
            for patience in (WATCH_PATIENCE, PING_PATIENCE, SLOW_PATIENCE)
        )
        self.reader = EventReader(connect, self.engine, clock, self._hear, crew)
        self._inventory = Inventory()
        self.images = ImageLane(patiently, self._wake, crew)
        self._cgroups = CgroupReader()
        places = DiskPlaces(self.store.path.parent, lambda: self.engine.engine if self._is_local() else None)
        self.sampler = Sampler(
            Sources(
                Filesystems(places.places),
                self._cgroups,
                self._containers,
                DistantReadings(pinging, clock).read,
                host_memory=Host().memory,
                host_ooms=OomLog().look,
            ),
            clock,
            self._wake,
            crew,
        )
        self._seen_gpus = SeenGpus(self.store, clock)
        self.gpu = GpuWatch(
            partial(NvmlChild, settings.gpu.interval, os.environ),
            logged_xids,
            clock,
            self._wake,
            crew,
            interval=settings.gpu.interval,
            enabled=settings.gpu.enabled and self._is_local(),
            before=self._seen_gpus.gpus.values(),
            xids_until=self._seen_gpus.xids_until,
        )
        self.sender = Sender(self.store, routes(settings), self._steady, host=book.host, crew=crew)
        self.pusher = Pusher(
            alertmanagers(settings),
            store=self.store,
            clock=clock,
            steady=self._steady,
            host=book.host,
            crew=crew,
        )
        self.switch = DeadMansSwitch(monitor(settings), settings.heartbeat.every, self.beats.stale, clock, crew)
        self._layers = LayerSizes(patiently, lambda: self.watch.snapshot, clock)
        remembered = runs.Runs(self.store, self._steady)
        files = EvidenceFiles(self.store.path.parent / "evidence")
        examiner = Examiner(
            examination.Sources(
                connect=patiently,
                deaths=lambda id_: history.deaths_of(self.store, id_, self._steady),
                marks=self._last_marks,
                redact=lambda: self.watch.book.redact,
            ),
            clock,
        )
        # For the executor's thread alone, as the recheck is.
        measure = FreeSpace().of if self._is_local() else lambda _: None
        self.executor = Executor(
            runs=remembered,
            recheck=Recheck(
                pinging,
                lambda: self.watch.snapshot,
                self._book,
                clock,
                measure,
            ),
            writer=partial(DockerWriter, endpoint, calls, clock),
            acting=ActingLock(endpoint),
            evidence=Evidence(files, examiner, lambda: self.watch.book.evidence_bytes, self._critical),
            measure=measure,
            grace=Grace(clock, self.engine, self._grace),
            engine=self.engine,
            book=self._book,
            clock=clock,
            crew=crew,
        )
        self.disks = Disks(
            engine=lambda: self.engine.engine,
            sampler=self.sampler,
            usage=UsageLane(patiently, lambda: self.engine.engine, clock),
            logs=LogLane(lambda: self.watch.snapshot if self._is_local() else None, clock),
            trends=Trends(lambda: self.sampler.latest, clock),
        )
        self.watch = self._watch(connect, book.for_one_look() if once else book)
        self._storage = StorageLane(patiently, lambda: self.engine.engine, clock)
        errands = {
            Errand("ask-usage", self.disks.usage.measure, clock): timedelta(seconds=30),
            Errand("list-storage", self._storage.read, clock): STORAGE_EVERY,
            Errand("measure-logs", self.disks.logs.measure, clock): LOGS_EVERY,
        }
        self._digests = Digests(self.store, lambda: self.watch.snapshot, self._steady)
        self._jobs = Jobs(
            [
                Job("heal-store", self.store.heal, timedelta(seconds=30), "fast"),
                # Soon after the start too: else one that is restarted every half an hour would never do it.
                Job("prune-store", self._prune, timedelta(hours=1), "fast", first=timedelta(seconds=5)),
                Job("measure-layers", self._measure_layers, timedelta(seconds=30), "docker"),
                *(
                    Job(errand.name, errand.run, every, "docker", first=timedelta(seconds=5), errand=errand)
                    for errand, every in errands.items()
                ),
                Job("digest", self._digest, timedelta(minutes=10), "fast", first=timedelta(minutes=1)),
                Job(
                    "look-for-garbage",
                    garbage.look_through_all,
                    timedelta(minutes=5),
                    "fast",
                    first=timedelta(minutes=1),
                ),
                Job("note-growth", self.disks.trends.note, timedelta(minutes=1), "fast"),
            ],
            clock,
            crew,
        )
        self._version, self._config_hash = _version(), fingerprint(settings)
        self._access = Access(settings.web.config_file, clock)
        exports = Exports(
            clock=clock,
            steady=self._steady,
            cgroups=self._cgroups,
            engine=self.engine,
            reader=self.reader,
            disks=self.disks,
            watch=self.watch,
            sender=self.sender,
            pusher=self.pusher,
            switch=self.switch,
            executor=self.executor,
            calls=calls,
            vitals=self._vitals,
            crew=crew,
            configuration=configuration,
            silences=self._silences,
            local=self._is_local(),
        )
        alerts = AlertAnswers(self.store, self._silences, self._acks, self._steady, self._wake)
        self.answers = Answers(
            Self(version=self._version, started_at=clock.monotonic()),
            clock=clock,
            watch=self.watch,
            engine=self.engine,
            disks=self.disks,
            sender=self.sender,
            pusher=self.pusher,
            switch=self.switch,
            store=self.store,
            runs=remembered,
            executor=self.executor,
            autopsy=Autopsy(examiner, files),
            digests=self._digests,
            silences=alerts.silences,
            configuration=configuration,
        )
        self.exposition = Exposition(exports.collectors(), process_registry(), clock)
        self.web = WebServer(
            settings.web.listen,
            {
                "/": LandingPage(self.answers.overview),
                "/metrics": MetricsPage(self.exposition),
                "/-/healthy": healthy_page,
                "/-/ready": ReadyPage(self.answers.not_ready),
            },
            self._access,
            crew,
        )
        self._control = ControlServer(
            settings.control_socket(os.environ, os.geteuid()),
            verb_table(
                status=lambda _: self.answers.status(),
                plan=lambda _: self.answers.plan(),
                apply=lambda request: self.answers.apply(request.query.get("plan", ""), _who(request)),
                run=lambda request: self.answers.run(request.query),
                audit=lambda request: self.answers.audit(request.query),
                autopsy=lambda request: self.answers.autopsy(request.query),
                alerts=lambda _: self.answers.alerts(),
                alerts_test=lambda _: self.answers.test_sinks(),
                alerts_show=lambda request: alerts.show(request.query),
                alerts_history=lambda request: alerts.history(request.query),
                alerts_ack=lambda request: alerts.ack(request.query, _who(request)),
                silences=lambda _: alerts.silences(),
                silence=lambda request: alerts.silence(request.query, _who(request)),
                unsilence=lambda request: alerts.unsilence(request.query, _who(request)),
            ),
            crew,
        )

    def start(self) -> None:
        """Start every part; ShipkeeperError names an address or a socket that cannot be had."""
        for part in (
            self._control,
            self.web,
            self.sender,
            self.pusher,
            self.images,
            self.watch,
            self.sampler,
            self.gpu,
            self.engine,
            self.reader,
            self._jobs,
            self.executor,
            self.switch,
        ):
            part.start()
            self._started.append(part)
            self._closing.callback(part.close)

    def close(self) -> None:
        """
        Close every part that was started, the last one first, all of them within `CLOSING`.

        All are asked to end before any is waited for. Only those who tell are asked when their turn comes: they
        tell what the last cycle of the watch thread has found.
        """
        self.crew.end_within(CLOSING)
        for part in self._started:
            if part not in {self.sender, self.pusher}:
                part.stop()
        self._closing.close()

    def adopt(self) -> None:
        """Take over a configuration that was read again."""
        settings = self.configuration.settings
        self._config_hash = fingerprint(settings)
        book = Rulebook.of(settings)
        self.sender.adopt(routes(settings), book.host)
        self.pusher.adopt(alertmanagers(settings), book.host)
        self.switch.adopt(monitor(settings), settings.heartbeat.every)
        self.web.adopt(settings.web.config_file)
        self.watch.adopt(book)

    def once(self) -> Snapshot:
        """Do one round in this thread, with that of the images; ShipkeeperError if the engine cannot be read."""
        self.engine.look()
        self._closing.callback(self.engine.close)
        self.images.start()
        self._closing.callback(self.images.close)
        self.sampler.sample_now()
        self.gpu.look_once()
        self._closing.callback(self.watch.close)
        self.watch.cycle()
        self._prune()
        snapshot = self.watch.snapshot
        engine = self.engine.engine
        if snapshot is None or not self.watch.ready:
            raise ShipkeeperError(f"{engine.why or 'Docker cannot be read'}\n  cure: {engine.cure}")
        return snapshot

    def banner(self) -> Iterator[str]:
        """Say what is on, what is off, and how to switch it on."""
        settings = self.configuration.settings
        acts = settings.mode == "observe" or self.executor.acts
        only_observes = "" if acts else self.executor.held_up()
        return banner.lines(settings, self.web.url, self.store, self._version, only_observes)

    def _book(self) -> Rulebook:
        return self.watch.book

    def _critical(self) -> bool:
        return critical(self.watch.snapshot, self.watch.book)

    def _grace(self) -> timedelta:
        return self.watch.book.grace_critical if self._critical() else self.watch.book.grace

    def _last_marks(self, container_id: str) -> MemoryMarks | None:
        sample = self.sampler.latest
        return sample.last_marks.get(container_id) if sample else None

    def _vitals(self) -> Vitals:
        return Vitals(
            version=self._version,
            python=platform.python_version(),
            config_hash=self._config_hash,
            beats=self.crew.beats.ages(),
            jobs=self._jobs.stats,
            web=self.web.stats,
        )

    def _wake(self) -> None:
        self.watch.wake()

    def _hear(self) -> None:
        self.watch.hear()

    def _tell(self) -> None:
        self.sender.wake()
        self.pusher.wake()

    def _engine_changed(self) -> None:
        self.sampler.wake()  # its data-root may have come into reach
        self.watch.wake()

    def _containers(self) -> Sequence[Container]:
        return list(self._inventory.containers.values())

    def _stock(self) -> Stock:
        return take_stock(self._storage, self.disks.usage.latest, self.disks.logs.latest, self._clock.now())

    def _is_local(self) -> bool:
        """Tell whether the engine runs on this machine."""
        return self.configuration.settings.docker.host.startswith("unix://")

    def _watch(self, connect: Callable[[], EngineApi], book: Rulebook) -> Watch:
        store, clock = self.store, self._clock
        counters, sightings, last_use = Counters.load(store), Sightings(store, clock), LastUse(store, self._steady)
        idle = IdleTimes(store, clock, lambda: sightings.watched)
        clock_steps = ClockSteps(store, clock, lambda: sightings.watched)
        away = absence.load(store, clock)
        deaths = history.deaths_since(store, self._steady.now() - SHOWN_FOR, self._steady)
        kills = history.kills_since(store, self._steady.now() - SHOWN_FOR)
        eyes = Eyes(
            lookout=Lookout(connect, self.engine, self.reader, self._inventory, self.images, clock),
            engine=self.engine,
            inventory=self._inventory,
            sampler=self.sampler,
            ledger=Ledger(history.load_baseline(store), clock.now(), deaths),
            recent=Recent(deaths, kills, clock),
            sightings=sightings,
            last_use=last_use,
            idle=idle,
            clock_steps=clock_steps,
            stock=self._stock,
            host_ooms=HostOoms(store, clock),
            gpus=GpuAccount(self.gpu, ProcessOwners(), self._seen_gpus, clock),
            oom_count=self._cgroups.oom_kills,
            sizes=self._layers.latest,
            unique_bytes=self.disks.unique_bytes,
            reliefs=lambda: self.executor.reliefs,
            engine_stuck=lambda: self.disks.usage.stuck or self.executor.stuck,
            state_fault=lambda: store.degraded,
            own_container_id=own_container_id() if self._is_local() else "",
            growth=self.disks.trends.rate,
            uses=self.disks.uses,
            own=self._own_work().look,
            ended_by=history.last_intents(store),
        )
        return Watch(
            observer=Observer(eyes, clock, rebooted=away.rebooted and self._is_local()),
            book=book,
            store=store,
            counters=counters,
            turns=Turns(store),
            sightings=sightings,
            last_use=last_use,
            idle=idle,
            clock_steps=clock_steps,
            silences=self._silences,
            acks=self._acks,
            sinks=lambda: self.sender.sinks,
            clock=clock,
            steady=self._steady,
            away=away.lasted,
            notify=self._tell,
            hand_over=self.executor.offer,
            crew=self.crew,
        )

    def _own_work(self) -> OwnWorkView:
        return OwnWorkView(
            sinks=lambda: (*self.sender.stats, *self.pusher.stats),
            overdue=lambda: self._jobs.overdue,
            standing=lambda: self.configuration.standing,
            figures=self.executor.figures,
            answers_within=lambda: self.engine.answers_within,
            last=lambda: (self.watch.snapshot, self.watch.book),
            clock=self._steady,
        )

    def _prune(self) -> None:
        now = self._steady.now()
        self.store.write(lambda connection: history.prune(connection, now))
        self.store.write(lambda connection: outbox.prune(connection, now))
        self.store.write(lambda connection: posts.prune(connection, now))
        self.store.write(lambda connection: runs.prune(connection, now))
        self.store.write(lambda connection: chronicle.prune(connection, now))
        self._acks.prune()

    def _digest(self) -> None:
        self._digests.note()
        if self.watch.book.daily_digest and (digest := self._digests.due()):
            at = self._steady.now()
            self.store.write(lambda connection: outbox.save_digest(connection, digest, self.sender.sinks, at))
            self.sender.wake()

    def _measure_layers(self) -> None:
        if self._layers.measure():
            self.watch.wake()


def _who(request: Request) -> str:
    """Say which user asks, as the kernel names them."""
    return request.peer.words if request.peer else "unknown"


def _version() -> str:
    return installed_version("shipkeeper")


def run(configuration: Configuration) -> int:
    """
    Run the daemon until a signal ends it, and read its configuration again at SIGHUP.

    0 after SIGTERM or SIGINT, 1 when it could not keep a thread alive.
    """
    block_signals()
    share_one_heap()
    name_this_thread("shipkeeper")
    notifier = Notifier(os.environ)
    with ExitStack() as closing:
        app = App(configuration, configuration.clock)
        closing.callback(app.close)
        garbage.keep_what_is_there()
        app.start()
        _greet(app)
        if interval := watchdog_interval(os.environ, os.getpid()):
            watchdog = Watchdog(interval, notifier, app.beats.stale, app.crew)
            watchdog.start()
            closing.callback(watchdog.close)
        notifier.ready(_status(app))
        reloads = Reloads(partial(_reload, app, notifier))
        signal = _attend(app, notifier, reloads)
        exit_code = 0 if signal else 1
        end_within(CUT_OFF, lambda: app.crew.hanging, exit_code)  # first: the log and systemd may be what hangs
        log.info("%s, stopping", f"{signal.name} received" if signal else f"the thread {app.crew.lost} is lost")
        notifier.stopping()
        reloads.close(RELOAD_ENDS)
    return exit_code


def _greet(app: App) -> None:
    """Print the banner: the terminal, or the journal, is where a person looks first."""
    try:
        for line in app.banner():
            print(line)  # noqa: T201
    except OSError as error:
        log.warning("standard output cannot be written (%s): alerts wait until it can be", words.fault(error))


def _attend(app: App, notifier: Notifier, reloads: Reloads) -> Signals | None:
    """Wait for the signal that ends the daemon, and say meanwhile how it is; None when a thread of it is lost."""
    while not app.crew.lost:
        app.beats.beat("main")
        notifier.status(_status(app))
        reloads.tend()
        signal = await_signal(MAIN_BEATS)
        if signal is SIGHUP:
            reloads.ask()
        elif signal:
            return signal
    return None


def _reload(app: App, notifier: Notifier) -> None:
    """Read the configuration again, and take it over if it is good."""
    notifier.reloading(app.configuration.clock.monotonic())
    if app.configuration.read_again():
        _set_up_logging(app.configuration)
        app.adopt()
    notifier.ready(_status(app))


def _status(app: App) -> str:
    rejected = "; the changed configuration is bad and not in force" if app.configuration.standing.problem else ""
    return app.answers.headline() + rejected


def _set_up_logging(configuration: Configuration) -> None:
    set_up_logging(configuration.settings.log, configuration.secrets, configuration.environ, sys.stderr)


def run_once(configuration: Configuration, *, plan_json: bool) -> int:
    """Do one round: tell what is wrong on the console, or print the plan."""
    app = App(configuration, configuration.clock, once=True)
    garbage.keep_what_is_there()
    try:
        snapshot = app.once()
        if plan_json:
            print(json.dumps(to_json(app.answers.make_plan())))  # noqa: T201  what the command line reads
            return 0
        app.sender.start()
        app.sender.close()
        return 1 if any(state.phase.active for state in snapshot.alerts.values()) else 0
    finally:
        app.close()


def main() -> int:
    """Take the command of the daemon's own program, and give its exit code."""
    parser = argparse.ArgumentParser(prog="shipkeeper run")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--plan-json", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.stdout, sys.stderr = outlet(sys.stdout), outlet(sys.stderr)
    try:
        find = partial(config_file, arguments.config, os.environ)
        read = load_for_judging if arguments.plan_json else load  # a plan for a service that does not run
        configuration = Configuration(read(find(), os.environ), find, os.environ, SystemClock())
        _set_up_logging(configuration)
        if arguments.once or arguments.plan_json:
            return run_once(configuration, plan_json=arguments.plan_json)
        return run(configuration)
    except ShipkeeperError as error:
        print(f"shipkeeper: {error}", file=sys.stderr)  # noqa: T201  the last word of a command that failed
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
