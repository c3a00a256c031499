"""What people are told of the news: a pure function of what they know, and of what they want to hear."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from daemon.alerts.matchers import labels_of
from daemon.alerts.silence import first_over
from daemon.alerts.state import Heard, Notice, NoticeKind, Phase
from policies import words
from policies.policy import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from daemon.alerts.ack import Ack
    from daemon.alerts.lifecycle import Step
    from daemon.alerts.silence import Silence
    from daemon.alerts.state import AlertState

REOPENS = timedelta(minutes=10)
"""An alert that fires again within so long of its end is the same incident."""
FLAPS = 6
"""An alert that fires so many times"""
FLAPS_WITHIN = timedelta(hours=1)
"""within this time flaps,"""
SETTLES = timedelta(minutes=30)
"""until it has neither fired nor been over for so long."""
REMINDERS = {
    Severity.CRITICAL: (timedelta(hours=1), timedelta(hours=4)),
    Severity.WARNING: (),
    Severity.INFO: (),
}
"""When people are reminded of what nobody has acknowledged, counted from when they were told; then once a day."""
_DAILY = frozenset({Severity.CRITICAL, Severity.WARNING})
_DAY = timedelta(days=1)
_WHAT = {
    NoticeKind.FIRED: "firing",
    NoticeKind.RESOLVED: "resolved",
    NoticeKind.FLAPPING: "flapping",
    NoticeKind.REMINDED: "still firing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What people have said about alerts."""

    silences: Sequence[Silence] = ()
    """Those in force."""
    ended: Sequence[Silence] = ()
    """Those that are over, and were not told of."""
    acks: Mapping[str, Ack] = field(default_factory=lambda: MappingProxyType({}))
    """By fingerprint."""


