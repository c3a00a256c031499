"""
The SQL of the alerts' memory: their states, and the messages that are due because of them.

Every `now` is a steady time: a wall clock that is set would give up what is due, or hold it back.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from daemon.alerts.missed import RECORD as MISSED
from daemon.alerts.report import RECORD as REPORT
from daemon.alerts.state import RECORD, SHORTEST_ID, Heard, NoticeKind, Phase, compose_of
from daemon.digest import RECORD as DIGEST
from policies import words
from policies.policy import Severity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from daemon.alerts.missed import Missed
    from daemon.alerts.report import Report
    from daemon.alerts.state import AlertState, Notice
    from daemon.digest import Digest
    from daemon.store import Store

log = logging.getLogger(__name__)

CRITICAL_WAIT = timedelta(seconds=5)
"""A critical alert waits at most so long for others to share its message."""
LIFETIME = {
    Severity.CRITICAL: timedelta(hours=72),
    Severity.WARNING: timedelta(hours=24),
    Severity.INFO: timedelta(hours=6),
}
"""How long delivery is tried: after that a message is no longer news."""
MOST_TOGETHER = 60
"""So many alerts share one message, which names each of them; the others are in the next one."""
STORM_FROM = 11
"""So much news of one alert within `STORM_WITHIN` is told together, whatever its compose project."""
STORM_WITHIN = timedelta(seconds=60)
MOST_IN_STORM = 125
STORM = " *"
"""How the family of what is told together ends: no compose project is called so."""
KEPT = timedelta(days=7)
MOST_ENDED = 2000
"""Alerts that are over and remembered, if they have been over for longer than `LATELY`."""
LATELY = timedelta(hours=2)
"""What happened may be found again for an hour: so long at least it must be known as told."""
MOST_DONE = 5000
"""Messages that are done with and remembered."""
_STUBBORN = 4
"""After so many failed tries a message lets the others go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The rows that make one message: one kind of news about one family of alerts, with the newest states."""

    ids: tuple[int, ...]
    kind: NoticeKind
    states: tuple[AlertState, ...]
    rows: tuple[int, ...] = ()
    """The row of each state."""
    family: str = ""
    early: frozenset[int] = frozenset()
    """Those that go along before their time."""
    missed: Missed | None = None
    """What a summary tells of: it has no states."""
    digest: Digest | None = None
    """What a digest tells of: it has none either."""
    report: Report | None = None
    """What a report tells of: it has none either."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many messages a sink has yet to be given, and since when the oldest waits."""

    depth: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Sending:
    """What became of one kind of news for one sink; `at` is when it was done, or will be tried."""

    sink: str
    kind: str
    state: str
    at: datetime
    last_error: str


def save(  # noqa: PLR0913, PLR0917  one transaction of the watch thread, told in full
    connection: sqlite3.Connection,
    changed: Sequence[AlertState],
    notices: Sequence[Notice],
    sinks: Sequence[str],
    group_wait: timedelta,
    now: datetime,
) -> None:
    """Write the changed states, and for each sink what it has to be told of them, inside the caller's transaction."""
    for state in changed:
        connection.execute(
            "INSERT OR REPLACE INTO alert_states(fingerprint, record, updated) VALUES (?, ?, ?)",
            (state.fingerprint, RECORD.dump_json(state).decode(), now.timestamp()),
        )
        if state.phase is Phase.INACTIVE:
            # It became part of another alert: what nobody has read yet is not worth reading any more. But the end
            # of an episode before is: people know of that one. And that it flaps holds for more than this episode.
            kept = {NoticeKind.RESOLVED, NoticeKind.FLAPPING if state.heard is Heard.FLAPPING else None}
            unsent = _unsent(connection, state.fingerprint)
            _drop(connection, [row for row in unsent if row["kind"] not in kept], now)
    for notice in notices:
        for sink in sinks:
            _post(connection, notice, sink, _wait_for(notice, group_wait), now)


def told_of(connection: sqlite3.Connection, state: AlertState) -> tuple[str, ...]:
    """Give the sinks that were told of this episode, or are about to be."""
    rows = connection.execute(
        "SELECT DISTINCT sink FROM outbox WHERE fingerprint = ? AND episode = ? ORDER BY sink",
        (state.fingerprint, state.episode),
    ).fetchall()
    return tuple(row["sink"] for row in rows)


