"""The tables of plans that were shown and of runs that carried them out, object by object."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from collectors.facts import ObjectRef, SubjectKind
from daemon.errors import ShipkeeperError
from daemon.outcome import Answer, Outcome
from daemon.plans import from_json, to_json
from policies.policy import Removal

if TYPE_CHECKING:
    import sqlite3

    from daemon.plans import Plan
    from daemon.steady import SteadyClock
    from daemon.store import Store

KEPT_PLANS: Final = 100
KEPT_FOR: Final = timedelta(days=90)
_SHORTEST_ID: Final = 6


class RunState(StrEnum):
    """How far a run has come."""

    RUNNING = "running"
    DONE = "done"
    """Every object of the plan had its turn; some may have failed."""
    STOPPED = "stopped"
    """It was ended before the last object: a stop of the daemon, another mode, a time of grace."""
    FAILED = "failed"
    """It was ended because one object after the other failed."""
    INTERRUPTED = "interrupted"
    """The daemon ended in the middle of it; it is never resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One object of a run; `outcome` is `None` while Docker has not answered."""

    removal: Removal
    outcome: Outcome | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run as the store knows it."""

    id: int
    plan_hash: str
    asked_by: str
    planned: int
    """How many objects the plan names."""
    begun: datetime
    ended: datetime | None
    state: RunState
    words: str
    """Why it ended before the last object."""
    steps: tuple[Step, ...]


class Runs:
    """Used from any thread; every write is on the disk when its call returns, as far as the store can."""

    def __init__(self, store: Store, clock: SteadyClock) -> None:
        self._store = store
        self._clock = clock

    def remember(self, plan: Plan) -> None:
        """Keep a plan, so that it can be carried out exactly as it was shown; the newest hundred stay."""
        record = json.dumps(to_json(plan))

        def action(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT OR IGNORE INTO plans (hash, created, record) VALUES (?, ?, ?)",
                (plan.hash, self._clock.now().timestamp(), record),
            )
            connection.execute(
                "DELETE FROM plans WHERE rowid NOT IN"
                " (SELECT rowid FROM plans ORDER BY created DESC, rowid DESC LIMIT ?)",
                (KEPT_PLANS,),
            )

        self._store.write(action)

    def plan(self, name: str) -> Plan:
        """Give the plan of this hash, or of its first six characters or more; ShipkeeperError when there is none."""
        name = name.strip().lower()
        if len(name) < _SHORTEST_ID or not set(name) <= set("0123456789abcdef"):
            raise ShipkeeperError("a plan is named by the six characters after the word Plan in: shipkeeper plan")
        rows = self._store.read("SELECT record FROM plans WHERE substr(hash, 1, ?) = ? LIMIT 2", (len(name), name))
        if len(rows) != 1:
            how = "several plans begin" if rows else "no plan that this daemon remembers begins"
            raise ShipkeeperError(f"{how} with {name}\n  cure: ask for a new one with: shipkeeper plan --json")
        return from_json(json.loads(rows[0]["record"]))

    def begin(self, plan: Plan, asked_by: str) -> int:
        """Note that a plan is being carried out, and give the number of the run."""
        values = (plan.hash, asked_by, len(plan.removals), self._clock.now().timestamp(), RunState.RUNNING)
        sql = "INSERT INTO runs (plan_hash, asked_by, planned, begun, state) VALUES (?, ?, ?, ?, ?)"
        return self._store.write(lambda connection: int(connection.execute(sql, values).lastrowid or 0))

    def note(self, run: int, position: int, removal: Removal, answer: Answer | None) -> None:
        """Note one object: before Docker is asked without an answer, then with it."""
        ref = removal.object
        values = (
            *(run, position, ref.kind.value, ref.id, ref.name, removal.policy, removal.reason, removal.size_bytes),
            *((answer.outcome.value, answer.words) if answer else (None, "")),
            self._clock.now().timestamp(),
        )
        sql = (
            "INSERT OR REPLACE INTO steps"
            " (run, position, kind, object_id, name, policy, reason, size_bytes, outcome, words, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        )
        self._store.write(lambda connection: connection.execute(sql, values))

    def end(self, run: int, state: RunState, words: str = "") -> None:
        """Note that a run has ended, and why if that was before its last object."""
        values = (state, words, self._clock.now().timestamp(), run)
        sql = "UPDATE runs SET state = ?, words = ?, ended = ? WHERE id = ?"
        self._store.write(lambda connection: connection.execute(sql, values))

    def interrupt(self) -> int:
        """Mark the runs that an earlier daemon left half-done, and give their number; nothing is resumed."""
        now = self._clock.now().timestamp()
        words = "Shipkeeper ended in the middle of it; it is not resumed"

        def action(connection: sqlite3.Connection) -> int:
            connection.execute(
                "UPDATE steps SET outcome = ? WHERE outcome IS NULL"
                " AND run IN (SELECT id FROM runs WHERE state = 'running')",
                (Outcome.UNKNOWN,),
            )
            return connection.execute(
                "UPDATE runs SET state = 'interrupted', words = ?, ended = ? WHERE state = 'running'", (words, now)
            ).rowcount

        return self._store.write(action)

    def run(self, number: int) -> Run:
        """Give one run; ShipkeeperError when there is none of this number."""
        rows = self._store.read("SELECT * FROM runs WHERE id = ?", (number,))
        if not rows:
            raise ShipkeeperError(f"there is no run {number}; `shipkeeper status` shows the last one")
        return self._run(rows[0])

    def last(self) -> Run | None:
        """Give the newest run, or `None` before the first."""
        rows = self._store.read("SELECT * FROM runs ORDER BY id DESC LIMIT 1")
        return self._run(rows[0]) if rows else None

    def _run(self, row: sqlite3.Row) -> Run:
        steps = self._store.read("SELECT * FROM steps WHERE run = ? ORDER BY position", (row["id"],))
        return Run(
            id=row["id"],
            plan_hash=row["plan_hash"],
            asked_by=row["asked_by"],
            planned=row["planned"],
            begun=self._as_shown(row["begun"]),
            ended=None if row["ended"] is None else self._as_shown(row["ended"]),
            state=RunState(row["state"]),
            words=row["words"],
            steps=tuple(_step(each) for each in steps),
        )

    def _as_shown(self, at: float) -> datetime:
        return self._clock.to_wall(datetime.fromtimestamp(at, UTC))


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """Forget the runs that ended long before this steady time, inside the caller's transaction."""
    before = ((now - KEPT_FOR).timestamp(),)
    connection.execute("DELETE FROM steps WHERE run IN (SELECT id FROM runs WHERE ended < ?)", before)
    connection.execute("DELETE FROM runs WHERE ended < ?", before)


def _step(row: sqlite3.Row) -> Step:
    removal = Removal(
        object=ObjectRef(SubjectKind(row["kind"]), row["object_id"], row["name"]),
        size_bytes=row["size_bytes"],
        filesystem="",
        policy=row["policy"],
        reason=row["reason"],
    )
    return Step(removal=removal, outcome=Outcome(row["outcome"]) if row["outcome"] else None, words=row["words"])
