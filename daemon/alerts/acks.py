"""The acknowledgements of alerts: kept in the store, given by people from any thread."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from daemon.alerts import chronicle
from daemon.alerts.ack import RECORD, Ack
from policies import words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from daemon.alerts.state import AlertState
    from daemon.clock import Clock
    from daemon.store import Store

log = logging.getLogger(__name__)

LINGERS = timedelta(days=1)
"""So long an acknowledgement outlives its alert: it may fire again within the same incident."""


class Acks:
    """The newest acknowledgement of each alert. `clock` is the one that the store is dated by."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._changing = threading.Lock()
        self._all: Mapping[str, Ack] = MappingProxyType({ack.fingerprint: ack for ack in _load(store)})

    def by_alert(self) -> Mapping[str, Ack]:
        """Give them by fingerprint; not all are still about what is firing now."""
        return self._all

    def give(self, state: AlertState, by: str, why: str) -> None:
        """Note that somebody looks after an alert that fires."""
        at = self._clock.now()
        ack = Ack(
            fingerprint=state.fingerprint,
            incident=state.incident,
            severity=state.severity,
            by=by,
            why=why,
            at=at,
        )

        def action(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR REPLACE INTO acks(fingerprint, at, record) VALUES (?, ?, ?)",
                (ack.fingerprint, at.timestamp(), RECORD.dump_json(ack).decode()),
            )
            chronicle.save(connection, [chronicle.of_alert(state, "acknowledged", why, at, by)])

        with self._changing:
            self._store.write(action)
            self._all = MappingProxyType({**self._all, ack.fingerprint: ack})
        log.info("%s", words.plain(f"alert {state.alert} acknowledged by {by}: {state.subject.name} on {state.host}"))

    def prune(self) -> None:
        """Forget those whose alert is over; housekeeping calls it."""
        before = (self._clock.now() - LINGERS).timestamp()
        with self._changing:
            gone = self._store.write(lambda connection: _prune(connection, before))
            self._all = MappingProxyType({key: ack for key, ack in self._all.items() if key not in gone})


def _prune(connection: sqlite3.Connection, before: float) -> set[str]:
    rows = connection.execute(
        "DELETE FROM acks WHERE at < ? AND fingerprint NOT IN (SELECT fingerprint FROM alert_states"
        " WHERE json_extract(record, '$.phase') NOT IN ('inactive', 'resolved')) RETURNING fingerprint",
        (before,),
    ).fetchall()
    return {row["fingerprint"] for row in rows}


def _load(store: Store) -> Iterable[Ack]:
    for row in store.read("SELECT record FROM acks"):
        try:
            yield RECORD.validate_json(row["record"])
        except ValidationError as fault:
            log.warning("a remembered acknowledgement cannot be read, it is forgotten: %s", fault)
