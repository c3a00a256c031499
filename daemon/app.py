"""The composition root: builds every part from the settings, starts them in order, closes them in reverse."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from signal import SIGHUP
from typing import TYPE_CHECKING

from collectors.cgroup import CgroupReader
from collectors.disk import Filesystems
from collectors.engine_api import Endpoint, EngineApi
from collectors.engine_errors import SYSTEM_SOCKETS
from collectors.inventory import Inventory
from daemon import absence, banner, history, runs
from daemon.acting import ActingLock
from daemon.alerts import outbox
from daemon.alerts.console import ConsoleSink
from daemon.alerts.sender import Sender
from daemon.alerts.slack import SlackSink
from daemon.answers import Answers, Self
from daemon.clock import SystemClock
from daemon.control import ControlServer
from daemon.counters import Counters
from daemon.docker_writer import DockerWriter
from daemon.engine_watch import EngineWatch
from daemon.errors import ShipkeeperError
from daemon.events import EventReader
from daemon.executor import Executor
from daemon.exports import Exports
from daemon.grace import Grace
from daemon.heartbeats import Heartbeats
from daemon.jobs import Job, Jobs
from daemon.layers import LayerSizes
from daemon.ledger import Ledger
from daemon.lifecycle import await_signal, block_signals
from daemon.loading import config_file, load
from daemon.log_tails import LogTails
from daemon.logs import set_up_logging
from daemon.lookout import Lookout
from daemon.observe import Eyes, Observer, Rules
from daemon.plans import to_json
from daemon.recent import SHOWN_FOR, Recent
from daemon.recheck import Recheck
from daemon.redact import Redactor
from daemon.sampler import Sampler, Sources
from daemon.sightings import Sightings
from daemon.store import Store
from daemon.systemd import Notifier, Watchdog, watchdog_interval
from daemon.unit_state import UnitState
from daemon.verbs import verb_table
from daemon.watch import Watch
from daemon.web.exposition import Exposition, process_registry
from daemon.web.pages import LandingPage, MetricsPage, ReadyPage, healthy_page
from daemon.web.server import WebServer
from policies.deaths import Crashes
from policies.engine import EngineDown
from policies.health import ContainerHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.facts import Container
    from daemon.alerts.sink import Sink
    from daemon.clock import Clock
    from daemon.config import Settings
    from daemon.snapshot import Snapshot
    from policies.catalogue import AlertRule
    from policies.policy import Policy

log = logging.getLogger("daemon.app")  # `python -m` calls this module __main__

WATCH_PATIENCE = timedelta(seconds=2)
PING_PATIENCE = timedelta(seconds=5)
SLOW_PATIENCE = timedelta(seconds=30)
DEADLINES: Mapping[str, timedelta] = {
    "engine": timedelta(seconds=60),
    "reader": timedelta(seconds=90),
    "sampler": timedelta(seconds=60),
    "watch": timedelta(seconds=60),
    "sender": timedelta(seconds=120),
    "executor": timedelta(seconds=60),
}
"""How old the last heartbeat of a thread may be; the table in docs/architecture.md."""


class App:
    """All parts of one daemon, built and wired; nothing runs until `start`."""

    def __init__(self, settings: Settings, clock: Clock, *, once: bool = False) -> None:
        """Build; with `once` for a single round that tells at once what is wrong now."""
        self._settings = settings
        self._once = once
        self._clock = clock
        self._closing = ExitStack()
        self._host = settings.host_name()
        endpoint = _endpoint(settings)
        beats = Heartbeats(DEADLINES, clock)
        self._beats = beats
        self.store = Store.open(settings.state_dir(os.environ, os.geteuid()), clock)
        self._closing.callback(self.store.close)
        connect = partial(EngineApi.connect, endpoint, WATCH_PATIENCE)

        self.engine = EngineWatch(
            partial(EngineApi.connect, endpoint, PING_PATIENCE),
            UnitState(concerns_us=endpoint.socket_path in SYSTEM_SOCKETS),
            clock,
            self._engine_changed,
            partial(beats.beat, "engine"),
        )
        self.reader = EventReader(connect, self.engine, clock, self._wake, partial(beats.beat, "reader"))
        self._inventory = Inventory(connect)
        self._cgroups = CgroupReader()
        self._filesystems = Filesystems(self._paths)
        self.sampler = Sampler(
            Sources(self._filesystems, self._cgroups, self._containers),
            clock,
            partial(beats.beat, "sampler"),
            self._wake,
        )
        self._sinks = _sinks(settings)
        self.sender = Sender(
            self.store,
            self._sinks,
            clock,
            host=self._host,
            beat=partial(beats.beat, "sender"),
            per_second={"slack": settings.slack.max_per_second},
        )
        self._layers = LayerSizes(
            partial(EngineApi.connect, endpoint, SLOW_PATIENCE), lambda: self.watch.snapshot, clock
        )
        policies = _policies(settings)
        remembered = runs.Runs(self.store, clock)
        self.executor = Executor(
            runs=remembered,
            recheck=Recheck(
                partial(EngineApi.connect, endpoint, PING_PATIENCE),
                lambda: self.watch.snapshot,
                lambda: policies,
                settings.protection,
                clock,
            ),
            writer=partial(DockerWriter, endpoint, clock, partial(beats.beat, "executor")),
            acting=ActingLock(endpoint),
            grace=Grace(clock, self.engine, lambda: settings.cleanup.grace),
            engine=self.engine,
            mode=lambda: settings.mode,
            clock=clock,
            beat=partial(beats.beat, "executor"),
        )
        self.watch = self._watch(connect, policies)
        self._jobs = Jobs(
            [
                Job("heal-store", self.store.heal, timedelta(seconds=30), "fast"),
                Job("prune-store", self._prune, timedelta(hours=1), "fast"),
                Job("measure-layers", self._measure_layers, timedelta(seconds=30), "docker"),
            ],
            clock,
        )
        exports = Exports(
            clock=clock,
            cgroups=self._cgroups,
            engine=self.engine,
            reader=self.reader,
            sampler=self.sampler,
            watch=self.watch,
            sender=self.sender,
            executor=self.executor,
            jobs=self._jobs,
        )
        self.answers = Answers(
            Self(version=_version(), host=self._host, started_at=clock.monotonic()),
            clock=clock,
            watch=self.watch,
            engine=self.engine,
            sender=self.sender,
            store=self.store,
            runs=remembered,
            executor=self.executor,
            mode=lambda: settings.mode,
            policies=policies,
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
        )
        self._control = ControlServer(
            settings.control_socket(os.environ, os.geteuid()),
            verb_table(
                status=lambda _: self.answers.status(),
                plan=lambda _: self.answers.plan(),
                apply=lambda request: self.answers.apply(
                    request.query.get("plan", ""), request.peer.user if request.peer else "unknown"
                ),
                run=lambda request: self.answers.run(request.query),
                alerts=lambda _: self.answers.alerts(),
                alerts_test=lambda _: self.answers.test_sinks(),
            ),
        )

    def start(self) -> None:
        """Start every part; ShipkeeperError names an address or a socket that cannot be had."""
        for part in (
            self._control,
            self.web,
            self.sender,
            self.watch,
            self.sampler,
            self.engine,
            self.reader,
            self._jobs,
            self.executor,
        ):
            part.start()
            self._closing.callback(part.close)

    def close(self) -> None:
        """Close every part that was started, the last one first."""
        self._closing.close()

    def once(self) -> Snapshot:
        """Do one round in this thread, without starting any other; ShipkeeperError if the engine cannot be read."""
        self.engine.look()
        self._closing.callback(self.engine.close)
        self.sampler.sample_now()
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
        acts = self._settings.mode == "observe" or self.executor.acts
        only_observes = "" if acts else self.executor.held_up()
        return banner.lines(self._settings, self.web.address, self.store, _version(), only_observes)

    def stale(self) -> tuple[str, ...]:
        """Name the threads that show no sign of life."""
        return self._beats.stale()

    def _wake(self) -> None:
        self.watch.wake()

    def _engine_changed(self) -> None:
        self.sampler.wake()  # its data-root may have come into reach
        self.watch.wake()

    def _containers(self) -> Sequence[Container]:
        return list(self._inventory.containers.values())

    def _paths(self) -> Mapping[str, Path]:
        """Give the places whose filesystems matter; a remote engine's are out of our reach."""
        paths = {"os-root": Path("/"), "state": self.store.path.parent}
        engine = self.engine.engine
        if not self._is_local():
            return paths
        if engine.data_root:
            paths = {"data-root": Path(engine.data_root), **paths}
        containerd = Path("/var/lib/containerd")
        return {**paths, "containerd-root": containerd} if containerd.is_dir() else paths

    def _is_local(self) -> bool:
        """Tell whether the engine runs on this machine."""
        return self._settings.docker.host.startswith("unix://")

    def _watch(self, connect: Callable[[], EngineApi], policies: Mapping[str, Policy]) -> Watch:
        settings, store, clock = self._settings, self.store, self._clock
        counters, sightings = Counters.load(store), Sightings(store, clock)
        redact = Redactor(settings.alerts.redact)
        away = absence.load(store, clock)
        lines = settings.alerts.log_lines
        deaths = history.deaths_since(store, clock.now() - SHOWN_FOR)
        kills = history.kills_since(store, clock.now() - SHOWN_FOR)
        eyes = Eyes(
            lookout=Lookout(connect, self.engine, self.reader, self._inventory, clock),
            engine=self.engine,
            inventory=self._inventory,
            sampler=self.sampler,
            ledger=Ledger(history.load_baseline(store), clock.now(), deaths),
            recent=Recent(deaths, kills, clock),
            log_tails=LogTails(lines, redact, clock),
            sightings=sightings,
            oom_count=self._cgroups.oom_kills,
            sizes=self._layers.latest,
        )
        rules = Rules(protection=settings.protection(), ignore=settings.alerts.ignore, quotes=lines > 0)
        return Watch(
            observer=Observer(eyes, clock, rules, rebooted=away.rebooted and self._is_local()),
            policies=policies,
            rules=self._rules(),
            store=store,
            counters=counters,
            sightings=sightings,
            sinks=[sink.name for sink in self._sinks],
            group_wait=timedelta(0) if self._once else settings.alerts.group_wait,
            redact=redact,
            host=self._host,
            clock=clock,
            away=away.lasted,
            notify=self.sender.wake,
            hand_over=self.executor.offer,
            beat=partial(self._beats.beat, "watch"),
        )

    def _rules(self) -> Mapping[str, AlertRule]:
        rules = self._settings.rules()
        return {name: replace(rule, hold=timedelta(0)) for name, rule in rules.items()} if self._once else rules

    def _prune(self) -> None:
        now = self._clock.now()
        self.store.write(lambda connection: history.prune(connection, now))
        self.store.write(lambda connection: outbox.prune(connection, now))
        self.store.write(lambda connection: runs.prune(connection, now))

    def _measure_layers(self) -> None:
        if self._layers.measure():
            self.watch.wake()


