"""The thread that removes: one plan at a time, object by object, each looked at again just before."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from collectors.facts import EngineState, SubjectKind
from daemon.backoff import Backoff
from daemon.docker_writer import AbandonedError
from daemon.errors import ShipkeeperError
from daemon.evidence import EvidenceError
from daemon.outcome import Answer, Outcome, counted, in_words
from daemon.plans import LIFE, make_plan
from daemon.relieving import SETTLES, Relieving
from daemon.run_figures import RunFigures
from daemon.runs import Run, RunState
from daemon.schedules import Schedules
from policies import relief, words
from policies.bounds import within
from policies.gauges import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from collectors.facts import Filesystem, ObjectRef
    from collectors.storage_facts import Relieved
    from daemon.acting import ActingLock
    from daemon.clock import Clock
    from daemon.crew import Crew
    from daemon.evidence import Evidence
    from daemon.grace import Grace
    from daemon.lookout import EngineView
    from daemon.modes import Mode
    from daemon.plans import Plan
    from daemon.recheck import Recheck
    from daemon.rulebook import Rulebook
    from daemon.runs import Runs
    from policies.policy import Removal

log = logging.getLogger(__name__)

BY_ITSELF: Final = "schedule"
"""Who asked for a run that nobody asked for."""
MOST_FAILURES: Final = 3
"""In a row; then it is no longer one object that is to blame."""
OBSERVING: Final = (
    "nothing is removed in observe mode\n"
    '  cure: set mode = "approve" at the top of the configuration, reload the daemon (SIGHUP), and ask for a new plan'
)
_AGED: Final = "aged"
"""All that goes for its age; what a full disk is to be spared waits for itself alone."""
RUN_BACKOFF: Final = (timedelta(minutes=1), timedelta(hours=1))
OBJECT_BACKOFF: Final = (timedelta(minutes=10), timedelta(hours=6))
STUCK_AFTER: Final = timedelta(minutes=10)
"""A removal that Docker has not done by then is told; it is waited for much longer."""
ROUND: Final = timedelta(seconds=5)
"""Between looks at the clock, the engine and the lock while there is nothing to do."""
ENDS_WITHIN: Final = timedelta(seconds=8)
"""An answer that Docker still owes us is waited for so long after `close`."""
_CLOSING: Final = timedelta(seconds=10)
_NUDGE_SECONDS: Final = 0.5


class Writer(Protocol):
    """What removes one object."""

    def remove(self, ref: ObjectRef, api_version: str) -> Answer:
        """Remove it, and say what came of it; AbandonedError if the wait was given up."""
        ...

    def untag(self, tag: str, api_version: str) -> Answer:
        """Take one of several tags from an image; AbandonedError if the wait was given up."""
        ...


@dataclass(frozen=True, slots=True)
class _Order:
    run: int
    plan: Plan
    asked_by: str

    @property
    def automatic(self) -> bool:
        """True if no person asked for it."""
        return self.asked_by == BY_ITSELF


@dataclass(frozen=True, slots=True)
class _Rest:
    """A filesystem is left alone until this monotonic time, unless it comes to a worse level than a run left it at."""

    until: float
    level: Level | None

    def holds(self, now: float, level: Level | None) -> bool:
        """Tell whether it is still left alone at this time and level; none to the act level are all the same."""
        if now >= self.until:
            return False
        return level is None or self.level is None or level.rank <= max(self.level.rank, Level.ACT.rank)


class Executor:
    """
    The one part that has anything removed.

    `submit` and `offer` may be called from any thread and never wait for Docker. The mode is asked before
    every object, so a change to `observe` ends a run after the current one.
    """

    def __init__(  # noqa: PLR0913  the composition root hands in each collaborator by name
        self,
        *,
        runs: Runs,
        recheck: Recheck,
        writer: Callable[[Callable[[], None], Callable[[], bool]], Writer],
        acting: ActingLock,
        evidence: Evidence,
        measure: Callable[[str], Filesystem | None],
        grace: Grace,
        engine: EngineView,
        book: Callable[[], Rulebook],
        clock: Clock,
        crew: Crew,
        settles: timedelta = SETTLES,
    ) -> None:
        """
        Take in `writer` what makes one of two functions: called while it waits, and asked whether to give up.

        `measure` measures a filesystem now, by its mount point, as far as it can be known; what comes free after
        Docker's answer is awaited for as long as it `settles`.
        """
        self._runs = runs
        self._recheck = recheck
        self._acting = acting
        self._evidence = evidence
        self._measure = measure
        self._grace = grace
        self._engine = engine
        self._book = book
        self._clock = clock
        self._settles = settles
        self._worker = crew.worker("executor", self._run)
        self._writer = writer(self._worker.beat, self._give_up)
        self._schedules = Schedules(clock)
        self._run_backoff = Backoff(*RUN_BACKOFF)
        self._object_backoff = Backoff(*OBJECT_BACKOFF)
        self._rests: dict[str, _Rest] = {}
        self._reliefs: dict[str, Relieved] = {}
        self._asked: tuple[float, Removal] | None = None
        """Since when Docker has been removing what."""
        self.figures = RunFigures()
        """What runs did, counted."""
        self._changed = threading.Condition()
        self._order: _Order | None = None
        self._offered: Sequence[Removal] = ()
        self._give_up_at: float | None = None
        self.interrupted = 0
        """How many runs the last daemon left half-done."""

    @property
    def running(self) -> int | None:
        """The number of the run in progress."""
        order = self._order
        return order.run if order else None

    @property
    def acts(self) -> bool:
        """True while this daemon is the one that acts on its engine."""
        return self._acting.held

    @property
    def reliefs(self) -> tuple[Relieved, ...]:
        """What the last run against each full disk came to, since the start; from any thread."""
        return tuple(dict(self._reliefs).values())

    @property
    def stuck(self) -> str:
        """Say which removal Docker does not finish; empty if there is none. From any thread."""
        asked = self._asked
        if asked is None:
            return ""
        since, removal = asked
        lasted = timedelta(seconds=self._clock.monotonic() - since)
        what = f"{removal.object.kind.replace('_', ' ')} {removal.object.name}"
        return f"it has been removing {what} for {words.about(lasted)}" if lasted >= STUCK_AFTER else ""

    def held_up(self) -> str:
        """Say why nothing is removed by itself at present; empty when nothing stands against it."""
        if why := self._barred():
            return why
        if left := self._run_backoff.left(_AGED, self._clock.monotonic()):
            return f"the last run failed: the next one comes in {words.duration(timedelta(seconds=left))}"
        return self._grace.holds()

    def _barred(self) -> str:
        return f"the mode is {self._mode()}" if self._mode() != "enforce" else self._why_not()

    def start(self) -> None:
        """Say what the last daemon left half-done, try to become the one that acts, and start the thread."""
        self.interrupted = self._runs.interrupt()
        self.figures.last_success = self._runs.last_success()
        if (last := self._runs.last()) and last.state is RunState.FAILED:
            self.figures.fault = f"run {last.id}: {last.words}"
        if self.interrupted:
            log.warning(
                "%s in the middle when Shipkeeper ended; not resumed, `shipkeeper status` shows the last one",
                words.count(self.interrupted, "cleanup run was", "cleanup runs were"),
            )
        self._tend()
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end after the current object, and not to wait longer than 8 s for Docker."""
        if self._give_up_at is None:
            self._give_up_at = self._clock.monotonic() + ENDS_WITHIN.total_seconds()
        self._worker.stop()
        # Whoever holds it may be writing to a disk that hangs; the thread looks by itself within 5 s.
        if self._changed.acquire(timeout=_NUDGE_SECONDS):
            self._changed.notify_all()
            self._changed.release()

    def close(self) -> None:
        """End the thread, and let another daemon act."""
        self.stop()
        self._worker.join(_CLOSING)
        self._acting.close()

    def offer(self, removals: Sequence[Removal]) -> None:
        """Hand over what the last cycle would remove; what is taken up of it is the executor's matter."""
        if self._mode() != "observe":
            self.figures.meet(removals)
        # Without the lock: the watch thread waits for nobody. The thread looks at it every round anyway.
        self._offered = removals

    def submit(self, plan: Plan, asked_by: str) -> int:
        """Take a plan on and give the number of its run; ShipkeeperError says why not."""
        if self._mode() == "observe":
            raise ShipkeeperError(OBSERVING)
        if why := self._why_not():
            raise ShipkeeperError(f"nothing can be removed now: {why}")
        if not timedelta(0) <= self._clock.now() - plan.created_at <= LIFE:
            raise ShipkeeperError(
                f"plan {plan.plan_id} has expired: it was made at {words.moment(plan.created_at)} and is good for "
                f"{words.duration(LIFE)}\n  cure: ask for a new one with: shipkeeper plan"
            )
        if not plan.removals:
            raise ShipkeeperError(f"plan {plan.plan_id} names nothing to remove")
        with self._changed:
            if self._order is not None:
                raise ShipkeeperError(
                    f"run {self._order.run}, asked for by {self._order.asked_by}, is still going on\n"
                    "  cure: try again when it has ended; `shipkeeper status` shows it"
                )
            if self._worker.stopping.is_set():
                raise ShipkeeperError("Shipkeeper is stopping")
            self._runs.remember(plan)
            self._order = _Order(self._runs.begin(plan, asked_by), plan, asked_by)
            self._changed.notify_all()
            return self._order.run

    def wait_for_news(self, run: int, seen: int, patience: timedelta) -> Run:
        """Give a run as soon as more than `seen` of its objects are done or it has ended, or as it is by then."""

        def news() -> Run | None:
            found = self._runs.run(run)
            done = sum(step.outcome is not None for step in found.steps)
            return (
                found if done > seen or found.state is not RunState.RUNNING or self._worker.stopping.is_set() else None
            )

        with self._changed:
            found = self._changed.wait_for(news, patience.total_seconds())
        return found or self._runs.run(run)

    def _run(self) -> None:
        while True:
            self._worker.beat()
            with self._changed:
                self._changed.wait_for(self._due, ROUND.total_seconds())
            if self._worker.stopping.is_set():
                break
            try:
                self.round()
            except AbandonedError:
                log.warning("Docker has not answered yet; the run is left as it is, and the next start will say so")
                break
            except Exception:
                # The boundary of a round: whatever one plan met, the next one gets its turn.
                log.exception("a cleanup run broke off")
        self._recheck.close()

    def _due(self) -> bool:
        return self._order is not None or self._worker.stopping.is_set()

    def round(self) -> None:
        """Carry out what is due, if anything is; the thread does this again and again."""
        self._tend()
        order = self._order or self._automatic()
        if order is None:
            return
        try:
            self._carry_out(order)
        except AbandonedError:
            raise  # its run stays open in the store: the next start calls it interrupted
        except Exception:
            # Told where the thread's loop catches it; here the run must not stay open.
            for part in (_AGED, relief.NAME):
                self._judge(part, RunState.FAILED)
            self._end(order, RunState.FAILED, "an error of Shipkeeper itself; its log tells more")
            raise
        finally:
            if self._order is order:  # and not the next one, which may have come since this one ended
                self._order = None  # whatever ended it: it is not begun again

    def _tend(self) -> None:
        """Keep the lock and the time of grace up to date."""
        self._acting.update(wanted=self._mode() != "observe")
        self._grace.look()

    def _automatic(self) -> _Order | None:
        """Make an order of what the last cycle offered, if everything allows it."""
        self._schedules.look({name: each.schedule for name, each in self._book().bounds.items()})
        offered = self._offered
        if not offered:  # nothing new since the last round: that ends no pause
            return None
        self._object_backoff.forget_all_but({removal.object.id for removal in offered})
        now = self._clock.monotonic()
        offered = [each for each in offered if not self._run_backoff.left(_part(each), now)]
        if not offered or self._barred() or self._grace.holds():
            return None
        self._offered = ()
        book = self._book()
        due = {name for name in {each.policy for each in offered} if self._is_due(name, book)}
        rested = [each for each in offered if not self._object_backoff.left(each.object.id, now)]
        eligible, _ = within(self._without_resting(each for each in rested if each.policy in due), book.bounds)
        try:
            if eligible:
                self.submit(make_plan(eligible, "enforce", self._clock.now()), BY_ITSELF)
        except ShipkeeperError as refusal:  # a person was faster, or the engine went away just now
            log.info("no cleanup now: %s", refusal)
        else:
            self._schedules.done(due)
        return self._order

    def _without_resting(self, removals: Iterable[Removal]) -> list[Removal]:
        """Leave out what a full disk is to be spared for a while, and what is due to go for its age anyway."""
        due = list(removals)
        aged = {each.object.id for each in due if each.policy != relief.NAME}
        return [
            each
            for each in due
            if each.policy != relief.NAME or not (each.object.id in aged or self._is_resting(each.filesystem))
        ]

    def _is_resting(self, mountpoint: str) -> bool:
        rest = self._rests.get(mountpoint)
        return rest is not None and rest.holds(self._clock.monotonic(), self._recheck.level(mountpoint))

    def _is_due(self, policy: str, book: Rulebook) -> bool:
        return book.mode_of(policy) == "enforce" and self._schedules.due(policy)

    def _carry_out(self, order: _Order) -> None:
        plan = order.plan
        outcomes: Counter[Outcome] = Counter()
        what = words.count(len(plan.removals), "object")
        log.info("run %d of plan %s, asked for by %s: %s", order.run, plan.plan_id, words.plain(order.asked_by), what)
        turns = list(enumerate(plan.removals))
        aged = [turn for turn in turns if _part(turn[1]) != relief.NAME]
        pressing = [turn for turn in turns if _part(turn[1]) == relief.NAME]
        state, why = self._work(order, iter(aged), outcomes)
        if aged:
            self._judge(_AGED, state)
        for mountpoint in dict.fromkeys(removal.filesystem for _, removal in pressing):
            if state in {RunState.DONE, RunState.FAILED}:  # a full disk does not wait for what fails elsewhere
                here = [turn for turn in pressing if turn[1].filesystem == mountpoint]
                end, said = self._relieve(order, here, outcomes)
                self._judge(relief.NAME, end)
                state, why = (state, f"{why}; {said}") if state is RunState.FAILED else (end, said)
        self._end(order, state, why)
        log.info("run %d %s: %s%s", order.run, state, counted(outcomes), f" · {why}" if why else "")

    def _work(
        self, order: _Order, turns: Iterator[tuple[int, Removal]], outcomes: Counter[Outcome]
    ) -> tuple[RunState, str]:
        """Take one turn after the other, and say how that ended."""
        failures = 0
        for position, removal in turns:
            self._tend()
            if why := self._must_stop(order):
                return RunState.STOPPED, why
            if order.automatic and self._book().mode_of(removal.policy) != "enforce":
                continue  # its policy has another mode since the run began
            answer = self._step(order.run, position, removal)
            if isinstance(turns, Relieving):
                turns.note(answer)
            outcomes[answer.outcome] += 1
            failures = failures + 1 if answer.outcome.is_failure else 0
            if failures == MOST_FAILURES:
                return RunState.FAILED, f"{MOST_FAILURES} objects in a row failed"
        return RunState.DONE, ""

    def _relieve(
        self, order: _Order, turns: Sequence[tuple[int, Removal]], outcomes: Counter[Outcome]
    ) -> tuple[RunState, str]:
        """Remove from one filesystem until it has enough; what is then left of the plan stays without a word."""
        relieving = Relieving(
            turns,
            recheck=self._recheck,
            measure=self._measure,
            book=self._book,
            clock=self._clock,
            wait=self._wait,
            settles=self._settles,
        )
        state, why = self._work(order, relieving, outcomes)
        relieved = relieving.outcome()
        policy = self._book().pressure
        if policy is not None:
            until = self._clock.monotonic() + policy.cooldown.total_seconds()
            self._rests[relieved.mountpoint] = _Rest(until, self._recheck.level(relieved.mountpoint))
        self._reliefs[relieved.mountpoint] = relieved
        self.figures.reliefs[relieved.mountpoint, relieved.end.value] += 1
        return (state, why or f"on {words.plain(relieved.mountpoint)}: {relief.in_words(relieved)}")

    def _wait(self, seconds: float) -> bool:
        """Let so many seconds pass; False once the thread is to end."""
        self._worker.beat()
        return not self._worker.stopping.wait(seconds)

    def _step(self, run: int, position: int, removal: Removal) -> Answer:
        self._worker.beat()
        answer = self._recheck.objection(removal) or self._secured(removal)
        self._worker.beat()
        if not isinstance(answer, Answer):
            # On the disk before Docker is asked: what a crash cuts off is known afterwards.
            self._runs.note(run, position, removal, None)
            answer = self._removed(removal, answer)
        now = self._clock.monotonic()
        self._runs.note(run, position, removal, answer)
        self.figures.count(removal, answer)
        with self._changed:
            self._changed.notify_all()
        # Whatever came of it: what is offered next may have been seen before this step.
        self._object_backoff.failed(removal.object.id, now)
        _log(run, removal, answer)
        return answer

    def _secured(self, removal: Removal) -> Answer | str:
        """Keep the evidence of what ended badly; say what was kept, or why it must stay."""
        try:
            return self._evidence.secure(removal.object, self._worker.beat)
        except EvidenceError as error:
            return Answer(Outcome.NO_EVIDENCE, str(error))

    def _removed(self, removal: Removal, kept: str) -> Answer:
        """Have it removed, and measure what that gained; `kept` says what was kept of it."""
        before = self._measure(removal.filesystem)
        self._asked = self._clock.monotonic(), removal
        try:
            answer = self._taken(removal)
        finally:
            self._asked = None
        if answer.outcome is not Outcome.REMOVED:
            return answer
        after = self._measure(removal.filesystem)
        freed = None if before is None or after is None else after.available_bytes - before.available_bytes
        return replace(answer, words=answer.words or kept, freed_bytes=freed)

    def _taken(self, removal: Removal) -> Answer:
        """
        Remove what was just looked at; an image with several tags loses them one by one, looked at before each.

        Docker takes it whole only by the name of its last tag, or by its id when it bears one: by its id, for a name
        can have come to mean another image.
        """
        left = removal
        while len(left.tags) > 1:
            answer = self._writer.untag(left.tags[-1], self._recheck.api_version)
            # On a full disk Docker takes it off before it fails to write that down: the next look tells.
            if answer.outcome not in {Outcome.REMOVED, Outcome.GONE} and not answer.no_room:
                return _halfway(removal, left, answer)
            left = left.without_last_tag()
            self._worker.beat()
            if objection := self._recheck.objection(left):
                return _halfway(removal, left, objection)
        answer = self._writer.remove(left.object, self._recheck.api_version)
        if answer.no_room and left.object.kind is SubjectKind.IMAGE:
            # The same of its last tag. Without one an image goes by deletions alone, for which no room is needed.
            self._worker.beat()
            answer = self._recheck.objection(left, forgotten=True) or self._writer.remove(
                left.object, self._recheck.api_version
            )
        return _halfway(removal, left, answer)

    def _must_stop(self, order: _Order) -> str:
        """Say why the run may not go on; empty when it may."""
        if self._worker.stopping.is_set():
            return "Shipkeeper is stopping"
        if self._mode() == "observe" or (order.automatic and self._mode() != "enforce"):
            return f"the mode is {self._mode()} by now"
        if not self._acting.held:
            return self._acting.why_not
        return self._grace.holds() if order.automatic else ""

    def _judge(self, part: str, state: RunState) -> None:
        """Let one part of what is to go wait for longer each time that it fails."""
        if state is RunState.FAILED:
            self._run_backoff.failed(part, self._clock.monotonic())
        elif state is RunState.DONE:
            self._run_backoff.over(part)

    def _end(self, order: _Order, state: RunState, why: str) -> None:
        self._recheck.close()
        self._runs.end(order.run, state, why)
        fault = f"run {order.run}: {why}" if state is RunState.FAILED else ""
        self.figures.ended(BY_ITSELF if order.automatic else "person", state, self._clock.now(), fault)
        with self._changed:
            self._order = None
            self._changed.notify_all()

    def _mode(self) -> Mode:
        return self._book().mode

    def _why_not(self) -> str:
        """Say why nothing at all can be removed; empty when it can."""
        if not self._acting.held:
            return self._acting.why_not
        engine = self._engine.engine
        return "" if engine.state is EngineState.UP else engine.why or f"Docker is {engine.state}"

    def _give_up(self) -> bool:
        return self._give_up_at is not None and self._clock.monotonic() >= self._give_up_at


def _part(removal: Removal) -> str:
    """Give the part of a run that a removal belongs to: one fails without the other."""
    return relief.NAME if removal.policy == relief.NAME else _AGED


def _halfway(planned: Removal, left: Removal, answer: Answer) -> Answer:
    """Add to what stopped the removal of an image which of its tags are gone all the same."""
    gone = planned.tags[len(left.tags) or 1 :]
    if answer.outcome is Outcome.REMOVED or not gone:
        return answer
    lost = f"without the tags {', '.join(gone)} by now"
    return Answer(answer.outcome, f"{answer.words}; {lost}" if answer.words else lost)


def _log(run: int, removal: Removal, answer: Answer) -> None:
    """Say what came of one object."""
    what = f"{removal.object.kind} {words.plain(removal.object.name)} · {words.plain(removal.reason)}"
    freed = f" · {words.size(max(answer.freed_bytes, 0))} freed" if answer.freed_bytes is not None else ""
    more = f"{freed} · {words.plain(answer.words)}" if answer.words else freed
    level = logging.WARNING if answer.outcome.is_failure else logging.INFO
    log.log(level, "run %d: %s: %s%s", run, in_words(answer.outcome), what, more)