def save_summary(connection: sqlite3.Connection, missed: Missed, sinks: Sequence[str], now: datetime) -> None:
    """Write for each sink that this is to be told, inside the caller's transaction."""
    record = MISSED.dump_json(missed).decode()
    _save_report(connection, NoticeKind.SUMMARY, f"missed {missed.key}", Severity.WARNING, record, sinks, now)


def save_digest(connection: sqlite3.Connection, digest: Digest, sinks: Sequence[str], now: datetime) -> None:
    """Write for each sink that this is to be told, inside the caller's transaction."""
    record = DIGEST.dump_json(digest).decode()
    _save_report(connection, NoticeKind.DIGEST, f"digest {digest.day}", Severity.INFO, record, sinks, now)


def save_report(connection: sqlite3.Connection, report: Report, sinks: Sequence[str], now: datetime) -> None:
    """Write for each sink that this is to be told, inside the caller's transaction."""
    record = REPORT.dump_json(report).decode()
    _save_report(connection, NoticeKind.REPORT, f"report {report.key}", report.severity, record, sinks, now)


def _save_report(  # noqa: PLR0913, PLR0917  these are the columns of a row
    connection: sqlite3.Connection,
    kind: NoticeKind,
    key: str,
    severity: Severity,
    record: str,
    sinks: Sequence[str],
    now: datetime,
) -> None:
    """Write what has no episode; each has a family of its own, for they share no message."""
    at = now.timestamp()
    connection.executemany(
        "INSERT INTO outbox(fingerprint, episode, kind, version, sink, family, severity, record, created, not_before)"
        " VALUES (?, 0, ?, 0, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(key.rpartition(" ")[2], kind, sink, key, severity, record, at, at) for sink in sinks],
    )


def load_states(store: Store) -> dict[str, AlertState]:
    """Give all remembered states by fingerprint; one that cannot be read is forgotten, and said."""
    return _readable(store, store.read("SELECT fingerprint, record FROM alert_states"))


def recall_states(store: Store, fingerprints: Iterable[str]) -> dict[str, AlertState]:
    """Give what is remembered of these alerts, as `load_states` does."""
    rows = store.read(
        "SELECT fingerprint, record FROM alert_states WHERE fingerprint IN (SELECT value FROM json_each(?))",
        (json.dumps(list(fingerprints)),),
    )
    return _readable(store, rows)


def find_states(store: Store, about: str) -> dict[str, AlertState]:
    """Give what is remembered of alerts by the name of their subject, or by the beginning of their id."""
    rows = store.read(
        "SELECT fingerprint, record FROM alert_states"
        " WHERE length(?1) >= ?2 AND substr(fingerprint, 1, length(?1)) = ?1"
        " OR json_valid(record) AND json_extract(record, '$.subject.name') = ?1",
        (about, SHORTEST_ID),
    )
    return _readable(store, rows)


def active_states(store: Store) -> list[AlertState]:
    """Give the alerts that are on."""
    rows = store.read(
        "SELECT fingerprint, record FROM alert_states"
        " WHERE json_valid(record) AND json_extract(record, '$.phase') NOT IN ('inactive', 'resolved')"
    )
    return list(_readable(store, rows).values())


def sendings(store: Store, state: AlertState) -> list[Sending]:
    """Give what was sent, or is due, of this episode, the oldest first."""
    rows = store.read(
        "SELECT sink, kind, state, COALESCE(done, not_before) AS at, last_error FROM outbox"
        " WHERE fingerprint = ? AND episode = ? ORDER BY id",
        (state.fingerprint, state.episode),
    )
    return [
        Sending(row["sink"], row["kind"], row["state"], datetime.fromtimestamp(row["at"], UTC), row["last_error"])
        for row in rows
    ]


def _readable(store: Store, rows: Iterable[sqlite3.Row]) -> dict[str, AlertState]:
    states = {row["fingerprint"]: _state(row["record"]) for row in rows}
    if spoiled := [(key,) for key, state in states.items() if state is None]:
        store.write(lambda connection: _forget_spoiled(connection, spoiled))
    return {key: state for key, state in states.items() if state}


