"""The alerts in the words of Alertmanager's API v2: what to push so that it knows what is wrong now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from collectors.facts import SubjectKind
from daemon.alerts import message
from daemon.alerts.state import NoticeKind, compose_of
from policies import words
from policies.catalogue import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from daemon.alerts.state import AlertState

Pushed: TypeAlias = dict[str, Any]
"""One alert as `POST /api/v2/alerts` takes it."""
Labels: TypeAlias = tuple[tuple[str, str], ...]
"""What Alertmanager tells alerts apart by."""

PATH = "/api/v2/alerts"
HOLDS = timedelta(minutes=4)
"""So long an alert is on there without a word from us: it forgets all at a restart, and we may be gone."""
RESENT = timedelta(minutes=15)
"""So long what is over is sent again."""
_TRIAL = timedelta(minutes=5)
_SUBJECT_LABEL = {
    SubjectKind.CONTAINER: "container",
    SubjectKind.FILESYSTEM: "filesystem",
    SubjectKind.GPU: "gpu",
}
_LONGEST_LOG = 4000


class Told:
    """
    What one Alertmanager was told is wrong, so that it is told of the end of all of it.

    An alert whose severity rises has other labels there: under the old ones it is over.
    """

    def __init__(self) -> None:
        self._firing: Mapping[Labels, Pushed] = {}
        self._ended: dict[Labels, tuple[datetime, Pushed]] = {}

    def round(self, states: Iterable[AlertState], now: datetime) -> list[Pushed]:
        """Give all that is to be pushed now, from what is on and what was on within `RESENT`."""
        states = tuple(states)
        firing = {labels_of(state): alert_of(state, now) for state in states if state.phase.told}
        over = {labels_of(state): alert_of(state, now) for state in states if not state.phase.told}
        for labels, alert in self._firing.items():
            self._ended[labels] = now, {**alert, "endsAt": _written(now)}
        self._ended = {
            labels: (at, alert)
            for labels, (at, alert) in self._ended.items()
            if labels not in firing and labels not in over and abs(now - at) < RESENT
        }
        self._firing = firing
        return [*({**over, **firing}).values(), *(alert for _, alert in self._ended.values())]


def labels_of(state: AlertState) -> Labels:
    """Give the labels of an alert: its name, how bad it is, where, and what it is about."""
    rule, subject = BY_NAME.get(state.alert), state.subject
    labels = {
        "alertname": rule.camel if rule else state.alert,
        "severity": state.severity.value,
        "host": state.host,
    }
    if name := _SUBJECT_LABEL.get(subject.kind):
        labels[name] = subject.name
    if compose := compose_of(subject):
        labels["project"], labels["service"] = compose
    return tuple((name, words.plain(value)) for name, value in labels.items() if value)


def alert_of(state: AlertState, now: datetime) -> Pushed:
    """Give one alert: one that is on holds for a while from now, one that is over ended when it did."""
    begun = state.fired_at or state.since
    ends = now + HOLDS if state.phase.told else (state.resolved_at or now)
    return {
        "labels": dict(labels_of(state)),
        "annotations": {name: text for name, text in _annotations(state).items() if text},
        "startsAt": _written(begun),
        # A wall clock that was set meanwhile must not make it end before it began: that is refused.
        "endsAt": _written(max(begun, ends)),
    }


def trial(host: str, now: datetime) -> Pushed:
    """Give an alert that only shows that alerts arrive, and ends by itself."""
    said = message.trial(host)
    return {
        "labels": {"alertname": "ShipkeeperTest", "severity": "info", "host": words.plain(host)},
        "annotations": {"summary": said.title, "description": "\n".join(said.lines)},
        "startsAt": _written(now),
        "endsAt": _written(now + _TRIAL),
    }


def _annotations(state: AlertState) -> dict[str, str]:
    said = message.compose([state], NoticeKind.FIRED if state.phase.told else NoticeKind.RESOLVED, state.host)
    return {
        "summary": said.title,
        "description": "\n".join(said.lines),
        "log": "\n".join(said.log_tail)[-_LONGEST_LOG:],
        "runbook": f"docs/alerts.md#{state.alert}",
    }


def _written(at: datetime) -> str:
    return at.isoformat()
