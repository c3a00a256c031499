"""The silences in force: kept in the store, made and ended by people from any thread."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from daemon.alerts import chronicle
from daemon.alerts.silence import RECORD
from daemon.errors import ShipkeeperError
from policies import words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from daemon.alerts.silence import Silence
    from daemon.steady import SteadyClock
    from daemon.store import Store

log = logging.getLogger(__name__)

MOST = 100
"""Silences at a time: each is held against every alert in every cycle."""


class Silences:
    """
    Those in force, and those whose end was not told of yet. `clock` is the one that the store is dated by.

    A silence is over when its time is up, or when somebody ends it. It is remembered until the watch thread has
    told what is still firing.
    """

    def __init__(self, store: Store, clock: SteadyClock) -> None:
        self._store = store
        self._clock = clock
        self._changing = threading.Lock()
        self._all: tuple[Silence, ...] = tuple(_load(store))

    def in_force(self) -> tuple[Silence, ...]:
        """Give those that hold now, the oldest first."""
        return self.at(self._clock.now())[0]

    def at(self, now: datetime) -> tuple[tuple[Silence, ...], tuple[Silence, ...]]:
        """Give those that hold at a steady time, and those that are over by then and not told of; the oldest first."""
        known = self._all  # once: another thread may change it
        return (
            tuple(silence for silence in known if silence.until > now),
            tuple(silence for silence in known if silence.until <= now),
        )

    def begin(self, silence: Silence) -> Silence:
        """Let a silence begin, and give it with its number; ShipkeeperError when there are too many."""
        with self._changing:
            if len(self._all) >= MOST:
                raise ShipkeeperError(
                    f"there are {len(self._all)} silences already\n"
                    "  cure: end one with `shipkeeper alerts unsilence`, or switch an alert off in the configuration"
                )
            made = self._store.write(lambda connection: _insert(connection, silence))
            self._all = (*self._all, made)
        log.info("%s until %s", made.words, words.moment(self._clock.to_wall(made.until)))
        return made

    def end(self, number: int, by: str) -> Silence:
        """End a silence before its time, and give it; ShipkeeperError with those in force where it is none of them."""
        with self._changing:
            now = self._clock.now()
            silence = next((each for each in self._all if each.id == number and each.until > now), None)
            if silence is None:
                held = [f"  {each.words}" for each in self.in_force()]
                raise ShipkeeperError("\n".join([f"there is no silence {number} in force", *held]))
            over = replace(silence, until=now)

            def action(connection: sqlite3.Connection) -> None:
                connection.execute(
                    "UPDATE silences SET record = ? WHERE id = ?", (RECORD.dump_json(over).decode(), number)
                )
                chronicle.save(connection, [chronicle.of_silence(over, "unsilenced", now, by)])

            self._store.write(action)
            self._all = tuple(over if each.id == number else each for each in self._all)
        log.info("%s ended by %s", over.words, words.plain(by))
        return over

    def save_told(self, connection: sqlite3.Connection, ended: Sequence[Silence]) -> None:
        """Note that people know of these ends, inside the caller's transaction; then call `forget`."""
        connection.executemany("DELETE FROM silences WHERE id = ?", [(silence.id,) for silence in ended])
        entries = [chronicle.of_silence(silence, "silence over", self._clock.now()) for silence in ended]
        chronicle.save(connection, entries)

    def forget(self, ended: Iterable[Silence]) -> None:
        """Let go of silences whose end is told."""
        gone = {silence.id for silence in ended}
        with self._changing:
            self._all = tuple(each for each in self._all if each.id not in gone)


def _insert(connection: sqlite3.Connection, silence: Silence) -> Silence:
    number = connection.execute("INSERT INTO silences(record) VALUES ('')").lastrowid
    made = replace(silence, id=number or 0)
    connection.execute("UPDATE silences SET record = ? WHERE id = ?", (RECORD.dump_json(made).decode(), number))
    chronicle.save(connection, [chronicle.of_silence(made, "silenced", made.begun, made.by)])
    return made


def _load(store: Store) -> Iterable[Silence]:
    for row in store.read("SELECT record FROM silences ORDER BY id"):
        try:
            yield RECORD.validate_json(row["record"])
        except ValidationError as fault:
            log.warning("a remembered silence cannot be read, it is over: %s", fault)