def standing(store: Store, since: datetime) -> tuple[AlertState, ...]:
    """Give all alerts that people may know of: those that are on, and those that were resolved since then."""
    rows = store.read(
        "SELECT fingerprint, record FROM alert_states WHERE json_extract(record, '$.phase') IN ('firing', 'clearing')"
        " OR updated >= ? AND json_extract(record, '$.phase') = 'resolved'",
        (since.timestamp(),),
    )
    return tuple(_readable(store, rows).values())


def next_batch(store: Store, sink: str, now: datetime) -> Batch | None:
    """Give what this sink is to be told first, or `None` if nothing is due."""
    first = store.read(
        "SELECT id, kind, family, attempts FROM outbox WHERE sink = ? AND state = 'due' AND not_before <= ?"
        " ORDER BY attempts >= ?, severity = 'critical' DESC, severity = 'warning' DESC, created, id LIMIT 1",
        (sink, now.timestamp(), _STUBBORN),
    )
    if not first:
        return None
    kind = NoticeKind(first[0]["kind"])
    if first[0]["attempts"] < _STUBBORN and (storm := _storm(store, sink, kind, first[0], now)):
        return storm
    rows = store.read(
        "SELECT outbox.id, outbox.record, alert_states.record AS newest"
        " FROM outbox LEFT JOIN alert_states USING (fingerprint)"
        " WHERE sink = ? AND kind = ? AND family = ? AND state = 'due' AND not_before <= ?"
        " ORDER BY attempts >= ?, severity = 'critical' DESC, severity = 'warning' DESC, created, id LIMIT ?",
        (sink, kind, first[0]["family"], now.timestamp(), _STUBBORN, MOST_TOGETHER),
    )
    ids = tuple(row["id"] for row in rows)
    if kind is NoticeKind.SUMMARY:
        return Batch(ids=ids, kind=kind, states=(), missed=_missed(rows[0]["record"]))
    if kind is NoticeKind.DIGEST:
        return Batch(ids=ids, kind=kind, states=(), digest=_digest(rows[0]["record"]))
    if kind is NoticeKind.REPORT:
        return Batch(ids=ids, kind=kind, states=(), report=_report(rows[0]["record"]))
    states = {row["id"]: state for row in rows if (state := _to_show(kind, row["record"], row["newest"]))}
    family = first[0]["family"]
    return Batch(ids=ids, kind=kind, states=tuple(states.values()), rows=tuple(states), family=family)


def most_together(family: str) -> int:
    """Give how many alerts of a family one message may tell of."""
    return MOST_IN_STORM if family.endswith(STORM) else MOST_TOGETHER


def _storm(store: Store, sink: str, kind: NoticeKind, first: sqlite3.Row, now: datetime) -> Batch | None:
    """
    Give what one message says of very much news of one alert, the worst first; `None` if it is not that much.

    What came in the last minute and still waits goes with what is due first. That leads: its message decides whether
    all of this can go now, and must not be that of something which waits for another edit.
    """
    if kind not in {NoticeKind.FIRED, NoticeKind.RESOLVED}:
        return None
    alert = first["family"].partition(" ")[0]
    rows = store.read(
        "SELECT outbox.id, family, not_before, outbox.record, alert_states.record AS newest"
        " FROM outbox LEFT JOIN alert_states USING (fingerprint)"
        " WHERE sink = ? AND kind = ? AND substr(family, 1, ?) = ? AND state = 'due' AND attempts < ?"
        " AND (not_before <= ? OR attempts = 0 AND created >= ?)"
        " ORDER BY outbox.id = ? DESC, severity = 'critical' DESC, severity = 'warning' DESC, created, id",
        (
            *(sink, kind, len(alert) + 1, f"{alert} ", _STUBBORN),
            *(now.timestamp(), (now - STORM_WITHIN).timestamp(), first["id"]),
        ),
    )
    families = {row["family"] for row in rows}
    if len(rows) < STORM_FROM or (len(families) == 1 and len(rows) <= MOST_TOGETHER):
        return None
    rows = rows[:MOST_IN_STORM]
    states = {row["id"]: state for row in rows if (state := _to_show(kind, row["record"], row["newest"]))}
    return Batch(
        ids=tuple(row["id"] for row in rows),
        kind=kind,
        states=tuple(states.values()),
        rows=tuple(states),
        family=f"{alert}{STORM}",
        early=frozenset(row["id"] for row in rows if row["not_before"] > now.timestamp()),
    )


