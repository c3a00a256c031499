"""What each policy would have removed in the last week, and did: the figures that let people switch it on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from daemon.outcome import Outcome
from daemon.stored import Stored
from policies import words

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from daemon.snapshot import Snapshot
    from daemon.steady import SteadyClock
    from daemon.store import Store
    from policies.policy import Removal

WEEK: Final = timedelta(days=7)
DAILY: Final = timedelta(hours=24)
MOST_NOTED: Final = 20_000
"""Objects that are remembered; of a host with more the ones seen last."""
_TOLD: Final = "digest_told"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyWeek:
    """
    One policy's week: objects that it chose, and those of them that were removed.

    The build cache is one object, however often it is pruned.
    """

    policy: str
    chosen: int
    size_bytes: int | None
    """What the chosen ones take, as far as it was measured; `None` where nothing of it was."""
    unmeasured: int
    removed: int
    freed_bytes: int | None
    """What was measured when they went; `None` where nothing was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What one message tells, `day` being the number of the day that it is told on."""

    day: int
    weeks: tuple[PolicyWeek, ...]

    def lines(self) -> Iterator[str]:
        """Yield a line for each policy."""
        for week in self.weeks:
            yield f"{week.policy}: {in_words(week)}"


RECORD = Stored(Digest)
"""Writes a digest as JSON, reads it back."""


def in_words(week: PolicyWeek) -> str:
    """Say one week: `would have removed 14 objects, 38.0 GiB; removed 2, 1.0 GiB measured`."""
    missing = f" ({week.unmeasured} not measured)" if week.unmeasured and week.size_bytes is not None else ""
    chosen = f"would have removed {words.count(week.chosen, 'object')}, {words.size(week.size_bytes)}{missing}"
    if not week.removed:
        return chosen
    freed = f", {words.size(max(week.freed_bytes, 0))} measured" if week.freed_bytes is not None else ""
    if week.removed == week.chosen:
        return f"removed {words.count(week.removed, 'object')}{freed}"
    return f"{chosen}; removed {week.removed}{freed}"


class Digests:
    """
    Notes what every cycle would remove, and sums it up.

    `note` and `due` are for the thread of one job; `weeks` may be called from any.
    """

    def __init__(self, store: Store, snapshot: Callable[[], Snapshot | None], clock: SteadyClock) -> None:
        self._store = store
        self._snapshot = snapshot
        self._clock = clock

    def note(self) -> None:
        """Remember what the last cycle would remove."""
        snapshot = self._snapshot()
        if snapshot is None or not snapshot.complete or not snapshot.docker_known:
            return
        now = self._clock.now().timestamp()
        rows = [_row(removal, now) for removal in snapshot.decision.removals]
        self._store.write(lambda connection: _remember(connection, rows, now))

    def weeks(self) -> tuple[PolicyWeek, ...]:
        """Sum up the last week of every policy that chose something, by name."""
        since = (self._clock.now() - WEEK).timestamp()
        chosen = self._store.read(
            # What goes by itself may be gone before it is noted here.
            "WITH each AS (SELECT policy, object_id, size_bytes FROM chosen WHERE last_at >= ?"
            " UNION ALL SELECT policy, object_id, size_bytes FROM steps WHERE outcome = ? AND at >= ?),"
            " objects AS (SELECT policy, object_id, MAX(size_bytes) AS size FROM each GROUP BY policy, object_id)"
            " SELECT policy, COUNT(*) AS number, SUM(size) AS size, COUNT(*) - COUNT(size) AS unmeasured"
            " FROM objects GROUP BY policy ORDER BY policy",
            (since, Outcome.REMOVED, since),
        )
        gone = self._store.read(
            "SELECT policy, COUNT(DISTINCT object_id) AS number, SUM(freed_bytes) AS freed FROM steps"
            " WHERE outcome = ? AND at >= ? GROUP BY policy",
            (Outcome.REMOVED, since),
        )
        removed = {row["policy"]: row for row in gone}
        return tuple(
            PolicyWeek(
                policy=row["policy"],
                chosen=row["number"],
                size_bytes=row["size"],
                unmeasured=row["unmeasured"],
                removed=removed[row["policy"]]["number"] if row["policy"] in removed else 0,
                freed_bytes=removed[row["policy"]]["freed"] if row["policy"] in removed else None,
            )
            for row in chosen
        )

    def due(self) -> Digest | None:
        """Give what is to be told today; `None` if a day has not passed since the last time, or there is nothing."""
        now = self._clock.now()
        rows = self._store.read("SELECT value FROM meta WHERE key = ?", (_TOLD,))
        told = float(rows[0]["value"]) if rows else None
        if told is not None and told <= now.timestamp() < told + DAILY.total_seconds():
            return None
        values = (_TOLD, repr(now.timestamp()))
        self._store.write(
            lambda connection: connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", values)
        )
        weeks = self.weeks()
        # The first day only begins: what was chosen within minutes is no week.
        return Digest(day=int(now.timestamp() // 86_400), weeks=weeks) if told is not None and weeks else None


def prune(connection: sqlite3.Connection, now: float) -> None:
    """Forget what was chosen before the week that ends at this steady time, inside the caller's transaction."""
    connection.execute("DELETE FROM chosen WHERE last_at < ?", (now - WEEK.total_seconds(),))
    connection.execute(
        "DELETE FROM chosen WHERE rowid IN (SELECT rowid FROM chosen ORDER BY last_at DESC LIMIT -1 OFFSET ?)",
        (MOST_NOTED,),
    )


def _row(removal: Removal, now: float) -> tuple[object, ...]:
    return (removal.policy, removal.object.kind.value, removal.object.id, removal.size_bytes, now)


def _remember(connection: sqlite3.Connection, rows: list[tuple[object, ...]], now: float) -> None:
    connection.executemany(
        "INSERT INTO chosen (policy, kind, object_id, size_bytes, last_at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (policy, object_id) DO UPDATE SET last_at = excluded.last_at,"
        " size_bytes = COALESCE(excluded.size_bytes, size_bytes)",
        rows,
    )
    prune(connection, now)
