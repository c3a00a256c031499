"""What the daemon answers, to the control socket and to the landing page, from what its parts knew last."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from collectors.facts import EngineState
from daemon import moments, proposals, status
from daemon.decide import decide
from daemon.errors import ShipkeeperError
from daemon.executor import OBSERVING
from daemon.plans import make_plan, to_json
from daemon.verbs import AUTOPSY_LINES
from daemon.web.pages import Overview
from policies import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.alerts.pusher import Pusher
    from daemon.alerts.sender import Sender
    from daemon.autopsy import Autopsy
    from daemon.clock import Clock
    from daemon.dead_mans_switch import DeadMansSwitch
    from daemon.digest import Digests
    from daemon.disks import Disks
    from daemon.engine_watch import EngineWatch
    from daemon.executor import Executor
    from daemon.plans import Plan
    from daemon.reload import Configuration
    from daemon.runs import Runs
    from daemon.snapshot import Snapshot
    from daemon.store import Store
    from daemon.watch import Watch

AUDIT_PAGE = 1000
"""So many decisions are told at a time."""
NEWS_WITHIN = timedelta(seconds=10)
"""So long a caller that follows a run waits for the next object at most."""


_PROBLEM = 1000
"""Characters of what is wrong with the configuration, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """What does not change while the daemon runs."""

    version: str
    started_at: float
    """Monotonic seconds."""