def next_due(store: Store, sink: str) -> datetime | None:
    """Give the time at which this sink's next message is due, or `None` if there is none."""
    rows = store.read("SELECT MIN(not_before) AS at FROM outbox WHERE sink = ? AND state = 'due'", (sink,))
    return _moment(rows[0]["at"])


def backlog(store: Store, sink: str) -> Backlog:
    """Count what this sink has yet to be given."""
    rows = store.read(
        "SELECT COUNT(*) AS depth, MIN(created) AS oldest FROM outbox WHERE sink = ? AND state = 'due'", (sink,)
    )
    return Backlog(rows[0]["depth"], _moment(rows[0]["oldest"]))


# A row that was dropped while it was being sent stays dropped: hence `state = 'due'` in all of them.


def mark_sent(
    store: Store, ids: Sequence[int], now: datetime, note: Callable[[sqlite3.Connection, datetime], None] | None = None
) -> None:
    """Note that these were delivered, and in the same transaction what else there is to note of it."""

    def action(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "UPDATE outbox SET state = 'sent', attempts = attempts + 1, last_error = '', done = ?"
            " WHERE id = ? AND state = 'due'",
            [(now.timestamp(), one) for one in ids],
        )
        if note:
            note(connection, now)

    store.write(action)


def mark_retry(store: Store, ids: Sequence[int], why: str, not_before: datetime, pausing: str = "") -> None:
    """Note that these failed once more; they are due again at `not_before`, as all is of a sink that is `pausing`."""

    def action(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "UPDATE outbox SET attempts = attempts + 1, last_error = ?, not_before = ? WHERE id = ? AND state = 'due'",
            [(why, not_before.timestamp(), one) for one in ids],
        )
        if pausing:
            connection.execute(
                "INSERT OR REPLACE INTO pauses(sink, until) VALUES (?, ?)", (pausing, not_before.timestamp())
            )

    store.write(action)


def forgive(store: Store, sink: str) -> None:
    """Let nothing of what is due count as stubborn: it was the sink that failed, and not the message."""
    _mark(store, "UPDATE outbox SET attempts = 1 WHERE sink = ? AND state = 'due' AND attempts > 1", [(sink,)])


def claim(store: Store, batch: Batch, now: datetime) -> Batch:
    """
    Let all of what is sent now be due by now, and give what still is to be told of it.

    Else, if we were killed when it has been delivered, the end of what went along early would not be told: it would
    be taken for something that was over before anybody was to hear of it.
    """
    early = batch.early.intersection(batch.ids)
    if not early:
        return batch

    def action(connection: sqlite3.Connection) -> set[int]:
        sql = "UPDATE outbox SET not_before = ? WHERE id = ? AND state = 'due'"
        return {id_ for id_ in early if connection.execute(sql, (now.timestamp(), id_)).rowcount}

    over = early - store.write(action)
    shown = [(row, state) for row, state in zip(batch.rows, batch.states, strict=True) if row not in over]
    return replace(
        batch,
        ids=tuple(id_ for id_ in batch.ids if id_ not in over),
        rows=tuple(row for row, _ in shown),
        states=tuple(state for _, state in shown),
    )


def hold(store: Store, ids: Sequence[int], until: datetime) -> None:
    """Let these wait, though nothing failed."""
    _mark(
        store,
        "UPDATE outbox SET not_before = ? WHERE id = ? AND state = 'due'",
        [(until.timestamp(), one) for one in ids],
    )


def pause_of(store: Store, sink: str) -> datetime | None:
    """Give the time until which this sink asked to be left alone, if it did and nobody replaced it since."""
    rows = store.read("SELECT until FROM pauses WHERE sink = ?", (sink,))
    return _moment(rows[0]["until"]) if rows else None


def hurry(store: Store, sink: str, now: datetime) -> None:
    """Make due now what this sink has failed to take so far, and forget that it asked to be left alone."""

    def action(connection: sqlite3.Connection) -> None:
        connection.execute(
            "UPDATE outbox SET not_before = MIN(not_before, ?) WHERE sink = ? AND state = 'due' AND attempts > 0",
            (now.timestamp(), sink),
        )
        connection.execute("DELETE FROM pauses WHERE sink = ?", (sink,))

    store.write(action)


