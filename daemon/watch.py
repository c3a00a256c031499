"""The watch thread: refresh the facts, decide, record, publish; then wait to be woken."""

from __future__ import annotations

import logging
import math
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import ContainerState, SourceName, SubjectKind
from daemon import absence
from daemon.alerts import chronicle, lifecycle, missed, outbox, report
from daemon.alerts.routing import Ways
from daemon.alerts.state import Phase
from daemon.alerts.telling import Wishes, tell
from daemon.decide import Decision, decide
from daemon.history import Unsaved
from daemon.pace import Pace
from daemon.removal_log import RemovalLog
from daemon.snapshot import Snapshot
from policies import gpu_words
from policies.disk_pressure import DiskPressure
from policies.policy import Condition, ConditionState, Occurrence
from policies.singly import asked_singly, only

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from collectors.facts import Death, Facts
    from daemon.alerts.acks import Acks
    from daemon.alerts.lifecycle import Step
    from daemon.alerts.silences import Silences
    from daemon.alerts.state import AlertState
    from daemon.alerts.telling import Telling
    from daemon.clock import Clock
    from daemon.clock_steps import ClockSteps
    from daemon.counters import Counters
    from daemon.crew import Crew
    from daemon.idle import IdleTimes
    from daemon.last_use import LastUse
    from daemon.observe import Observation, Observer
    from daemon.redact import Redactor
    from daemon.rulebook import Rulebook
    from daemon.sightings import Sightings
    from daemon.steady import SteadyClock
    from daemon.store import Store
    from daemon.turns import Turns
    from policies.policy import Removal

log = logging.getLogger(__name__)

IDLE = timedelta(seconds=15)
SOON = timedelta(seconds=5)
"""While an alert clears, while Docker cannot be read, and after a cycle that failed."""
UNSETTLED = timedelta(seconds=1)
FULL_AFTER = timedelta(seconds=2)
"""A glance is followed by a full cycle within so long, however many more glances there would be."""
MOST_GLANCED_AT = 16
"""When events tell of more containers, all are judged."""
SAVE_EVERY = timedelta(minutes=1)
_NEAR = timedelta(minutes=1)
_CLOSING = timedelta(seconds=7)
FRESH = timedelta(seconds=60)
"""What the last cycle knew is given out for so long; an idle cycle comes every 15 s."""
MUTE_ENDS = frozenset({ContainerState.REMOVING})
"""A container on its way out is no longer there for its alerts."""
_DOCKER = frozenset({SourceName.DOCKER})
_GPU = frozenset({SourceName.GPU})
_TIMED = frozenset({SourceName.DOCKER, SourceName.FILESYSTEMS})
"""What the alerts with timers are judged by."""


