"""The ledger's tables in the store: deaths, memory kills and the baseline of containers."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from collectors.facts import NO_INTENTS, Death, Intent, OomKill, RestartPolicy, Subject, SubjectKind
from collectors.gpu_facts import GpuHold
from collectors.own_facts import MemoryUse
from daemon.ledger import Baseline, Mark
from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from daemon.steady import SteadyClock
    from daemon.store import Store

RETENTION = timedelta(days=7)
MOST_KEPT = 5000
"""Deaths, and memory kills, that the store keeps: a host where containers end all day must not fill the disk."""
MOST_UNSAVED = 10_000
"""What cannot be stored for so long that it becomes more than this is forgotten, the oldest first."""
_EVENTS_UNTIL = "events_until"
_NOT_SET = timedelta(seconds=2)
"""What the clocks drift apart by themselves; more than that, and somebody has set the wall clock."""


class Unsaved:
    """
    What the ledger told and the store does not hold yet, for the watch thread alone.

    It is kept until the transaction that stores it was committed: a write that fails loses nothing.
    """

    def __init__(self) -> None:
        self._deaths: deque[Death] = deque(maxlen=MOST_UNSAVED)
        self._kills: deque[OomKill] = deque(maxlen=MOST_UNSAVED)
        self._lying: dict[str, Intent] = {}
        self._baseline: Baseline | None = None
        self._stored: Baseline | None = None

    def __bool__(self) -> bool:
        return bool(self._deaths or self._kills or self._lying) or self._baseline != self._stored

    def add(
        self,
        deaths: Iterable[Death],
        kills: Iterable[OomKill],
        baseline: Baseline | None,
        lying: Mapping[str, Intent] = NO_INTENTS,
    ) -> None:
        """Take over what a look brought; no baseline where Docker could not be read."""
        self._deaths.extend(deaths)
        self._kills.extend(kills)
        self._lying.update(lying)
        self._baseline = baseline or self._baseline

    def save(self, connection: sqlite3.Connection, clock: SteadyClock) -> None:
        """Store it, inside the caller's transaction."""
        connection.executemany(
            "INSERT OR IGNORE INTO deaths (key, container_id, subject_key, at, record) VALUES (?, ?, ?, ?, ?)",
            [
                (d.key, d.container_id, d.subject.key, clock.of_wall(d.finished_at).timestamp(), _dump_death(d))
                for d in self._deaths
            ],
        )
        connection.executemany(
            "INSERT INTO oom_kills (container_id, subject_key, at, count, record) VALUES (?, ?, ?, ?, ?)",
            [
                (k.container_id, k.subject.key, clock.of_wall(k.at).timestamp(), k.count, _dump_kill(k))
                for k in self._kills
            ],
        )
        # What was told of the end stays as it was; why the container lies there is one more thing to know.
        connection.executemany(
            "UPDATE deaths SET record = json_set(record, '$.lies', ?) WHERE json_valid(record) AND key ="
            " (SELECT key FROM deaths WHERE container_id = ? ORDER BY at DESC LIMIT 1)",
            [(intent.value, container_id) for container_id, intent in self._lying.items()],
        )
        if self._baseline is not None and self._baseline != self._stored:
            _replace_baseline(connection, self._baseline)

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        self._deaths.clear()
        self._kills.clear()
        self._lying.clear()
        self._stored = self._baseline


def _replace_baseline(connection: sqlite3.Connection, baseline: Baseline) -> None:
    connection.execute("DELETE FROM baseline")
    connection.executemany(
        "INSERT INTO baseline (container_id, record) VALUES (?, ?)",
        [(container_id, _dump_mark(mark)) for container_id, mark in baseline.marks.items()],
    )
    connection.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_EVENTS_UNTIL, baseline.events_until.isoformat())
    )


def load_baseline(store: Store) -> Baseline | None:
    """Give the stored baseline, or `None` if none was ever stored."""
    until = store.read("SELECT value FROM meta WHERE key = ?", (_EVENTS_UNTIL,))
    if not until:
        return None
    rows = store.read("SELECT container_id, record FROM baseline", ())
    marks = dict(readable(rows, lambda row: (row["container_id"], _load_mark(json.loads(row["record"])))))
    moment = next(readable(until, lambda row: datetime.fromisoformat(row["value"])), None)
    return Baseline(marks, moment) if moment else None


def deaths_since(store: Store, since: datetime, clock: SteadyClock) -> tuple[Death, ...]:
    """Give the stored deaths that happened after `since`, a steady time, oldest first."""
    rows = store.read("SELECT at, record FROM deaths WHERE at > ? ORDER BY at", (since.timestamp(),))
    return tuple(readable(rows, lambda row: _dated(_load_death(json.loads(row["record"])), row["at"], clock)))


def deaths_of(store: Store, container_id: str, clock: SteadyClock) -> tuple[Death, ...]:
    """Give the stored deaths of one container, oldest first."""
    rows = store.read("SELECT at, record FROM deaths WHERE container_id = ? ORDER BY at", (container_id,))
    return tuple(readable(rows, lambda row: _dated(_load_death(json.loads(row["record"])), row["at"], clock)))


def last_intents(store: Store) -> dict[str, Intent]:
    """Give why each container lies there, by its id: why it ended last, where an event told of it."""
    rows = store.read("SELECT container_id, record FROM deaths ORDER BY at", ())
    last: dict[str, Intent] = {}
    for container_id, (death, lies) in readable(
        rows, lambda row: (row["container_id"], _load_lying(json.loads(row["record"])))
    ):
        if lies:
            last[container_id] = lies
        elif death.inferred and death.intent is Intent.NONE:
            last.pop(container_id, None)
        else:
            last[container_id] = death.intent
    return last


