"""Which containers crashed, were killed for memory, or keep restarting."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from collectors.facts import HealthStatus, Intent, SourceName
from policies import knobs, words
from policies.histories import History, histories
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Occurrence, Severity
from policies.subjects import speakers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from collectors.facts import Container, Death, Facts, Subject

_CRASHED = "container-crashed"
_OOM_KILLED = "container-oom-killed"
_RESTART_LOOP = "container-restart-loop"
_SEVERITY = {_CRASHED: Severity.WARNING, _OOM_KILLED: Severity.WARNING, _RESTART_LOOP: Severity.CRITICAL}
_LEDGER = timedelta(hours=1)
"""How far back the facts show deaths."""

_Finding: TypeAlias = tuple[ConditionState, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashes:
    """Tell each crash and each kill for memory once, and a loop of them as the one thing that it is."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = (_CRASHED, _OOM_KILLED, _RESTART_LOOP)

    deaths: int = 5
    """So many ends that nobody asked for make a loop,"""
    window: timedelta = timedelta(minutes=10)
    """when they happen within this time."""
    quiet: timedelta = timedelta(minutes=15)
    """A loop is over when there was no such end for so long."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(window=self.window, quiet=self.quiet)
        knobs.within(_LEDGER, window=self.window, quiet=self.quiet)
        if self.deaths < 2:  # noqa: PLR2004  one end is no loop
            raise ValueError("deaths must be 2 or more")

    def decide(self, facts: Facts) -> Iterator[Occurrence | Condition]:
        """Yield what happened within the last hour, and how each container stands now."""
        for history in histories(facts):
            yield from _crashes(history)
            yield from _oom_kills(history)
            yield from self._conditions(history, facts)

    def _conditions(self, history: History, facts: Facts) -> Iterator[Condition]:
        subject, container = history.subject, history.container
        if container is None:
            for alert in self.alerts:
                yield _condition(alert, subject, (ConditionState.BETWEEN, "it is gone"))
        elif not audible(container.name, container.labels, facts.ignore):
            yield from muted(self.alerts, subject)
        else:
            yield _condition(_CRASHED, subject, _crashed(history, container))
            yield _condition(_OOM_KILLED, subject, _oom_killed(history, container))
            yield self._loop(history, facts.now)

    def looping(self, facts: Facts) -> frozenset[str]:
        """Give by subject key who keeps restarting now: what is muted, too, for that is about messages."""
        deaths: defaultdict[str, list[Death]] = defaultdict(list)
        for death in facts.deaths:
            deaths[death.subject.key].append(death)
        often = {key: tuple(ends) for key, ends in deaths.items() if len(ends) >= self.deaths}
        if not often:
            return frozenset()  # nearly always
        present = {each.subject.key: each for each in speakers(facts.containers) if each.subject.key in often}
        lives = [
            History(subject=each.subject, container=each, deaths=often[key], oom_kills=())
            for key, each in present.items()
        ]
        return frozenset(each.subject.key for each in lives if self._loop(each, facts.now).state is ConditionState.BAD)

    def _loop(self, history: History, now: datetime) -> Condition:
        ends = [death for death in history.deaths if _unintended(death)]
        recent = [death for death in ends if death.age(now) <= self.window]
        state, reason = self._looping(history, ends, recent, now)
        return Condition(
            alert=_RESTART_LOOP,
            subject=history.subject,
            severity=_SEVERITY[_RESTART_LOOP],
            state=state,
            reason=reason,
            value=float(len(recent)),
            limit=float(self.deaths),
        )

    def _looping(self, history: History, ends: Sequence[Death], recent: Sequence[Death], now: datetime) -> _Finding:
        if not history.alive and history.deaths and history.deaths[-1].intent is not Intent.NONE:
            return ConditionState.OK, "somebody stopped it"
        if len(recent) >= self.deaths:
            times = f"{len(recent)} times within {words.duration(self.window)}"
            return ConditionState.BAD, f"ended {times}, last: {_told(recent[-1])}"
        if ends and ends[-1].age(now) < self.quiet:
            times = f"{words.count(len(recent), 'time')} within {words.duration(self.window)}"
            return ConditionState.BETWEEN, f"ended {times}"
        return ConditionState.OK, f"no such end for {words.duration(self.quiet)}"


def alert_of(death: Death) -> str:
    """Give the alert that speaks of a bad end."""
    return _OOM_KILLED if death.oom else _CRASHED


def _crashes(history: History) -> Iterator[Occurrence]:
    for death in history.deaths:
        if death.bad and not death.oom:
            yield _occurrence(_CRASHED, history.subject, death, _told(death))


def _oom_kills(history: History) -> Iterator[Occurrence]:
    for death in history.deaths:
        # What dies while the whole engine goes down is no news of this container.
        if death.oom and death.intent is not Intent.ENGINE:
            yield _occurrence(_OOM_KILLED, history.subject, death, _told_oom(death))
    for kill in history.oom_kills:
        yield Occurrence(
            alert=_OOM_KILLED,
            subject=history.subject,
            severity=_SEVERITY[_OOM_KILLED],
            at=kill.at,
            key=f"{kill.container_id}@{kill.at.isoformat()}",
            reason=f"{words.count(kill.count, 'process', 'processes')} killed, the container lives on",
        )


def _crashed(history: History, container: Container) -> _Finding:
    if not history.alive:
        return _ended(history, container)
    if container.probed is HealthStatus.UNHEALTHY:
        return ConditionState.BETWEEN, "running again, but unhealthy"
    return ConditionState.OK, "running again"


def _oom_killed(history: History, container: Container) -> _Finding:
    return (ConditionState.OK, "running without another kill") if history.alive else _ended(history, container)


def _ended(history: History, container: Container) -> _Finding:
    if history.ended_well:
        return ConditionState.OK, "its last end was clean or wanted"
    return ConditionState.BETWEEN, f"not running: {container.state}"


def _unintended(death: Death) -> bool:
    """Tell an end that counts for a loop; a clean exit does only where Docker itself starts the container again."""
    clean = death.exit_code == 0 and not death.oom
    return death.intent is Intent.NONE and (not clean or death.restart_policy.restarts(0))


def _told(death: Death) -> str:
    after = f" after {words.duration(death.uptime)}" if death.uptime is not None else ""
    return f"{words.exit_code(death.exit_code)}{after}{', found only later' if death.inferred else ''}"


def _told_oom(death: Death) -> str:
    limit = death.memory_limit_bytes
    return f"{_told(death)}, " + (
        "no memory limit of its own" if limit is None else f"memory limit {words.size(limit)}"
    )


def _occurrence(alert: str, subject: Subject, death: Death, reason: str) -> Occurrence:
    return Occurrence(
        alert=alert,
        subject=subject,
        severity=_SEVERITY[alert],
        at=death.finished_at,
        key=death.key,
        reason=reason,
        death=death,
    )


def _condition(alert: str, subject: Subject, finding: _Finding) -> Condition:
    state, reason = finding
    return Condition(alert=alert, subject=subject, severity=_SEVERITY[alert], state=state, reason=reason)
