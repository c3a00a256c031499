"""What people are told, in words, before any sink gives it its form."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from collectors.facts import SubjectKind
from daemon.alerts.state import SHOWN_ID, NoticeKind, Phase, compose_of
from policies import gpu_words, memory, words
from policies.catalogue import BY_NAME
from policies.policy import Severity

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from datetime import datetime

    from collectors.facts import RestartPolicy
    from daemon.alerts.missed import Missed
    from daemon.alerts.report import Report
    from daemon.alerts.state import AlertState
    from daemon.digest import Digest

MOST_LISTED = 20
"""Alerts that one message lists with what is wrong; the others are named."""
MOST_NAMED = 40
"""Ends that a summary names beyond those that it lists; the rest is counted."""
_NAMES_PER_LINE = 10

_MARKS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵"}
_OVER = "🟢"
_TYPED_AS_IT_IS = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
"""A name that a shell takes for what it is."""
_FURTHER = {
    "cleanup-awaiting-approval": "shipkeeper plan",
    "cleanup-failed": "shipkeeper audit",
    "config-reload-failed": "shipkeeper check-config",
    "notify-degraded": "shipkeeper alerts test",
}
"""What shows more of what is about ourselves."""
_SHORT = 80
"""A reason up to so long stands in the title."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time that a message tells: "since" when."""

    what: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A neutral message: plain text without markup, control characters made visible.

    A sink cuts what is too long for it and escapes what means something to it.
    """

    mark: str
    """One emoji for how bad it is."""
    severity: Severity = Severity.INFO
    over: bool = False
    """True if nothing of it is wrong any more."""
    title: str
    host: str
    lines: tuple[str, ...]
    """The most important first."""
    log_tail: tuple[str, ...] = ()
    moments: tuple[Moment, ...] = ()
    commands: tuple[str, ...] = ()
    """What to type on the host to see more, or to do something about it."""
    what_to_do: str = ""
    """The place in the documentation."""
    earlier: str = ""
    """The address of a message that this one goes on from, if people can still read it."""
    kind: NoticeKind | None = None
    """What of news it is; `None` if it only shows that messages arrive."""
    states: tuple[AlertState, ...] = ()
    """The alerts that it is about, for those sinks whose reader is a program."""

    @property
    def headline(self) -> str:
        """The one line that says it all."""
        return f"{self.mark} {self.title} · {self.host}"

    def calls(self, severities: Container[str]) -> bool:
        """Tell whether people are to be called for it, who want to be for these severities."""
        return not self.over and self.severity in severities


def compose(states: Sequence[AlertState], kind: NoticeKind, host: str) -> Message:
    """Say one kind of news about one alert, or about several alerts of the same name in one message."""
    over = kind is NoticeKind.RESOLVED
    severity = _worst(states)
    return Message(
        mark=_OVER if over else _MARKS[severity],
        severity=severity,
        over=over,
        title=words.plain(_title(states, kind)),
        host=words.plain(host),
        lines=tuple(
            words.plain(line) for line in (_lines(states[0], kind) if len(states) == 1 else _list(states, kind)) if line
        ),
        log_tail=_log_tail(states, kind),
        moments=(Moment("since", min(state.since for state in states)),),
        commands=() if over else _commands(states),
        what_to_do="" if over else f"docs/alerts.md#{states[0].alert}",
        kind=kind,
        states=tuple(states),
    )


def incident(states: Sequence[AlertState], host: str) -> Message:
    """Say how the alerts of one message stand now, those that are over among them: what it is edited to."""
    wrong = [state for state in states if state.phase.told]
    over = [state for state in states if not state.phase.told]
    if not wrong:
        shown = compose(over, NoticeKind.RESOLVED, host)
        ended = any(state.phase is Phase.RESOLVED for state in over)
        return shown if ended else replace(shown, mark=_MARKS[shown.severity])
    shown = compose(wrong, NoticeKind.FIRED, host)
    if not over:
        return shown
    lines = (f"{_OVER} {state.subject.name}: {_resolved(state)}" for state in over[:MOST_LISTED])
    more = _also([state.subject.name for state in over[MOST_LISTED:]], "also over: ")
    return replace(shown, lines=(*shown.lines, *map(words.plain, (*lines, *more))))


def change(states: Sequence[AlertState], kind: NoticeKind) -> str:
    """Say one kind of news about alerts that stand in a message already, in a line each: what its thread gets."""
    lines = [_change(state, kind) for state in states[:MOST_LISTED]]
    return "\n".join(words.plain(line) for line in (*lines, *_also([s.subject.name for s in states[MOST_LISTED:]])))


def acknowledged(states: Sequence[AlertState]) -> str:
    """Say who looks after which alerts of a message, in a line each: what its thread gets."""
    return "\n".join(
        words.plain(f"{state.acked_by} looks after it: {_clause(state)}") for state in states[:MOST_LISTED]
    )


def missed_ends(missed: Missed, host: str) -> Message:
    """Sum up what ended badly too long ago for an alert."""
    others = [end.name for end in missed.ends[MOST_LISTED:]]
    more = [f"and {len(others) - MOST_NAMED} more"] if len(others) > MOST_NAMED else []
    lines = (*list(missed.lines())[:MOST_LISTED], *_also(others[:MOST_NAMED]), *more)
    return Message(
        mark=_MARKS[Severity.WARNING],
        title=words.plain(missed.title),
        host=words.plain(host),
        lines=tuple(words.plain(line) for line in lines),
        what_to_do="docs/alerts.md#container-crashed",
        kind=NoticeKind.SUMMARY,
    )


def week(digest: Digest, host: str) -> Message:
    """Say what the policies would have removed in the last week."""
    return Message(
        mark=_MARKS[Severity.INFO],
        title="what a cleanup would have removed in the last week, and did",
        host=words.plain(host),
        lines=tuple(words.plain(line) for line in digest.lines()),
        what_to_do="docs/policies.md",
        kind=NoticeKind.DIGEST,
    )


def reported(report: Report, host: str) -> Message:
    """Say what a report holds."""
    return Message(
        mark=_MARKS[report.severity],
        severity=report.severity,
        title=words.plain(report.title),
        host=words.plain(host),
        lines=tuple(words.plain(line) for line in report.lines),
        what_to_do=report.what_to_do,
    )


def trial(host: str) -> Message:
    """Give a message that only shows that messages arrive."""
    return Message(
        mark="🔵",
        title="a test message from Shipkeeper",
        host=words.plain(host),
        lines=("Alerts of this host arrive here. There is nothing to do.",),
    )


def summary(state: AlertState) -> str:
    """Say one alert in one line: `trainer-3 crashed: exited 7 (error) after 3 h 12 min`."""
    return words.plain(f"{_clause(state)}: {state.reason}")


def _change(state: AlertState, kind: NoticeKind) -> str:
    match kind:
        case NoticeKind.RESOLVED:
            return f"{_OVER} {_clause(state)} · {_resolved(state)}"
        case NoticeKind.REMINDED:
            return f"{_MARKS[state.severity]} {_clause(state)}: {state.reason}. {_still(state)}"
        case NoticeKind.FLAPPING:
            return f"{_MARKS[state.severity]} {_clause(state)}, and not for the first time: it comes and goes"
        case NoticeKind.ESCALATED:
            return f"{_MARKS[state.severity]} {_clause(state)}, raised to {state.severity}: {state.reason}"
        case _:
            return f"{_MARKS[state.severity]} {_clause(state)}: {state.reason}"


def _still(state: AlertState) -> str:
    return "It still fires." if state.acked_by else "It still fires, and nobody has acknowledged it."


def _worst(states: Iterable[AlertState]) -> Severity:
    return max((state.severity for state in states), key=lambda severity: severity.rank)


def _commands(states: Sequence[AlertState]) -> tuple[str, ...]:
    """Give what shows more: there is no button, for nothing would be behind it."""
    first = states[0]
    commands = [] if first.acked_by else [f"shipkeeper alerts ack {first.fingerprint[:SHOWN_ID]}"]
    if further := _FURTHER.get(first.alert):
        commands.insert(0, further)
    elif first.death and _TYPED_AS_IT_IS.fullmatch(first.subject.name):
        commands.insert(0, f"shipkeeper autopsy {first.subject.name}")
    elif first.subject.kind is SubjectKind.FILESYSTEM:
        commands.insert(0, "shipkeeper plan")
    return tuple(commands) if len(states) == 1 else ("shipkeeper alerts list",)


def _clause(state: AlertState) -> str:
    rule = BY_NAME.get(state.alert)
    return f"{state.subject.name} {rule.title if rule else state.alert}"


def _title(states: Sequence[AlertState], kind: NoticeKind) -> str:
    first, others = states[0], len(states) - 1
    title = _clause(first)
    if others:
        together = {_of_project(state) for state in states} == {_of_project(first)}
        title += f", and {words.count(others, f'more {_noun(first)}')}{_of_project(first) if together else ''}"
        return f"{title} · resolved" if kind is NoticeKind.RESOLVED else title
    if kind is NoticeKind.RESOLVED:
        return f"{title} · {_resolved(first)}"
    return f"{title}: {first.reason}" if _in_title(first) else title


def _noun(state: AlertState) -> str:
    return "GPU" if state.subject.kind is SubjectKind.GPU else state.subject.kind.value


def _in_title(state: AlertState) -> bool:
    """Tell whether the reason of a lasting condition fits the title; what happened has a line of its own."""
    return state.count == 0 and 0 < len(state.reason) <= _SHORT


def _lines(state: AlertState, kind: NoticeKind) -> Iterable[str]:
    if kind is NoticeKind.RESOLVED:
        yield " · ".join(_facts(state, state.reason))
        return
    if kind is NoticeKind.ESCALATED:
        yield f"Raised to {state.severity}."
    if kind is NoticeKind.REMINDED:
        yield _still(state)
    if state.flapping:
        yield "It comes and goes: nothing more is told of it until it has stayed as it is for half an hour."
    if state.acked_by:
        yield f"{state.acked_by} looks after it."
    yield " · ".join(_facts(state, "" if _in_title(state) else state.reason))
    yield from state.details
    if state.death:
        if state.death.memory and (rose := memory.told(state.death.memory)):
            yield rose
        if state.death.gpus:
            yield f"It held {gpu_words.held(state.death.gpus)} until then."
        yield f"image {state.death.image} · container {state.death.container_id[:12]}"
        yield _restart_words(state.death.restart_policy)


def _list(states: Sequence[AlertState], kind: NoticeKind) -> Iterable[str]:
    for state in states[:MOST_LISTED]:
        news = (state.reason, *_times(state), *state.details[:1])
        said = _resolved(state) if kind is NoticeKind.RESOLVED else " · ".join(news)
        yield f"{state.subject.name}: {said}"
    yield from _also([state.subject.name for state in states[MOST_LISTED:]])


def _also(names: Sequence[str], also: str = "also ") -> Iterator[str]:
    """Name many in few lines."""
    for first in range(0, len(names), _NAMES_PER_LINE):
        yield f"{also}{', '.join(names[first : first + _NAMES_PER_LINE])}"


def _facts(state: AlertState, reason: str) -> Iterable[str]:
    if reason:
        yield reason
    yield from _times(state)
    if compose := compose_of(state.subject):
        yield f"compose project {compose[0]}, service {compose[1]}"


def _times(state: AlertState) -> Iterable[str]:
    if state.count > 1:
        yield f"{state.count} times"


def _resolved(state: AlertState) -> str:
    if state.phase is Phase.INACTIVE:
        return f"now {state.resolution}"
    # A wall clock that was set back meanwhile leaves no figure to tell.
    if state.fired_at is None or state.resolved_at is None or state.resolved_at < state.fired_at:
        return f"resolved: {state.resolution}"
    return f"resolved after {words.duration(state.resolved_at - state.fired_at)}: {state.resolution}"


def _of_project(state: AlertState) -> str:
    compose = compose_of(state.subject)
    return f" of compose project {compose[0]}" if compose else ""


def _restart_words(policy: RestartPolicy) -> str:
    if policy.name == "on-failure":
        if not policy.maximum_retries:
            return "Restart policy on-failure: Docker starts it again."
        return f"Restart policy on-failure: Docker tries at most {words.count(policy.maximum_retries, 'time')}."
    if policy.restarts(None):
        return f"Restart policy {policy.name}: Docker starts it again."
    return "Restart policy no: it stays down."


def _log_tail(states: Sequence[AlertState], kind: NoticeKind) -> tuple[str, ...]:
    death = states[0].death
    if len(states) > 1 or kind is NoticeKind.RESOLVED or death is None:
        return ()
    return tuple(words.plain(_ANSI.sub("", line).expandtabs(4)) for line in death.log_tail)
