"""What became of alerts and what people did about them: the log that `shipkeeper alerts history` shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon.alerts.state import SHORTEST_ID
from policies import words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from daemon.alerts.silence import Silence
    from daemon.alerts.state import AlertState
    from daemon.alerts.telling import Happening
    from daemon.store import Store

KEPT = timedelta(days=30)
MOST = 20_000
"""Entries that are kept."""
LONGEST = 500
"""Characters of why something happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that happened; `at` is a steady time. Of a silence as a whole the alert and what follows is empty."""

    number: int = 0
    at: datetime
    what: str
    why: str
    by: str = ""
    """Who did it; empty for what happened by itself."""
    fingerprint: str = ""
    alert: str = ""
    subject: str = ""
    severity: str = ""


def of_alert(state: AlertState, what: str, why: str, at: datetime, by: str = "") -> Entry:
    """Say what became of an alert, or was done about it."""
    return Entry(
        at=at,
        what=what,
        why=words.one_line(why, LONGEST),
        by=by,
        fingerprint=state.fingerprint,
        alert=state.alert,
        subject=state.subject.name,
        severity=state.severity.value,
    )


def of_silence(silence: Silence, what: str, at: datetime, by: str = "") -> Entry:
    """Say what became of a silence, or who began or ended it."""
    return Entry(at=at, what=what, why=words.one_line(silence.words, LONGEST), by=by)


def save_happenings(connection: sqlite3.Connection, happened: Iterable[Happening], at: datetime) -> None:
    """Note what one round brought, inside the caller's transaction."""
    save(connection, [of_alert(each.state, each.what, each.why, at) for each in happened])


def save(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Write entries, inside the caller's transaction."""
    connection.executemany(
        "INSERT INTO alert_log(at, what, why, who, fingerprint, alert, subject, severity)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                each.at.timestamp(),
                each.what,
                each.why,
                each.by,
                each.fingerprint,
                each.alert,
                each.subject,
                each.severity,
            )
            for each in entries
        ],
    )


def read(store: Store, since: datetime, after: int, most: int, about: str = "") -> Sequence[Entry]:
    """
    Give entries since a time, the oldest first, beginning behind the one of this number; at most so many.

    `about` is the name of a subject, or the beginning of an alert's id; empty for everything.
    """
    rows = store.read(
        "SELECT id, at, what, why, who, fingerprint, alert, subject, severity FROM alert_log"
        " WHERE at >= ?1 AND id > ?2 AND (?3 = '' OR subject = ?3 OR"
        " length(?3) >= ?4 AND substr(fingerprint, 1, length(?3)) = ?3) ORDER BY id LIMIT ?5",
        (since.timestamp(), after, about, SHORTEST_ID, most),
    )
    return [
        Entry(
            number=row["id"],
            at=datetime.fromtimestamp(row["at"], UTC),
            by=row["who"],
            **{name: row[name] for name in ("what", "why", "fingerprint", "alert", "subject", "severity")},
        )
        for row in rows
    ]


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """Forget what is older than `KEPT`, or too much; housekeeping calls it."""
    connection.execute("DELETE FROM alert_log WHERE at < ?", ((now - KEPT).timestamp(),))
    connection.execute("DELETE FROM alert_log WHERE id <= (SELECT MAX(id) FROM alert_log) - ?", (MOST,))