class Answers:
    """Safe to ask from any thread: every part is read through what it has published."""

    def __init__(  # noqa: PLR0913  the composition root hands in each part by name
        self,
        myself: Self,
        *,
        clock: Clock,
        watch: Watch,
        engine: EngineWatch,
        disks: Disks,
        sender: Sender,
        pusher: Pusher,
        switch: DeadMansSwitch,
        store: Store,
        runs: Runs,
        executor: Executor,
        autopsy: Autopsy,
        digests: Digests,
        configuration: Configuration,
    ) -> None:
        self._self = myself
        self._clock = clock
        self._watch = watch
        self._engine = engine
        self._disks = disks
        self._sender = sender
        self._pusher = pusher
        self._switch = switch
        self._store = store
        self._runs = runs
        self._executor = executor
        self._autopsy = autopsy
        self._digests = digests
        self._configuration = configuration

    def status(self) -> dict[str, Any]:
        """Answer `shipkeeper status`."""
        snapshot = self._snapshot()
        book = self._watch.book
        return {
            "version": self._self.version,
            "mode": book.mode,
            "cleanup": self._cleanup(),
            "host": book.host,
            "uptime_seconds": int(self._clock.monotonic() - self._self.started_at),
            "docker": status.engine_json(self._engine.engine),
            "filesystems": [
                status.filesystem_json(
                    filesystem,
                    book.pressure.level(filesystem, snapshot.facts) if book.pressure else None,
                    *self._disks.growth(filesystem),
                )
                for filesystem in snapshot.facts.filesystems
            ],
            "disk_usage": [status.use_json(use) for use in self._disks.uses()],
            "alerts": status.alerts_json(snapshot.alerts.values()),
            "containers": status.containers_json(snapshot),
            "policies": [
                {
                    "name": name,
                    "enabled": True,
                    "skipped": snapshot.decision.skipped.get(name),
                    "halted": snapshot.decision.too_many.get(name),
                }
                for name in book.policies
            ],
            "week": [asdict(week) for week in self._digests.weeks()],
            "sinks": [status.sink_json(stats) for stats in (*self._sender.stats, *self._pusher.stats)],
            "heartbeat": status.heartbeat_json(self._switch.stats),
            "store": {"path": str(self._store.path), "degraded": self._store.degraded},
            "configuration": status.configuration_json(self._configuration.standing),
        }

    def plan(self) -> dict[str, Any]:
        """Answer `shipkeeper plan`, and remember what was shown: an approval means exactly that."""
        plan = self.make_plan()
        if plan.mode != "observe":
            self._runs.remember(plan)
        return to_json(plan)

    def make_plan(self) -> Plan:
        """Judge the facts of the last cycle at this moment; ShipkeeperError when they are not known."""
        snapshot, book = self._snapshot(), self._watch.book
        now = snapshot.now(self._clock.monotonic())
        decision = decide(book.policies, replace(snapshot.facts, now=now), book.bounds)
        if decision.skipped.get("containers") or not self._watch.ready:
            raise ShipkeeperError(f"no plan: {decision.skipped.get('containers', 'the first look is not complete')}")
        return make_plan(proposals.verdicts(decision, book), book.mode, now, proposals.notes(decision, book))

    def apply(self, name: str, asked_by: str) -> dict[str, Any]:
        """Answer `shipkeeper apply PLAN`: begin to carry out a plan that was shown."""
        if self._watch.book.mode == "observe":  # its plans are not remembered: say that first
            raise ShipkeeperError(OBSERVING)
        run = self._executor.submit(self._runs.plan(name), asked_by)
        return status.run_json(self._runs.run(run))

    def run(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer what became of the run `id`, as soon as more than `seen` of its objects are done."""
        try:
            number, seen = int(query["id"]), int(query.get("seen", "-1"))
        except (KeyError, ValueError) as error:
            raise ShipkeeperError("a run is asked for by its number: /run?id=12&seen=3") from error
        return status.run_json(self._executor.wait_for_news(number, seen, NEWS_WITHIN))

    def audit(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Answer `shipkeeper audit`: the decisions since a time or an age, page by page."""
        try:
            since = moments.since(query.get("since", ""), self._clock.now())
            after = int(query.get("after", "0"))
        except ValueError as error:
            raise ShipkeeperError(
                f'"{query.get("since", "")}" is no time to begin with\n'
                "  cure: say how long ago, or since which day or moment: --since 7d, --since 2026-11-23"
            ) from error
        return [status.decision_json(each) for each in self._runs.decisions(since, after, AUDIT_PAGE)]

    def autopsy(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Answer `shipkeeper autopsy NAME`."""
        try:
            lines = int(query.get("log_lines", str(AUTOPSY_LINES)))
        except ValueError as error:
            raise ShipkeeperError("the number of log lines is a number: /autopsy?container=web&log_lines=30") from error
        return self._autopsy.of(query.get("container", ""), lines)

    def alerts(self) -> list[dict[str, Any]]:
        """Answer `shipkeeper alerts list`."""
        return status.alerts_json(self._snapshot().alerts.values())

    def test_sinks(self) -> list[dict[str, Any]]:
        """Answer `shipkeeper alerts test`: send a message everywhere, and say what came back."""
        trials = [self._sender.test_message(stats.name) for stats in self._sender.stats]
        trials += self._pusher.trials()
        told = [{"sink": trial.sink, "ok": trial.accepted, "said": trial.words} for trial in trials]
        if problem := self._configuration.standing.problem:
            # A route that leads nowhere is in the file only: the daemon goes by the routes from before.
            told.append({"sink": "configuration", "ok": False, "said": words.one_line(problem, _PROBLEM)})
        return told

    def not_ready(self) -> str:
        """Say what is still waited for; empty once the daemon is ready."""
        return "" if self._watch.ready else "the first look at the containers is not complete"

    def headline(self) -> str:
        """Give the one line that systemd shows: `12 containers, 1 alert firing, Docker 28.5.2 up`."""
        engine, snapshot = self._engine.engine, self._watch.snapshot
        docker = f"Docker {engine.version} up" if engine.state is EngineState.UP else f"Docker {engine.state}"
        if snapshot is None:
            return f"no picture of this host yet, {docker}"
        firing = sum(state.phase.told for state in snapshot.alerts.values())
        told = f"{words.count(firing, 'alert')} firing" if firing else "no alert"
        if not snapshot.docker_known:
            return f"{told}, {docker}"
        return f"{words.count(len(snapshot.facts.containers), 'container')}, {told}, {docker}"

    def overview(self) -> Overview:
        """Give what the landing page says."""
        engine, book = self._engine.engine, self._watch.book
        words = f"{engine.version}, up" if engine.state is EngineState.UP else f"{engine.state}: {engine.why}"
        return Overview(host=book.host, version=self._self.version, mode=book.mode, engine=words)

    def _cleanup(self) -> dict[str, Any]:
        run = self._runs.last()
        return {
            "held_up": self._executor.held_up() or None,
            "running": self._executor.running is not None,
            "last_run": status.run_json(run) if run else None,
        }

    def _snapshot(self) -> Snapshot:
        snapshot = self._watch.snapshot
        if snapshot is None:
            raise ShipkeeperError(
                "there is no picture of this host yet, or the last look at it failed\n"
                "  cure: ask again in a moment; if that does not help, the daemon's log says why"
            )
        return snapshot