def mark_failed(store: Store, ids: Sequence[int], why: str, now: datetime) -> None:
    """Note that these can never be delivered."""
    _mark(
        store,
        "UPDATE outbox SET state = 'failed', attempts = attempts + 1, last_error = ?, done = ?"
        " WHERE id = ? AND state = 'due'",
        [(why, now.timestamp(), one) for one in ids],
    )


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """Give up what is no longer news, and forget what is over for a week, or too much; housekeeping calls it."""
    _give_up(connection, now)
    _forget_surplus(connection, now)
    connection.execute("DELETE FROM pauses WHERE until < ?", (now.timestamp(),))
    before = (now - KEPT).timestamp()
    connection.execute("DELETE FROM outbox WHERE state != 'due' AND done < ?", (before,))
    # A state outlives its messages: it holds the number of the next episode, which must be a new one to them.
    connection.execute(
        "DELETE FROM alert_states WHERE updated < ? AND json_extract(record, '$.phase') IN ('inactive', 'resolved')"
        " AND fingerprint NOT IN (SELECT fingerprint FROM outbox)",
        (before,),
    )


def _forget_spoiled(connection: sqlite3.Connection, fingerprints: Sequence[tuple[str]]) -> None:
    """Forget states that cannot be read: no query can look into them either."""
    connection.executemany("DELETE FROM alert_states WHERE fingerprint = ?", fingerprints)
    # Their next episode begins to count anew, and must not be taken for one that was told.
    connection.executemany("UPDATE outbox SET episode = -id WHERE fingerprint = ?", fingerprints)


def _give_up(connection: sqlite3.Connection, now: datetime) -> None:
    for severity, lifetime in LIFETIME.items():
        given_up = connection.execute(
            "UPDATE outbox SET state = 'failed', done = ?, last_error = 'given up: ' || last_error"
            " WHERE state = 'due' AND severity = ? AND created < ?",
            (now.timestamp(), severity, (now - lifetime).timestamp()),
        ).rowcount
        if given_up:
            log.error(
                "gave up %s of severity %s: not delivered within %s",
                words.count(given_up, "message"),
                severity,
                words.duration(lifetime),
            )


def _forget_surplus(connection: sqlite3.Connection, now: datetime) -> None:
    """Forget the oldest of what is over, where names without number come and go."""
    surplus = connection.execute(
        "SELECT fingerprint FROM alert_states WHERE json_extract(record, '$.phase') IN ('inactive', 'resolved')"
        " AND updated < ? AND fingerprint NOT IN (SELECT fingerprint FROM outbox WHERE state = 'due')"
        " ORDER BY updated DESC LIMIT -1 OFFSET ?",
        ((now - LATELY).timestamp(), MOST_ENDED),
    ).fetchall()
    # With its messages: the next episode begins to count anew, and must not be taken for one of theirs.
    for table in ("outbox", "alert_states"):
        connection.executemany(f"DELETE FROM {table} WHERE fingerprint = ?", surplus)  # noqa: S608  two of our tables
    connection.execute(
        "DELETE FROM outbox WHERE id IN"
        " (SELECT id FROM outbox WHERE state != 'due' ORDER BY done DESC LIMIT -1 OFFSET ?)",
        (MOST_DONE,),
    )


def _post(connection: sqlite3.Connection, notice: Notice, sink: str, wait: timedelta, now: datetime) -> None:
    state = notice.state
    unsent = [row for row in _unsent(connection, state.fingerprint) if row["sink"] == sink]
    at = now + wait
    match notice.kind:
        case NoticeKind.FIRED | NoticeKind.FLAPPING:
            _drop(connection, unsent, now)  # of an older episode: the new one says more
        case NoticeKind.REMINDED if any(row["kind"] != NoticeKind.RESOLVED for row in unsent):
            return  # it has yet to be told at all
        case NoticeKind.ESCALATED if any(row["kind"] == NoticeKind.FIRED for row in unsent):
            # The first message shows the newest state when it goes out: it only has to go sooner.
            connection.executemany(
                "UPDATE outbox SET severity = ?, not_before = MIN(not_before, ?) WHERE id = ?",
                [(state.severity, at.timestamp(), row["id"]) for row in unsent],
            )
            return
        case NoticeKind.RESOLVED:
            _drop(connection, unsent, now)
            first = [row for row in unsent if row["kind"] == NoticeKind.FIRED]
            waiting = any(row["attempts"] == 0 and row["not_before"] > now.timestamp() for row in first)
            if waiting and not _heard_of(connection, state.fingerprint, sink):
                return  # over before anybody was to hear of it
        case _:
            pass
    family = _family(state)
    connection.execute(
        "INSERT INTO outbox(fingerprint, episode, kind, version, sink, family, severity, record, created, not_before)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            state.fingerprint,
            state.episode,
            notice.kind,
            state.version,
            sink,
            family,
            state.severity,
            RECORD.dump_json(state).decode(),
            now.timestamp(),
            _join_group(connection, (sink, notice.kind, family), now.timestamp(), at.timestamp()),
        ),
    )


