"""What people are told, in words, before any sink gives it its form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.facts import SubjectKind
from daemon.alerts.state import NoticeKind, compose_of
from policies import gpu_words, words
from policies.catalogue import BY_NAME
from policies.policy import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
_SHORT = 80
"""A reason up to so long stands in the title."""
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A neutral message: plain text without markup, control characters made visible.

    A sink cuts what is too long for it and escapes what means something to it.
    """

    mark: str
    """One emoji for how bad it is."""
    title: str
    host: str
    lines: tuple[str, ...]
    """The most important first."""
    log_tail: tuple[str, ...] = ()
    what_to_do: str = ""
    """The place in the documentation."""

    @property
    def headline(self) -> str:
        """The one line that says it all."""
        return f"{self.mark} {self.title} · {self.host}"


def compose(states: Sequence[AlertState], kind: NoticeKind, host: str) -> Message:
    """Say one kind of news about one alert, or about several alerts of the same name in one message."""
    mark = "🟢" if kind is NoticeKind.RESOLVED else _MARKS[max((s.severity for s in states), key=lambda s: s.rank)]
    return Message(
        mark=mark,
        title=words.plain(_title(states, kind)),
        host=words.plain(host),
        lines=tuple(
            words.plain(line) for line in (_lines(states[0], kind) if len(states) == 1 else _list(states, kind))
        ),
        log_tail=_log_tail(states, kind),
        what_to_do="" if kind is NoticeKind.RESOLVED else f"docs/alerts.md#{states[0].alert}",
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
    )


def week(digest: Digest, host: str) -> Message:
    """Say what the policies would have removed in the last week."""
    return Message(
        mark=_MARKS[Severity.INFO],
        title="what a cleanup would have removed in the last week",
        host=words.plain(host),
        lines=tuple(words.plain(line) for line in digest.lines()),
        what_to_do="docs/policies.md",
    )


def reported(report: Report, host: str) -> Message:
    """Say what a report holds."""
    return Message(
        mark=_MARKS[report.severity],
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


def _clause(state: AlertState) -> str:
    rule = BY_NAME.get(state.alert)
    return f"{state.subject.name} {rule.title if rule else state.alert}"


def _title(states: Sequence[AlertState], kind: NoticeKind) -> str:
    first, others = states[0], len(states) - 1
    title = _clause(first)
    if others:
        title += f", and {words.count(others, f'more {_noun(first)}')}{_of_project(first)}"
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
    if kind is NoticeKind.FLAPPING:
        yield "It comes and goes: nothing more is told of it until it has stayed as it is for half an hour."
    if kind is NoticeKind.REMINDED:
        yield f"It still fires, and nobody has acknowledged it: shipkeeper alerts ack {state.fingerprint[:8]}"
    yield " · ".join(_facts(state, "" if _in_title(state) else state.reason))
    yield from state.details
    if state.death:
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


def _also(names: Sequence[str]) -> Iterable[str]:
    """Name many in few lines."""
    for first in range(0, len(names), _NAMES_PER_LINE):
        yield f"also {', '.join(names[first : first + _NAMES_PER_LINE])}"


def _facts(state: AlertState, reason: str) -> Iterable[str]:
    if reason:
        yield reason
    yield from _times(state)
    if compose := compose_of(state.subject):
        yield f"compose project {compose[0]}, service {compose[1]}"
    yield f"since {words.moment(state.since)}"


def _times(state: AlertState) -> Iterable[str]:
    if state.count > 1:
        yield f"{state.count} times"


def _resolved(state: AlertState) -> str:
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
