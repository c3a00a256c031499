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
from daemon.records import readable
from policies.policy import Removal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

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
    freed_bytes: int | None = None
    """What its filesystem had more afterwards; `None` where that was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One step with the run that it belongs to; `entry` orders all of them by their end."""

    entry: int
    at: datetime
    run: int
    plan_hash: str
    asked_by: str
    step: Step


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one policy did in the newest run in which it did anything; `at` is the end of its last object."""

    at: datetime
    objects: int
    removed: int
    freed_bytes: int | None
    """As far as it was measured."""


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
        now = self._clock.now().timestamp()
        self._store.write(lambda connection: _note(connection, (run, position), removal, answer, now))

    def end(self, run: int, state: RunState, words: str = "") -> None:
        """Note that a run has ended, and why if that was before its last object: the others were not begun."""
        now = self._clock.now().timestamp()

        def action(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE runs SET state = ?, words = ?, ended = ? WHERE id = ?", (state, words, now, run))
            if state is not RunState.DONE:
                _note_rest(connection, run, words, now)

        self._store.write(action)

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
            open_runs = [row["id"] for row in connection.execute("SELECT id FROM runs WHERE state = 'running'")]
            for run in open_runs:
                _note_rest(connection, run, words, now)
            connection.execute(
                "UPDATE runs SET state = 'interrupted', words = ?, ended = ? WHERE state = 'running'", (words, now)
            )
            return len(open_runs)

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

    def turns(self) -> Mapping[str, Turn]:
        """Give, by policy, what it did when it last did anything."""
        rows = self._store.read(
            "WITH newest AS (SELECT policy, MAX(run) AS run FROM steps WHERE outcome IS NOT NULL GROUP BY policy)"
            " SELECT policy, MAX(at) AS at, COUNT(*) AS objects, SUM(outcome = ?) AS removed,"
            " SUM(freed_bytes) AS freed FROM steps JOIN newest USING (policy, run)"
            " WHERE outcome IS NOT NULL GROUP BY policy",
            (Outcome.REMOVED,),
        )
        return {
            row["policy"]: Turn(
                at=self._as_shown(row["at"]),
                objects=row["objects"],
                removed=row["removed"],
                freed_bytes=row["freed"],
            )
            for row in rows
        }

    def last_success(self) -> datetime | None:
        """Give when the newest run ended in which every object had its turn, or `None` before the first."""
        rows = self._store.read("SELECT MAX(ended) AS at FROM runs WHERE state = ?", (RunState.DONE,))
        return None if rows[0]["at"] is None else self._as_shown(rows[0]["at"])

    def decisions(self, since: datetime, after: int, at_most: int) -> list[Decision]:
        """Give the steps that ended at or after `since`, a wall time, and later than the entry `after`."""
        rows = self._store.read(
            "SELECT steps.rowid AS entry, steps.*, runs.plan_hash, runs.asked_by FROM steps"
            " JOIN runs ON runs.id = steps.run WHERE outcome IS NOT NULL AND at >= ? AND steps.rowid > ?"
            " ORDER BY steps.rowid LIMIT ?",
            (self._clock.of_wall(since).timestamp(), after, at_most),
        )
        return [
            Decision(
                entry=row["entry"],
                at=self._as_shown(row["at"]),
                run=row["run"],
                plan_hash=row["plan_hash"],
                asked_by=row["asked_by"],
                step=_step(row),
            )
            for row in rows
        ]

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
        filesystem=row["filesystem"],
        policy=row["policy"],
        reason=row["reason"],
    )
    return Step(
        removal=removal,
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        words=row["words"],
        freed_bytes=row["freed_bytes"],
    )


def _note(
    connection: sqlite3.Connection, place: tuple[int, int], removal: Removal, answer: Answer | None, now: float
) -> None:
    """Write the step at this place: number of the run, position in its plan."""
    ref = removal.object
    connection.execute(
        "INSERT OR REPLACE INTO steps"
        " (run, position, kind, object_id, name, policy, reason, size_bytes, filesystem,"
        " outcome, words, freed_bytes, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(*place, ref.kind.value, ref.id, ref.name, removal.policy, removal.reason),
            *(removal.size_bytes, removal.filesystem),
            *((answer.outcome.value, answer.words, answer.freed_bytes) if answer else (None, "", None)),
            now,
        ),
    )


def _note_rest(connection: sqlite3.Connection, run: int, why: str, now: float) -> None:
    """Note the objects of a run that had no turn, as far as its plan is still known."""
    rows = connection.execute("SELECT record FROM plans WHERE hash = (SELECT plan_hash FROM runs WHERE id = ?)", (run,))
    begun = {row["position"] for row in connection.execute("SELECT position FROM steps WHERE run = ?", (run,))}
    for plan in readable(rows, lambda row: from_json(json.loads(row["record"]))):
        for position, removal in enumerate(plan.removals):
            if position not in begun:
                _note(connection, (run, position), removal, Answer(Outcome.NOT_BEGUN, why), now)