class Watch:
    """
    The one thread that decides; everything else only wakes it or reads what it published.

    Two wake-ups during a cycle make exactly one more cycle. A cycle that fails is logged and counted, and the
    next one starts from the facts again; until one succeeds there is no snapshot, for an old one would lie.

    Events alone make a glance: a cycle that judges only the containers they speak of, and tells what can be told at
    once. So nobody waits for a verdict on a thousand others, and these do not cost one with every event.
    """

    def __init__(  # noqa: PLR0913  the composition root hands in each collaborator by name
        self,
        *,
        observer: Observer,
        book: Rulebook,
        store: Store,
        counters: Counters,
        turns: Turns,
        sightings: Sightings,
        last_use: LastUse,
        idle: IdleTimes,
        clock_steps: ClockSteps,
        silences: Silences,
        acks: Acks,
        sinks: Callable[[], Sequence[str]],
        clock: Clock,
        steady: SteadyClock,
        away: timedelta,
        notify: Callable[[], None],
        hand_over: Callable[[Sequence[Removal]], None],
        crew: Crew,
    ) -> None:
        self._observer = observer
        self._book = book
        self._store = store
        self._counters = counters
        self._turns = turns
        self._sightings = sightings
        self._last_use = last_use
        self._idle = idle
        self._clock_steps = clock_steps
        self._silences = silences
        self._acks = acks
        self._sinks = sinks
        self._clock = clock
        self._steady = steady
        self._notify = notify
        self._hand_over = hand_over
        self._alerts: dict[str, AlertState] = outbox.load_states(store)
        """Those that stand, and what is over but was found in the last cycle; the store remembers the others."""
        self._unsaved = Unsaved()
        self._missed: list[Death] = []
        self._stepped = clock.monotonic()
        self._away = away
        self._saved = clock.monotonic()
        self._removals = RemovalLog()
        self._judged_by: Rulebook | None = None
        """By what the last full cycle decided."""
        self._glanced: float | None = None
        """When the first glance was since then."""
        self.cycles = 0
        """Cycles that ended well."""
        self.failures = 0
        """Cycles that ended in an error."""
        self._published: tuple[float, Snapshot] | None = None
        self._pace = Pace(clock)
        self._wake = threading.Event()
        self._all = threading.Event()
        self._worker = crew.worker("watch", self._run)

    @property
    def snapshot(self) -> Snapshot | None:
        """What the last cycle knew; `None` before the first one, after one that failed, or a minute later."""
        published = self._published  # once: the watch thread may take it back meanwhile
        if published is None:
            return None
        at, snapshot = published
        return snapshot if self._clock.monotonic() - at <= FRESH.total_seconds() else None

    @property
    def ready(self) -> bool:
        """True once the first inventory is complete and judged, while cycles succeed."""
        snapshot = self.snapshot
        return snapshot is not None and snapshot.complete

    @property
    def book(self) -> Rulebook:
        """By what the next cycle judges."""
        return self._book

    def adopt(self, book: Rulebook) -> None:
        """Judge by another rulebook from the next cycle on, which comes soon; from any thread."""
        self._book = book
        self.wake()

    def wake(self) -> None:
        """Ask for a full cycle soon; never blocks."""
        self._all.set()
        self._wake.set()

    def hear(self) -> None:
        """Take note that an event came: a glance will do; never blocks."""
        if not self._wake.is_set():  # the reader asks with every event
            self._wake.set()

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end after a running cycle; never waits."""
        self._worker.stop()
        self._wake.set()

    def close(self) -> None:
        """Let a running cycle end, then stop."""
        self.stop()
        self._worker.join(_CLOSING)
        if not self._worker.alive:
            self._observer.close()

    def _run(self) -> None:
        pause = timedelta(0)
        while not self._worker.stopping.is_set():
            self._worker.beat()
            self._wake.wait(pause.total_seconds())
            self._worker.stopping.wait(self._pace.rest_seconds())  # what comes meanwhile goes into the same cycle
            self._wake.clear()
            glance = not self._all.is_set()
            self._all.clear()
            if self._worker.stopping.is_set():
                return
            begun = time.thread_time()
            try:
                pause = self.cycle(glance=glance)
            except Exception:
                # The boundary of a cycle: whatever one cycle met, the watchman goes on with the next.
                self.failures += 1
                self._published = None
                log.exception("a cycle failed; the next one starts from the facts again")
                pause = SOON
            self._pace.worked(time.thread_time() - begun)

    def cycle(self, *, glance: bool = False) -> timedelta:
        """Do one round, a glance where that will do, and say how long the thread may sleep if nobody wakes it."""
        book = self._book  # once: another one may come meanwhile, and counts from the next cycle on
        observation = self._observer.observe(book)
        taken_at = self._clock.monotonic()
        self._take_over(observation, book)
        if glance and self._published is not None and (touched := self._enough(observation, book)):
            self._glanced = self._clock.monotonic() if self._glanced is None else self._glanced
            self._glance(observation.facts, touched, book)
            decision = self._published[1].decision
        else:
            self._glanced = None
            decision = self._judge(observation.facts, book)
        self.cycles += 1
        self._publish(observation.facts, decision, taken_at)
        if self._glanced is None and self._observer.ready:  # who removes looks at what was published
            aged = [each for each in decision.removals if each.policy not in decision.too_many]
            self._hand_over([*aged, *decision.relief])
        return self._pause(observation)

    def _take_over(self, observation: Observation, book: Rulebook) -> None:
        """Keep what the observer tells only once, before anything can fail."""
        self._unsaved.add(observation.deaths, observation.kills, observation.baseline, observation.lying)
        self._counters.meet(observation.facts.containers, self._steady.now().timestamp())
        self._counters.count(observation.deaths, observation.kills, observation.facts.containers)
        self._counters.charge(observation.charges)
        if observation.facts.known(_DOCKER):
            self._counters.turn(self._turns.look(observation.facts.containers))
        self._missed += missed.too_old(observation.deaths, observation.facts.now, book.ignore, book.rules)

    def _enough(self, observation: Observation, book: Rulebook) -> Collection[str]:
        """Give the keys of the containers that it is enough to judge; none where all have to be."""
        few = len(observation.touched) <= MOST_GLANCED_AT
        return observation.touched if few and self._judged_by is book and self._until_full() > 0 else ()

    def _judge(self, facts: Facts, book: Rulebook) -> Decision:
        """Judge everything, and tell what is news."""
        decision = decide(book.policies, facts, book.bounds)
        concerned = self._recall(decision, book)
        step = self._step(self._alerts, facts, decision, book, self._elapsed(facts))
        self._tell(step, facts, book)
        self._alerts = {key: state for key, state in self._alerts.items() if state.standing or key in concerned}
        self._removals.note(decision)
        self._judged_by = book
        return decision

    def _glance(self, facts: Facts, touched: Collection[str], book: Rulebook) -> None:
        """Judge these containers, and tell what needs no timer; all else is found by the next full cycle."""
        decision = decide(asked_singly(book.policies), only(facts, touched))
        self._recall(decision, book)
        # What befell the engine speaks for its containers.
        states = {
            key: state
            for key, state in self._alerts.items()
            if state.subject.key in touched or state.subject.kind is SubjectKind.ENGINE
        }
        step = self._step(states, facts, decision, book, timedelta(0))
        self._tell(step.at_once(), facts, book)

    def _tell(self, step: Step, facts: Facts, book: Rulebook) -> None:
        """Record a step, with what people are to be told of it, and let it go out."""
        at = self._steady.now()
        wishes = self._wishes(at)
        telling = tell(self._alerts, step, wishes, at)
        self._record(telling, wishes, Ways.of(book.routes, self._sinks(), facts), book.group_wait)
        self._alerts.update({state.fingerprint: state for state in telling.changed})
        for happening in telling.happened:
            log.info("%s", happening)
        if telling.notices or telling.ends:
            self._notify()

    def _publish(self, facts: Facts, decision: Decision, taken_at: float) -> None:
        snapshot = Snapshot(
            facts=facts,
            taken_at=taken_at,
            decision=decision,
            alerts=dict(self._alerts),
            counters=self._counters.samples(),
            complete=self._observer.ready,
        )
        self._published = (self._clock.monotonic(), snapshot)

    def _wishes(self, at: datetime) -> Wishes:
        """Give what people have said about alerts, as it holds to the end of this cycle."""
        silences, ended = self._silences.at(at)
        return Wishes(silences=silences, ended=ended, acks=self._acks.by_alert())

    def _recall(self, decision: Decision, book: Rulebook) -> set[str]:
        """
        Give the fingerprints of what is not well or happened lately.

        What is remembered of those that were over is read again: their episodes, and what was counted already.
        """
        concerned = lifecycle.concerned(decision.findings, book.rules)
        if missing := concerned - self._alerts.keys():
            self._alerts |= outbox.recall_states(self._store, missing)
        return concerned

    def _step(
        self, states: Mapping[str, AlertState], facts: Facts, decision: Decision, book: Rulebook, elapsed: timedelta
    ) -> Step:
        present = None
        if facts.known(_DOCKER):
            present = frozenset(c.subject.key for c in facts.containers if c.state not in MUTE_ENDS)
        return lifecycle.step(
            states,
            [_redacted(each, book.redact) for each in lifecycle.of_interest(decision.findings, states, book.rules)],
            ran_alerts=decision.judged,
            present=present,
            gpus=_gpus_here(facts),
            filesystems=_filesystems_here(facts),
            now=facts.now,
            elapsed=elapsed,
            rules=book.rules,
            host=book.host,
        )

    def _elapsed(self, facts: Facts) -> timedelta:
        """
        Give the time since the last full round.

        Our absence counts with the first round that sees everything: before, no timer would take it.
        """
        now = self._clock.monotonic()
        elapsed, self._stepped = timedelta(seconds=now - self._stepped), now
        if facts.known(_TIMED):
            elapsed, self._away = elapsed + self._away, timedelta(0)
        return elapsed

    def _record(self, telling: Telling, wishes: Wishes, ways: Ways, group_wait: timedelta) -> None:
        """Store what is news and what it makes us tell, in one transaction."""
        due = self._clock.monotonic() - self._saved >= SAVE_EVERY.total_seconds()
        ages = self._last_use.unsaved or self._idle.unsaved or self._sightings.unsaved
        if not (self._unsaved or telling.changed or telling.notices or wishes.ended or ages or due):
            return

        summary = missed.sum_up(self._missed)

        def action(connection: sqlite3.Connection) -> None:
            self._unsaved.save(connection, self._steady)
            self._counters.save(connection, self._steady.now().timestamp())
            self._turns.save(connection)
            self._sightings.save(connection)
            self._last_use.save(connection)
            self._idle.save(connection)
            self._clock_steps.save(connection)
            absence.save(connection, self._clock)
            self._steady.save(connection)
            at = self._steady.now()
            outbox.save(connection, telling.changed, (), (), group_wait, at)
            for notice in telling.notices:
                sinks = ways.sinks(notice, outbox.told_of(connection, notice.state))
                outbox.save(connection, (), [notice], sinks, group_wait, at)
            for end in telling.ends:
                for sink, told in ways.of_end(end).items():
                    outbox.save_report(connection, report.of_end(told), [sink], at)
            chronicle.save_happenings(connection, telling.happened, at)
            self._silences.save_told(connection, wishes.ended)
            if summary:
                outbox.save_summary(connection, summary, ways.by_default, at)

        self._store.write(action)
        if summary:
            log.warning("%s", summary.journal())
            self._notify()
        self._silences.forget(wishes.ended)
        self._missed.clear()
        self._unsaved.saved()
        self._counters.saved()
        self._turns.saved()
        self._sightings.saved()
        self._last_use.saved()
        self._idle.saved()
        self._saved = self._clock.monotonic()

    def _until_full(self) -> float:
        """Give the seconds until a full cycle has to follow the last glances."""
        if self._glanced is None:
            return math.inf
        return FULL_AFTER.total_seconds() - (self._clock.monotonic() - self._glanced)

    def _pause(self, observation: Observation) -> timedelta:
        if self._glanced is not None:
            until_full = timedelta(seconds=max(self._until_full(), 0.0))
            return min(UNSETTLED, until_full) if observation.unsettled else until_full
        if observation.unsettled or any(self._due(state) for state in self._alerts.values()):
            return UNSETTLED
        waits = any(state.phase in {Phase.PENDING, Phase.CLEARING} for state in self._alerts.values())
        return SOON if waits or not observation.facts.known(_DOCKER) else IDLE

    def _due(self, state: AlertState) -> bool:
        """Tell whether a pending alert may be told within a minute: what waits for longer is not looked at as often."""
        rule = self._book.rules.get(state.alert)
        return state.phase is Phase.PENDING and rule is not None and rule.hold - state.timer <= _NEAR


def _gpus_here(facts: Facts) -> frozenset[str] | None:
    """Give the keys of the GPUs that this host has; `None` while that is not known, or while one is missing."""
    if not facts.known(_GPU) or len(facts.gpus.devices) < facts.gpus.seen:
        return None
    return frozenset(
        {gpu_words.subject(gpu).key for gpu in facts.gpus.devices} | {gpu_words.GPUS.key, gpu_words.NVML.key}
    )


def _filesystems_here(facts: Facts) -> frozenset[str] | None:
    """Give the keys of the filesystems that Docker's data lies on; `None` while some may be left out."""
    if not (facts.all_filesystems and facts.known(_TIMED)):
        return None
    return frozenset(each.subject.key for each in facts.filesystems if DiskPressure.concerns(each))


def _redacted(finding: Condition | Occurrence, redact: Redactor) -> Condition | Occurrence:
    """Hide secrets in what a bad finding quotes: a probe's output, the engine's own error."""
    if isinstance(finding, Condition) and finding.state is ConditionState.BAD:
        details = tuple(redact.text(line) for line in finding.details)
        return finding._replace(reason=redact.text(finding.reason), details=details)
    return finding
