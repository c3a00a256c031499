"""The sink that posts each message as a JSON document to an address of the owner's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from policies import words
from policies.catalogue import BY_NAME

if TYPE_CHECKING:
    from datetime import datetime

    from daemon.alerts.http_call import HttpCall
    from daemon.alerts.message import Message
    from daemon.alerts.sink import Outcome
    from daemon.alerts.state import AlertState

VERSION = 1
"""Of the document: it grows by further keys only; what has another meaning has another version."""


class WebhookSink:
    """Posts each message once per call; whoever calls retries."""

    name = "webhook"

    def __init__(self, call: HttpCall) -> None:
        self._call = call

    def send(self, message: Message) -> Outcome:
        """Post it."""
        return self._call.post(document(message))


def document(message: Message) -> dict[str, Any]:
    """Give what is posted: the message in words, and each alert of it in figures; times are in UTC."""
    return {
        "version": VERSION,
        "kind": message.kind.value if message.kind else "test",
        "host": message.host,
        "title": message.title,
        "text": "\n".join((message.headline, *message.lines)),
        "log": list(message.log_tail),
        "runbook": message.what_to_do or None,
        "alerts": [_alert(state) for state in message.states],
    }


def _alert(state: AlertState) -> dict[str, Any]:
    rule, subject = BY_NAME.get(state.alert), state.subject
    return {
        "fingerprint": state.fingerprint,
        "episode": state.episode,
        "alert": state.alert,
        "name": rule.camel if rule else state.alert,
        "state": state.phase.value,
        "severity": state.severity.value,
        "subject": {
            "kind": subject.kind.value,
            "key": words.plain(subject.key),
            "name": words.plain(subject.name),
        },
        "since": _moment(state.since),
        "fired_at": _moment(state.fired_at),
        "resolved_at": _moment(state.resolved_at),
        "count": state.count,
        "reason": words.plain(state.reason),
        "details": [words.plain(line) for line in state.details],
        "resolution": words.plain(state.resolution) or None,
        "value": state.value,
        "limit": state.limit,
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
