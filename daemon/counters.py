"""Counters of container lives that outlive the containers, their recreation and our own restart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from collectors.facts import COMPOSE_PROJECT, COMPOSE_SERVICE, Container, Death, HealthStatus, Intent, OomKill
from collectors.families import Family, label_block
from daemon.records import readable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from daemon.gpu_account import GpuCharge
    from daemon.store import Store
    from daemon.turns import Turn

DEATHS = "shipkeeper_container_deaths_total"
OOM_KILLS = "shipkeeper_container_oom_kills_total"
RESTARTS = "shipkeeper_container_restarts_total"
HEALTH = "shipkeeper_container_health_transitions_total"
GPU_ALLOCATED = "shipkeeper_container_gpu_allocated_seconds_total"
GPU_SM = "shipkeeper_container_gpu_sm_seconds_total"
DROPPED = "shipkeeper_container_names_dropped_total"
HELP = {
    DEATHS: "Ends of a container's main process, by what ended it.",
    OOM_KILLS: "Processes of a container killed for memory, its main process or another.",
    RESTARTS: "Times a container was started again, by Docker's restart policy or otherwise.",
    HEALTH: "Times its health check came to say something else, by what it came to say.",
    GPU_ALLOCATED: "Time for which it had a GPU: was given it, or held memory on it.",
    GPU_SM: "Time of a GPU's multiprocessors that it used, all of them together.",
    DROPPED: "Containers counted as _other because too many names were kept apart already.",
}
REASONS = ("clean", "error", "oom", "signal", "api", "engine", "unknown")
TRIGGERS = ("policy", "start")
MOST_NAMES = 500
MOST_GPUS = 64
OVERFLOW = "_other"
_OF_GPUS = frozenset({GPU_ALLOCATED, GPU_SM})
_SIGNAL_CODES = range(129, 193)
"""128 and the number of the signal, of which Linux has 64; 255 is what `exit(-1)` makes."""

Identity: TypeAlias = tuple[str, str, str]
"""Name, compose project, compose service."""
Samples: TypeAlias = Mapping[str, tuple[tuple[str, float], ...]]
"""By family: rendered label blocks with their values."""


class Counters:
    """
    Values by family and labels, kept for at most 500 containers told apart by name; later ones share `_other`.

    Used from the watch thread alone; other threads get the immutable `samples`.
    """

    def __init__(self, values: Mapping[tuple[str, str], float]) -> None:
        self._values = dict(values)
        self._changed: set[tuple[str, str]] = set()
        self._blocks = {labels: label_block(**json.loads(labels)) for _, labels in self._values}
        """What a scrape shows of the labels; rendering all of them would take longer than the rest of a cycle."""
        self._known = {_labelled(json.loads(labels)) for _, labels in self._values}
        self._met: set[Identity] = set()
        self._watched: set[Identity] = set()
        """Those of them that have a health check."""
        self._dropped: set[Identity] = set()
        self._drops = 0
        self._gpus = {_gpu_of(json.loads(labels)) for family, labels in self._values if family in _OF_GPUS}
        self._pending: defaultdict[tuple[str, Identity, str, str], float] = defaultdict(float)
        """Charged and not saved yet. A scrape shows only what a restart goes on from: less would look like a reset."""
        self._samples: Samples | None = None

    @classmethod
    def load(cls, store: Store) -> Counters:
        """Go on from the stored values."""
        rows = store.read("SELECT family, labels, value FROM counters", ())
        return cls(dict(readable(rows, _stored)))

    def meet(self, containers: Iterable[Container]) -> None:
        """Start every counter of a container at 0 when it is first seen, so that `increase()` sees its first event."""
        present, watched = set(), set()
        for container in containers:
            identity = _identity(container)
            present.add(identity)
            if container.health is not None:
                watched.add(identity)
        for identity in sorted(present - self._met):
            for reason in REASONS:
                self._add(DEATHS, identity, 0, reason=reason)
            self._add(OOM_KILLS, identity, 0)
            for trigger in TRIGGERS:
                self._add(RESTARTS, identity, 0, trigger=trigger)
        for identity in sorted(watched - self._watched):
            for status in HealthStatus:
                self._add(HEALTH, identity, 0, to=status)
        self._met = present  # only these: the names of short-lived containers are without number
        self._watched = watched

    def turn(self, turns: Iterable[Turn]) -> None:
        """Count what turned in the lives of containers."""
        for turn in turns:
            identity = _identity(turn.container)
            for trigger, times in zip(TRIGGERS, (turn.policy_restarts, turn.starts), strict=True):
                self._add(RESTARTS, identity, times, trigger=trigger)
            if turn.health is not None:
                self._add(HEALTH, identity, 1, to=turn.health)

    def count(self, deaths: Iterable[Death], kills: Iterable[OomKill], containers: Iterable[Container]) -> None:
        """Count what the ledger told."""
        for death in deaths:
            identity = (death.name, death.labels.get(COMPOSE_PROJECT, ""), death.labels.get(COMPOSE_SERVICE, ""))
            self._add(DEATHS, identity, 1, reason=reason_of(death))
            if death.oom:
                self._add(OOM_KILLS, identity, 1)
        killed: defaultdict[str, int] = defaultdict(int)
        for kill in kills:
            killed[kill.container_id] += kill.count
        for container in containers if killed else ():
            if count := killed.get(container.id):
                self._add(OOM_KILLS, _identity(container), count)

    def charge(self, charges: Iterable[GpuCharge]) -> None:
        """Add what containers had of GPUs: a new series shows at once, at 0, the seconds with the next `save`."""
        for charge in charges:
            gpu = charge.gpu_uuid, charge.profile
            if gpu not in self._gpus and len(self._gpus) >= MOST_GPUS:  # ever other hardware in the life of the store
                gpu = OVERFLOW, ""
            self._gpus.add(gpu)
            for family, seconds in ((GPU_ALLOCATED, charge.allocated_seconds), (GPU_SM, charge.sm_seconds)):
                if seconds is not None:
                    identity = _identity(charge.container)
                    self._add(family, identity, 0, uuid=gpu[0], profile=gpu[1])
                    self._pending[family, identity, *gpu] += seconds

    def save(self, connection: sqlite3.Connection, now: float) -> None:
        """Store what changed since the last save, inside the caller's transaction."""
        for (family, identity, uuid, profile), amount in self._pending.items():
            self._add(family, identity, amount, uuid=uuid, profile=profile)
        self._pending.clear()
        connection.executemany(
            "INSERT OR REPLACE INTO counters (family, labels, value, touched) VALUES (?, ?, ?, ?)",
            [(family, labels, self._values[family, labels], now) for family, labels in sorted(self._changed)],
        )

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        self._changed.clear()

    def samples(self) -> Samples:
        """Give the values as they stand, rendered for a scrape."""
        if self._samples is None:
            by_family: dict[str, list[tuple[str, float]]] = defaultdict(list)
            for (family, labels), value in self._values.items():
                by_family[family].append((self._blocks[labels], value))
            by_family[DROPPED] = [("", self._drops)]
            self._samples = {family: tuple(samples) for family, samples in by_family.items()}
        return self._samples

    def _add(self, family: str, identity: Identity, amount: float, **extra: str) -> None:
        if identity not in self._known and len(self._known) >= MOST_NAMES:
            self._drop(identity)
            identity = (OVERFLOW, "", "")
        self._known.add(identity)
        name, project, service = identity
        labels = {"name": name, "compose_project": project, "compose_service": service, **extra}
        key = (family, json.dumps(labels))
        if key[1] not in self._blocks:
            self._blocks[key[1]] = label_block(**labels)
        if amount or key not in self._values:
            self._values[key] = self._values.get(key, 0) + amount
            self._changed.add(key)
            self._samples = None

    def _drop(self, identity: Identity) -> None:
        """Count whoever has no name of its own, once as long as we remember it."""
        if identity in self._dropped:
            return
        if len(self._dropped) >= MOST_NAMES:
            self._dropped.clear()
        self._dropped.add(identity)
        self._drops += 1
        self._samples = None


def _stored(row: sqlite3.Row) -> tuple[tuple[str, str], float]:
    labels = json.loads(row["labels"])
    _labelled(labels)  # raises here, where one spoiled row costs itself only
    if row["family"] in _OF_GPUS:
        _gpu_of(labels)
    return (row["family"], row["labels"]), row["value"]


def _identity(container: Container) -> Identity:
    return container.name, container.compose_project, container.compose_service


def _labelled(labels: Mapping[str, str]) -> Identity:
    return labels["name"], labels["compose_project"], labels["compose_service"]


def _gpu_of(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels["uuid"], labels["profile"]


def reason_of(death: Death) -> str:
    """Name what ended a container, from a fixed set: clean, error, oom, signal, api, engine, unknown."""
    if death.oom:
        return "oom"
    if death.intent is not Intent.NONE:
        return death.intent.value
    if death.exit_code is None:
        return "unknown"
    if death.exit_code == 0:
        return "clean"
    return "signal" if death.exit_code in _SIGNAL_CODES else "error"


def families(samples: Samples) -> Iterator[Family]:
    """Give the families of a snapshot's counters."""
    for family, text in HELP.items():
        yield Family(family, "counter", text, samples.get(family, ()))