def _join_group(connection: sqlite3.Connection, group: tuple[str, str, str], now: float, at: float) -> float:
    """Give the time at which a message goes out: with those of its family that wait already, if they go sooner."""
    row = connection.execute(
        "SELECT MIN(not_before) AS at FROM outbox"
        " WHERE sink = ? AND kind = ? AND family = ? AND state = 'due' AND attempts = 0 AND not_before > ?",
        (*group, now),
    ).fetchone()
    return at if row["at"] is None else min(row["at"], at)


def _wait_for(notice: Notice, group_wait: timedelta) -> timedelta:
    return min(group_wait, CRITICAL_WAIT) if notice.state.severity is Severity.CRITICAL else group_wait


def _family(state: AlertState) -> str:
    """Name what shares one message: the same alert within one compose project, or outside of any."""
    compose = compose_of(state.subject)
    return f"{state.alert} {compose[0] if compose else ''}"


def _unsent(connection: sqlite3.Connection, fingerprint: str) -> list[sqlite3.Row]:
    return connection.execute(
        "SELECT id, sink, kind, attempts, not_before FROM outbox WHERE fingerprint = ? AND state = 'due'",
        (fingerprint,),
    ).fetchall()


def _heard_of(connection: sqlite3.Connection, fingerprint: str, sink: str) -> bool:
    """
    Tell whether people may know of it as something that is wrong now, from an episode before.

    What was due when it was dropped may have been delivered by a daemon that was killed before it could note that.
    """
    newest = connection.execute(
        "SELECT kind FROM outbox WHERE fingerprint = ? AND sink = ?"
        " AND (state = 'sent' OR state = 'dropped' AND kind != 'resolved' AND not_before <= done)"
        " ORDER BY id DESC LIMIT 1",
        (fingerprint, sink),
    ).fetchone()
    return newest is not None and newest["kind"] != NoticeKind.RESOLVED


def _drop(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row], now: datetime) -> None:
    connection.executemany(
        "UPDATE outbox SET state = 'dropped', done = ? WHERE id = ?", [(now.timestamp(), row["id"]) for row in rows]
    )


def _mark(store: Store, sql: str, rows: Sequence[tuple[object, ...]]) -> None:
    store.write(lambda inside: inside.executemany(sql, rows))


def _moment(timestamp: float | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def _to_show(kind: NoticeKind, record: str, newest: str | None) -> AlertState | None:
    """Choose what a message shows: how the alert stands now, unless that is another story than the one to tell."""
    noticed = _state(record)
    if noticed is None or kind is NoticeKind.RESOLVED or newest is None:
        return noticed
    now = _state(newest)
    return now if now and now.phase.told and now.episode == noticed.episode else noticed


def _missed(record: str) -> Missed | None:
    try:
        return MISSED.validate_json(record)
    except ValidationError as fault:
        log.warning("a remembered summary cannot be read, it is left out: %s", fault)
        return None


def _digest(record: str) -> Digest | None:
    try:
        return DIGEST.validate_json(record)
    except ValidationError as fault:
        log.warning("a remembered digest cannot be read, it is left out: %s", fault)
        return None


def _report(record: str) -> Report | None:
    try:
        return REPORT.validate_json(record)
    except ValidationError as fault:
        log.warning("a remembered report cannot be read, it is left out: %s", fault)
        return None


def _state(record: str) -> AlertState | None:
    try:
        return RECORD.validate_json(record)
    except ValidationError as fault:
        log.warning("a remembered alert cannot be read, it is left out: %s", fault)
        return None
