"""
The SQL of what stands in sinks that can edit: which message shows which alerts, and how they stood when it did.

Every `now` is a steady time, as in the outbox.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from daemon.alerts.sink import Reference
from daemon.alerts.state import RECORD, AlertState, Phase

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from daemon.store import Store

log = logging.getLogger(__name__)

KEPT = timedelta(days=7)
MOST = 2000
"""Messages that are remembered: of older ones news is posted anew."""
_MOST_CONCERNED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One alert of a message: how it stood when the message was last written, and how it stands now."""

    shown: AlertState
    now: AlertState


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One message that stands in a sink; `digest` tells whether another text would be another."""

    id: int
    reference: Reference
    family: str
    posted: datetime
    edited: datetime
    digest: str
    members: tuple[Member, ...]


def concerned(store: Store, sink: str, family: str, fingerprints: Iterable[str], since: datetime) -> list[Post]:
    """Give the messages that show these alerts, or were posted since then of this family; the newest first."""
    return _load(
        store,
        "SELECT * FROM posts WHERE sink = ? AND (family = ? AND posted >= ? OR id IN (SELECT post FROM post_members"
        " WHERE fingerprint IN (SELECT value FROM json_each(?)))) ORDER BY id DESC LIMIT ?",
        (sink, family, since.timestamp(), json.dumps(list(fingerprints)), _MOST_CONCERNED),
    )


def stale(store: Store, sink: str, edited_before: datetime) -> Post | None:
    """
    Give the message that shows something wrong and was longest not looked at, of those whose alerts changed.

    What was shown tells, and not when: an alert may change while its message is on its way.
    """
    found = _load(
        store,
        "SELECT * FROM posts WHERE sink = ? AND open AND edited <= ? AND EXISTS (SELECT 1 FROM post_members"
        " JOIN alert_states USING (fingerprint) WHERE post = posts.id AND alert_states.record != post_members.record)"
        " ORDER BY edited, id LIMIT 1",
        (sink, edited_before.timestamp()),
    )
    return found[0] if found else None


def add(  # noqa: PLR0913, PLR0917  these are the columns of a row
    connection: sqlite3.Connection,
    sink: str,
    family: str,
    reference: Reference,
    states: Sequence[AlertState],
    digest: str,
    now: datetime,
) -> None:
    """Write that this message stands there, inside the caller's transaction."""
    at = now.timestamp()
    post = connection.execute(
        "INSERT INTO posts(sink, family, channel, ts, posted, edited, digest, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (sink, family, reference.channel, reference.ts, at, at, digest, _open(states)),
    ).lastrowid
    _write_members(connection, post, states)


def edited(connection: sqlite3.Connection, post: int, states: Sequence[AlertState], digest: str, now: datetime) -> None:
    """Write what this message shows now, inside the caller's transaction."""
    connection.execute(
        "UPDATE posts SET edited = ?, digest = ?, open = ? WHERE id = ?", (now.timestamp(), digest, _open(states), post)
    )
    _write_members(connection, post, states)


def moved(connection: sqlite3.Connection, post: int, reference: Reference, now: datetime) -> None:
    """Write that this message now stands elsewhere, inside the caller's transaction."""
    connection.execute(
        "UPDATE posts SET channel = ?, ts = ?, posted = ? WHERE id = ?",
        (reference.channel, reference.ts, now.timestamp(), post),
    )


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """Forget what has been over for a week, or is too much; housekeeping calls it."""
    connection.execute("DELETE FROM posts WHERE NOT open AND edited < ?", ((now - KEPT).timestamp(),))
    connection.execute(
        "DELETE FROM posts WHERE id IN (SELECT id FROM posts ORDER BY id DESC LIMIT -1 OFFSET ?)", (MOST,)
    )
    connection.execute("DELETE FROM post_members WHERE post NOT IN (SELECT id FROM posts)")


def _write_members(connection: sqlite3.Connection, post: int | None, states: Sequence[AlertState]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO post_members(post, fingerprint, record) VALUES (?, ?, ?)",
        [(post, state.fingerprint, RECORD.dump_json(state).decode()) for state in states],
    )


def _open(states: Iterable[AlertState]) -> bool:
    return any(state.phase.told for state in states)


def _load(store: Store, sql: str, params: Sequence[object]) -> list[Post]:
    rows = store.read(sql, params)
    members: dict[int, list[Member]] = {row["id"]: [] for row in rows}
    for row in store.read(
        "SELECT post, post_members.record AS shown, alert_states.record AS now FROM post_members"
        " LEFT JOIN alert_states USING (fingerprint) WHERE post IN (SELECT value FROM json_each(?))"
        " ORDER BY post_members.rowid",
        (json.dumps(list(members)),),
    ):
        if shown := _state(row["shown"]):
            now = _state(row["now"]) if row["now"] else None
            members[row["post"]].append(Member(shown=shown, now=_as_it_stands(shown, now)))
    return [
        Post(
            id=row["id"],
            reference=Reference(row["channel"], row["ts"]),
            family=row["family"],
            posted=datetime.fromtimestamp(row["posted"], UTC),
            edited=datetime.fromtimestamp(row["edited"], UTC),
            digest=row["digest"],
            members=tuple(members[row["id"]]),
        )
        for row in rows
    ]


def _as_it_stands(shown: AlertState, now: AlertState | None) -> AlertState:
    """Give how an alert stands now, unless that is another story already: then the one that was shown is over."""
    if now is None or (now.episode, now.since) == (shown.episode, shown.since):
        return now or shown
    if not shown.phase.told:
        return shown
    return replace(shown, phase=Phase.RESOLVED, resolved_at=None, resolution="it was over, and came again later")


def _state(record: str) -> AlertState | None:
    try:
        return RECORD.validate_json(record)
    except ValidationError as fault:
        log.warning("an alert of a message cannot be read, it is left out: %s", fault)
        return None