def _endpoint(settings: Settings) -> Endpoint:
    docker = settings.docker
    files = (docker.tls_ca_cert, docker.tls_client_cert, docker.tls_client_key)
    ca, cert, key = (str(path) if path else "" for path in files)
    return Endpoint(host=docker.host, tls_ca=ca, tls_cert=cert, tls_key=key)


def _policies(settings: Settings) -> Mapping[str, Policy]:
    """Every policy by name: those that have settings, then those that are always on."""
    return {
        **settings.enabled_policies(),
        "deaths": Crashes(),
        "health": ContainerHealth(),
        "engine": EngineDown(),
    }


def _sinks(settings: Settings) -> Sequence[Sink]:
    """Every place that alerts go to; a new one is one line here."""
    url = settings.slack.webhook_url
    return (ConsoleSink(sys.stdout), *([SlackSink(url)] if url.get_secret_value() else []))


def _version() -> str:
    return installed_version("shipkeeper")


def run(settings: Settings) -> int:
    """Run the daemon until a signal ends it; 0 after SIGTERM or SIGINT."""
    block_signals()
    notifier = Notifier(os.environ)
    with ExitStack() as closing:
        app = App(settings, SystemClock())
        closing.callback(app.close)
        # What was built lives until the end. Looking through it again for garbage would halt a cycle for 60 ms.
        gc.collect()
        gc.freeze()
        app.start()
        for line in app.banner():
            print(line, flush=True)  # noqa: T201  the terminal, or the journal, is where a person looks first
        if interval := watchdog_interval(os.environ, os.getpid()):
            watchdog = Watchdog(interval, notifier, app.stale)
            watchdog.start()
            closing.callback(watchdog.close)
        notifier.ready(f"watching {settings.docker.host}, mode {settings.mode}")
        while (signal := await_signal()) is SIGHUP:
            log.warning("SIGHUP: this version does not reload; restart the daemon to apply a changed configuration")
        log.info("%s received, stopping", signal.name)
        notifier.stopping()
    return 0


def run_once(settings: Settings, *, plan_json: bool) -> int:
    """Do one round: tell what is wrong on the console, or print the plan."""
    app = App(settings, SystemClock(), once=True)
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
    try:
        settings = load(config_file(arguments.config, os.environ), os.environ)
        set_up_logging(settings.log, settings.secrets(), os.environ, sys.stderr)
        if arguments.once or arguments.plan_json:
            return run_once(settings, plan_json=arguments.plan_json)
        return run(settings)
    except ShipkeeperError as error:
        print(f"shipkeeper: {error}", file=sys.stderr)  # noqa: T201  the last word of a command that failed
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
