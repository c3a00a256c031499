"""The watch thread: refresh the facts, decide, record, publish; then wait to be woken."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import ContainerState, Known, SourceName
from daemon import history
from daemon.alerts import lifecycle, outbox
from daemon.alerts.state import Phase
from daemon.decide import Decision, decide
from daemon.snapshot import Snapshot
from policies import words
from policies.policy import Condition, ConditionState, Occurrence

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

    from daemon.alerts.lifecycle import Step
    from daemon.alerts.state import AlertState
    from daemon.clock import Clock
    from daemon.counters import Counters
    from daemon.observe import Observation, Observer
    from daemon.redact import Redactor
    from daemon.sightings import Sightings
    from daemon.store import Store
    from policies.catalogue import AlertRule
    from policies.policy import Policy, Removal

log = logging.getLogger(__name__)

IDLE = timedelta(seconds=15)
CLEARING = timedelta(seconds=5)
UNSETTLED = timedelta(seconds=1)
SAVE_EVERY = timedelta(minutes=1)
FORGET_EVERY = timedelta(hours=1)
FRESH = timedelta(seconds=60)
"""What the last cycle knew is given out for so long; an idle cycle comes every 15 s."""
LONGEST_ABSENCE = timedelta(hours=1)
"""After a restart, at most this much of our absence counts toward a pending or clearing alert."""
MUTE_ENDS = frozenset({ContainerState.REMOVING})
"""A container on its way out is no longer there for its alerts."""


class Watch:
    """
    The one thread that decides; everything else only wakes it or reads what it published.

    Two wake-ups during a cycle make exactly one more cycle. A cycle that fails is logged and counted, and the
    next one starts from the facts again.
    """

    def __init__(  # noqa: PLR0913  the composition root hands in each collaborator by name
        self,
        *,
        observer: Observer,
        policies: Mapping[str, Policy],
        rules: Mapping[str, AlertRule],
        store: Store,
        counters: Counters,
        sightings: Sightings,
        sinks: Sequence[str],
        group_wait: timedelta,
        redact: Redactor,
        host: str,
        clock: Clock,
        notify: Callable[[], None],
        beat: Callable[[], None],
    ) -> None:
        self._observer = observer
        self._policies = policies
        self._rules = rules
        self._store = store
        self._counters = counters
        self._sightings = sightings
        self._sinks = tuple(sinks)
        self._group_wait = group_wait
        self._redact = redact
        self._host = host
        self._clock = clock
        self._notify = notify
        self._beat = beat
        self._alerts: dict[str, AlertState] = dict(outbox.load_states(store))
        self._stepped = clock.monotonic()
        self._absence = _absence(store, clock)
        self._saved = clock.monotonic()
        self._forgot = clock.monotonic()
        self._would_remove: frozenset[str] = frozenset()
        self._cycles = 0
        self.failures = 0
        self._published: tuple[float, Snapshot] | None = None
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    @property
    def snapshot(self) -> Snapshot | None:
        """What the last cycle knew; `None` before the first one, and once no cycle has succeeded for a minute."""
        if self._published is None:
            return None
        at, snapshot = self._published
        return snapshot if self._clock.monotonic() - at <= FRESH.total_seconds() else None

    @property
    def ready(self) -> bool:
        """True once the first inventory is complete and judged, while cycles succeed."""
        return self.snapshot is not None and self._observer.ready

    def wake(self) -> None:
        """Ask for a cycle soon; never blocks."""
        self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Let a running cycle end, then stop."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._observer.close()

    def _run(self) -> None:
        pause = timedelta(0)
        while not self._stopping.is_set():
            self._beat()
            self._wake.wait(pause.total_seconds())
            self._wake.clear()
            if self._stopping.is_set():
                return
            try:
                pause = self.cycle()
            except Exception:
                # The boundary of a cycle: whatever one cycle met, the watchman goes on with the next.
                self.failures += 1
                log.exception("a cycle failed; the next one starts from the facts again")
                pause = CLEARING

    def cycle(self) -> timedelta:
        """Do one full round, and say how long the thread may sleep if nobody wakes it."""
        observation = self._observer.observe()
        decision = decide(self._policies, observation.facts)
        step = self._step(observation, decision)
        self._counters.meet(observation.facts.containers)
        self._counters.count(observation.deaths, observation.kills, {c.id: c for c in observation.facts.containers})
        self._record(observation, step)
        self._alerts.update({state.fingerprint: state for state in step.changed})
        self._forget()
        for line in step.journal():
            log.info("%s", line)
        if step.notices:
            self._notify()
        self._log_removals(decision.removals)
        self._cycles += 1
        snapshot = Snapshot(
            facts=observation.facts,
            decision=decision,
            alerts=dict(self._alerts),
            counters=self._counters.samples(),
            cycles=self._cycles,
        )
        self._published = (self._clock.monotonic(), snapshot)
        return self._pause(observation)

    def _step(self, observation: Observation, decision: Decision) -> Step:
        now = self._clock.monotonic()
        elapsed = timedelta(seconds=now - self._stepped) + self._absence
        self._stepped, self._absence = now, timedelta(0)
        facts = observation.facts
        present = None
        if isinstance(facts.sources[SourceName.DOCKER], Known):
            present = frozenset(c.subject.key for c in facts.containers if c.state not in MUTE_ENDS)
        return lifecycle.step(
            self._alerts,
            [self._redacted(finding) for finding in decision.findings],
            ran_alerts=decision.judged,
            present=present,
            now=facts.now,
            elapsed=elapsed,
            rules=self._rules,
            host=self._host,
        )

    def _redacted(self, finding: Condition | Occurrence) -> Condition | Occurrence:
        """Hide secrets in what a bad finding quotes: a probe's output, the engine's own error."""
        if isinstance(finding, Condition) and finding.state is ConditionState.BAD:
            return replace(finding, reason=self._redact.text(finding.reason))
        return finding

    def _record(self, observation: Observation, step: Step) -> None:
        """Store what is news and what it makes us tell, in one transaction."""
        due = self._clock.monotonic() - self._saved >= SAVE_EVERY.total_seconds()
        news = observation.deaths or observation.kills or observation.baseline is not None
        if not (news or step.changed or step.notices or due):
            return
        now = observation.facts.now

        def action(connection: sqlite3.Connection) -> None:
            history.save(connection, observation.deaths, observation.kills, observation.baseline)
            self._counters.save(connection, now.timestamp())
            self._sightings.save(connection)
            outbox.save(connection, step.changed, step.notices, self._sinks, self._group_wait, now)

        self._store.write(action)
        self._counters.saved()
        self._sightings.saved()
        self._saved = self._clock.monotonic()

    def _forget(self) -> None:
        """Let go of the alerts that housekeeping has dropped from the store."""
        if self._clock.monotonic() - self._forgot < FORGET_EVERY.total_seconds():
            return
        kept = outbox.remembered(self._store)
        self._alerts = {key: state for key, state in self._alerts.items() if state.phase.active or key in kept}
        self._forgot = self._clock.monotonic()

    def _pause(self, observation: Observation) -> timedelta:
        phases = {state.phase for state in self._alerts.values()}
        if observation.unsettled or Phase.PENDING in phases:
            return UNSETTLED
        return CLEARING if Phase.CLEARING in phases else IDLE

    def _log_removals(self, removals: Sequence[Removal]) -> None:
        """Say once of each object that it would be removed, and why."""
        for removal in removals:
            if removal.object.id not in self._would_remove:
                log.info(
                    "would remove %s %s · %s · %s",
                    removal.object.kind,
                    words.plain(removal.object.name),
                    removal.reason,
                    words.size(removal.size_bytes),
                )
        self._would_remove = frozenset(removal.object.id for removal in removals)


def _absence(store: Store, clock: Clock) -> timedelta:
    """Give how long we were away, as far as it counts for timers."""
    rows = store.read("SELECT value FROM meta WHERE key = 'saved_at'", ())
    if not rows:
        return timedelta(0)
    away = timedelta(seconds=clock.now().timestamp() - float(rows[0]["value"]))
    return max(timedelta(0), min(away, LONGEST_ABSENCE))