def _load_lying(record: dict[str, Any]) -> tuple[Death, Intent | None]:
    return _load_death(record), Intent(record["lies"]) if "lies" in record else None


def _dated(death: Death, at: float, clock: SteadyClock) -> Death:
    """Note how far the wall clock was set since this death, which happened at the steady time `at`."""
    drift = clock.to_wall(datetime.fromtimestamp(at, UTC)) - death.finished_at
    return replace(death, clock_set=drift) if abs(drift) > _NOT_SET else death


def kills_since(store: Store, since: datetime) -> tuple[OomKill, ...]:
    """Give the stored memory kills after `since`, a steady time, oldest first; each as it was dated first."""
    rows = store.read("SELECT * FROM oom_kills WHERE at > ? ORDER BY at", (since.timestamp(),))
    return tuple(readable(rows, lambda row: _load_kill(row, json.loads(row["record"]))))


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """
    Drop what is past its retention at this steady time, or too much.

    A death stays as long as its container: a cleanup removes that one later, and its evidence tells of it.
    """
    horizon = (now - RETENTION).timestamp()
    gone = "container_id NOT IN (SELECT container_id FROM baseline)"
    connection.execute(f"DELETE FROM deaths WHERE at < ? AND {gone}", (horizon,))  # noqa: S608  no foreign text
    connection.execute("DELETE FROM oom_kills WHERE at < ?", (horizon,))
    connection.execute(
        "DELETE FROM deaths WHERE key IN (SELECT key FROM deaths ORDER BY at DESC LIMIT -1 OFFSET ?)", (MOST_KEPT,)
    )
    connection.execute(
        "DELETE FROM oom_kills WHERE rowid IN (SELECT rowid FROM oom_kills ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (MOST_KEPT,),
    )


def _dump_kill(kill: OomKill) -> str:
    return json.dumps({"name": kill.subject.name, "at": kill.at.isoformat(), "labels": dict(kill.labels)})


def _load_kill(row: sqlite3.Row, record: dict[str, Any]) -> OomKill:
    return OomKill(
        container_id=row["container_id"],
        subject=Subject(SubjectKind.CONTAINER, row["subject_key"], record["name"]),
        # Its date is part of what an alert knows it by, so it stays as it was; the first version kept it elsewhere.
        at=datetime.fromisoformat(record["at"]) if "at" in record else datetime.fromtimestamp(row["at"], UTC),
        count=row["count"],
        labels=record.get("labels", {}),
    )


@lru_cache(maxsize=1024)  # every death writes the whole baseline, of which one mark has changed
def _dump_mark(mark: Mark) -> str:
    times = [at.isoformat() if at else None for at in (mark.finished_at, mark.newest_told)]
    return json.dumps([*times, mark.restart_count, mark.told])


def _load_mark(record: list[Any]) -> Mark:
    *times, restart_count, told = record
    finished_at, newest_told = (datetime.fromisoformat(at) if at else None for at in times)
    return Mark(finished_at, restart_count, told, newest_told)


def _dump_death(death: Death) -> str:
    return json.dumps(
        {
            "container_id": death.container_id,
            "name": death.name,
            "image": death.image,
            "labels": dict(death.labels),
            "restart_policy": [death.restart_policy.name, death.restart_policy.maximum_retries],
            "memory_limit_bytes": death.memory_limit_bytes,
            "finished_at": death.finished_at.isoformat(),
            "exit_code": death.exit_code,
            "oom": death.oom,
            "intent": death.intent.value,
            "uptime_seconds": death.uptime.total_seconds() if death.uptime is not None else None,
            "inferred": death.inferred,
            "log_tail": death.log_tail,
            "gpus": [_dump_hold(hold) for hold in death.gpus],
            "memory": _dump_memory(death.memory) if death.memory else None,
        }
    )


def _load_death(record: dict[str, Any]) -> Death:
    uptime = record["uptime_seconds"]
    return Death(
        container_id=record["container_id"],
        name=record["name"],
        image=record["image"],
        labels=record["labels"],
        restart_policy=RestartPolicy(*record["restart_policy"]),
        memory_limit_bytes=record["memory_limit_bytes"],
        finished_at=datetime.fromisoformat(record["finished_at"]),
        exit_code=record["exit_code"],
        oom=record["oom"],
        intent=Intent(record["intent"]),
        uptime=timedelta(seconds=uptime) if uptime is not None else None,
        inferred=record["inferred"],
        log_tail=tuple(record["log_tail"]),
        # Records of the versions that knew nothing of GPUs have none.
        gpus=tuple(_load_hold(record["container_id"], hold) for hold in record.get("gpus", ())),
        memory=_load_memory(record["memory"]) if record.get("memory") else None,
    )


def _dump_memory(use: MemoryUse) -> list[Any]:
    over = use.over.total_seconds() if use.over is not None else None
    return [use.used_bytes, use.rose_bytes, over, use.largest, use.largest_bytes]


def _load_memory(record: list[Any]) -> MemoryUse:
    used, rose, over, largest, largest_bytes = record
    return MemoryUse(
        used_bytes=used,
        rose_bytes=rose,
        over=timedelta(seconds=over) if over is not None else None,
        largest=largest,
        largest_bytes=largest_bytes,
    )


def _dump_hold(hold: GpuHold) -> list[Any]:
    return [hold.gpu_uuid, hold.gpu_index, hold.memory_bytes, hold.at.isoformat()]


def _load_hold(container_id: str, record: list[Any]) -> GpuHold:
    uuid, index, memory_bytes, at = record
    return GpuHold(
        container_id=container_id,
        gpu_uuid=uuid,
        gpu_index=index,
        memory_bytes=memory_bytes,
        at=datetime.fromisoformat(at),
    )
