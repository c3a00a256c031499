"""What turned in the lives of containers since the last look: those started again, those of another health."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from collectors.facts import Container, ContainerState, HealthStatus
from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from daemon.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one container went through since it was last looked at."""

    container: Container
    policy_restarts: int = 0
    """Times that Docker's restart policy started it again."""
    starts: int = 0
    """Times that it was started again otherwise: by somebody, or with the engine."""
    health: HealthStatus | None = None
    """What its health check says now, if that is another thing than before."""


@dataclass(frozen=True, slots=True)
class _Life:
    """How a container stood when it was last looked at."""

    started_at: datetime | None = None
    restart_count: int = 0
    restarting: bool = False
    health: HealthStatus | None = None


class Turns:
    """
    Compares containers with how they stood before, also before a restart of ours.

    Docker counts only the restarts of its policy, and begins anew when somebody starts the container. Used from
    the watch thread alone.
    """

    def __init__(self, store: Store) -> None:
        rows = store.read("SELECT container_id, record FROM lives", ())
        self._lives: dict[str, _Life] = dict(readable(rows, _load))
        self._quiet = not rows  # on the very first look nothing is news
        self._shown: dict[str, Container] = {}
        self._unread: set[str] = set()
        """Those that were there at the last look, and could never be inspected."""
        self._changed: set[str] = set()
        self._gone: set[str] = set()

    def look(self, containers: Iterable[Container]) -> tuple[Turn, ...]:
        """
        Give what turned; takes all containers there are, and forgets the others.

        One that cannot be inspected for a while stays as it was; what it had been through when it was first met so is
        no news.
        """
        present = {container.id: container for container in containers}
        shown = {id_: container for id_, container in present.items() if container.inspected}
        before, self._shown = self._shown, shown
        turns = [self._turn(each) for each in shown.values() if before.get(each.id) is not each]
        self._unread = {id_ for id_ in present if id_ not in shown and id_ not in self._lives}
        for id_ in self._lives.keys() - present.keys():
            del self._lives[id_]
            self._changed.discard(id_)
            self._gone.add(id_)
        self._quiet = False
        return tuple(turn for turn in turns if turn is not None)

    def _turn(self, container: Container) -> Turn | None:
        old = self._lives.get(container.id)
        new = _life(container, old)
        if new == old:
            return None
        self._lives[container.id] = new
        self._changed.add(container.id)
        self._gone.discard(container.id)
        if old is None:
            quiet = self._quiet or container.id in self._unread
            old = replace(new, health=None) if quiet else _Life()
        policy, starts = _restarts(old, new)
        health = new.health if old.health is not None and new.health != old.health else None
        if not (policy or starts or health):
            return None
        return Turn(container=container, policy_restarts=policy, starts=starts, health=health)

    def save(self, connection: sqlite3.Connection) -> None:
        """Store what changed, inside the caller's transaction."""
        connection.executemany("DELETE FROM lives WHERE container_id = ?", [(id_,) for id_ in self._gone])
        connection.executemany(
            "INSERT OR REPLACE INTO lives (container_id, record) VALUES (?, ?)",
            [(id_, _dump(self._lives[id_])) for id_ in self._changed],
        )

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        self._changed.clear()
        self._gone.clear()


def _restarts(old: _Life, new: _Life) -> tuple[int, int]:
    """Give how often the policy started it again, and how often something else did."""
    counted = new.restart_count - old.restart_count
    if counted > 0:
        return counted, 0
    # Docker counts a restart while it still waits for it to begin.
    if old.started_at in (None, new.started_at) or (counted == 0 and old.restarting):
        return 0, 0
    # Whoever starts a container by hand lets Docker's count begin anew.
    return new.restart_count if counted < 0 else 0, 1


def _life(container: Container, old: _Life | None) -> _Life:
    # What nobody probes just now is as healthy as it was.
    return _Life(
        started_at=container.started_at,
        restart_count=container.restart_count,
        restarting=container.state is ContainerState.RESTARTING,
        health=container.probed or (old.health if old else None),
    )


def _dump(life: _Life) -> str:
    started_at = life.started_at.isoformat() if life.started_at else None
    return json.dumps([started_at, life.restart_count, life.restarting, life.health])


def _load(row: sqlite3.Row) -> tuple[str, _Life]:
    started_at, restart_count, restarting, health = json.loads(row["record"])
    return row["container_id"], _Life(
        datetime.fromisoformat(started_at) if started_at else None,
        int(restart_count),
        bool(restarting),
        HealthStatus(health) if health else None,
    )