@dataclass(frozen=True, slots=True)
class SilenceEnd:
    """A silence that is over, and what it was about that still fires, the most severe and oldest first."""

    silence: Silence
    firing: tuple[AlertState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What one round changed in all, what is to be told of it, and all that happened, told or not."""

    changed: tuple[AlertState, ...]
    notices: tuple[Notice, ...]
    """The most severe first."""
    ends: tuple[SilenceEnd, ...]
    happened: tuple[Happening, ...]


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that became of an alert: `firing`, `resolved`, `ended untold`, with why."""

    what: str
    state: AlertState
    why: str

    def __str__(self) -> str:
        """Give the line of the journal."""
        state = self.state
        return words.plain(f"alert {state.alert} {self.what}: {state.subject.name} on {state.host} · {self.why}")


def tell(known: Mapping[str, AlertState], step: Step, wishes: Wishes, at: datetime) -> Telling:
    """
    Choose what people are told of a round, and note what they know by then.

    `known` are the states before the round that `step` made of them, by fingerprint. `at` is a steady time. People
    are told no bad news of what is silenced or spoken for, nor each turn of what flaps; what is over they are told
    if they knew of it.
    """
    moved = {**known, **{state.fingerprint: state for state in step.changed}}
    news = {notice.state.fingerprint: notice.kind for notice in step.notices}
    after = {key: _wished(_turned(state, news.get(key), at), wishes) for key, state in moved.items()}
    ends = tuple(_end(silence, after.values()) for silence in wishes.ended)
    for end in ends:
        for state in end.firing:
            after[state.fingerprint] = _heard(state, NoticeKind.FIRED, at)
    notices = []
    for key, state in after.items():
        if kind := _due(state, at):
            after[key] = _heard(state, kind, at)
            notices.append(Notice(kind=kind, state=after[key]))
        elif state.heard and state.phase is Phase.INACTIVE and not state.flapping:
            after[key] = replace(state, heard=Heard.NOTHING)  # another alert speaks for it now
    return Telling(
        changed=tuple(state for key, state in after.items() if state is not (was := known.get(key)) and state != was),
        notices=tuple(sorted(notices, key=lambda notice: -notice.state.severity.rank)),
        ends=tuple(end for end in ends if end.firing or end.silence.window),
        happened=tuple(_happenings(step, notices, after)),
    )


def _turned(state: AlertState, news: NoticeKind | None, at: datetime) -> AlertState:
    """Count the turns of an alert, and its incidents."""
    if news is NoticeKind.FIRED:
        goes_on = state.turned_at is not None and at - state.turned_at <= REOPENS
        turns = (*[turn for turn in state.turns if at - turn < FLAPS_WITHIN], at)[-FLAPS:]
        return replace(
            state,
            incident=state.incident + (0 if goes_on and state.incident else 1),
            version=0,
            turns=turns,
            turned_at=at,
            flapping=state.flapping or len(turns) == FLAPS,
        )
    if news is NoticeKind.RESOLVED:
        return replace(state, turned_at=at)
    if state.flapping and not state.unknown and state.turned_at is not None and at - state.turned_at >= SETTLES:
        return replace(state, flapping=False, turns=())
    return state


def _wished(state: AlertState, wishes: Wishes) -> AlertState:
    """Mark an alert as silenced, as acknowledged, or as neither."""
    silenced_by, acked_by = None, ""
    if state.phase.active:
        if wishes.silences and (silence := first_over(wishes.silences, labels_of(state))):
            silenced_by = silence.id
        if state.phase.told and (ack := wishes.acks.get(state.fingerprint)) and ack.holds(state):
            acked_by = ack.by
    if (state.silenced_by, state.acked_by) == (silenced_by, acked_by):
        return state
    return replace(state, silenced_by=silenced_by, acked_by=acked_by)


def _end(silence: Silence, states: Iterable[AlertState]) -> SilenceEnd:
    """Find what the silence was about that fires and is to be heard of now; what flaps is told of as that."""
    still = [
        state
        for state in states
        if state.phase.told
        and not (state.unknown or state.flapping or state.inhibited_by)
        and state.silenced_by is None
        and silence.covers(labels_of(state))
    ]
    return SilenceEnd(silence, tuple(sorted(still, key=lambda state: (-state.severity.rank, state.since))))


def _due(state: AlertState, at: datetime) -> NoticeKind | None:
    """Give what people have to be told, for what they know to be what is."""
    if state.unknown:
        return None
    firing, hushed = state.phase.told, state.silenced_by is not None or bool(state.inhibited_by)
    if firing and not hushed and state.heard and state.told_severity and state.severity.rank > state.told_severity.rank:
        return NoticeKind.ESCALATED
    if state.flapping:
        return NoticeKind.FLAPPING if firing and not hushed and state.heard is not Heard.FLAPPING else None
    if firing:
        return None if hushed else _due_of_firing(state, at)
    over = state.phase is Phase.RESOLVED or (state.phase is Phase.INACTIVE and state.heard is Heard.FLAPPING)
    return NoticeKind.RESOLVED if over and state.heard else None


def _due_of_firing(state: AlertState, at: datetime) -> NoticeKind | None:
    if not state.heard:
        return NoticeKind.FIRED
    if state.heard is Heard.FLAPPING:
        return NoticeKind.REMINDED  # it has settled, and it fires
    reminded = not state.acked_by and state.phase is Phase.FIRING and _reminders(state, at) > state.reminders
    return NoticeKind.REMINDED if reminded else None


def _reminders(state: AlertState, at: datetime) -> int:
    """Give how many times people should have been reminded by now."""
    if state.told_at is None:
        return 0
    passed, first = at - state.told_at, REMINDERS[state.severity]
    began = first[-1] if first else timedelta(0)
    daily = max((passed - began) // _DAY, 0) if state.severity in _DAILY else 0
    return sum(passed >= each for each in first) + daily


def _heard(state: AlertState, kind: NoticeKind, at: datetime) -> AlertState:
    """Note what people know, once they are told this."""
    version = state.version + 1
    match kind:
        case NoticeKind.RESOLVED:
            return replace(state, version=version, heard=Heard.NOTHING, told_severity=None)
        case NoticeKind.REMINDED if state.heard is Heard.FIRING:
            return replace(state, version=version, reminders=_reminders(state, at))
        case NoticeKind.ESCALATED:
            heard = state.heard
        case NoticeKind.FLAPPING:
            heard = Heard.FLAPPING
        case _:
            heard = Heard.FIRING
    return replace(state, version=version, heard=heard, told_at=at, told_severity=state.severity, reminders=0)


def _happenings(step: Step, notices: Sequence[Notice], after: Mapping[str, AlertState]) -> Iterator[Happening]:
    told = {(notice.state.fingerprint, notice.kind) for notice in notices}
    for notice in step.notices:
        state = after[notice.state.fingerprint]
        why = state.resolution if notice.kind is NoticeKind.RESOLVED else " · ".join((state.reason, *state.details))
        hushed = "" if (state.fingerprint, notice.kind) in told else _hushed(state)
        yield Happening(_what(notice), state, f"{why}{hushed}")
    news = {(notice.state.fingerprint, notice.kind) for notice in step.notices}
    for notice in notices:
        if (notice.state.fingerprint, notice.kind) not in news:
            yield Happening(_what(notice), notice.state, notice.state.reason)
    for state in step.quiet:
        yield Happening("ended untold", after[state.fingerprint], state.resolution)


def _what(notice: Notice) -> str:
    return _WHAT.get(notice.kind, f"raised to {notice.state.severity}")


def _hushed(state: AlertState) -> str:
    if state.silenced_by is not None:
        return f" · not told: silence {state.silenced_by}"
    if state.inhibited_by:
        return f" · not told: {state.inhibited_by} speaks for it"
    return " · not told: it is flapping" if state.flapping else " · not told"
