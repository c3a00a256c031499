"""Counters of container lives that outlive the containers, their recreation and our own restart."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from collectors.container_labels import compose_names
from collectors.facts import Container, Death, HealthStatus, Intent, OomKill
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
IDLE = timedelta(days=1)
"""A name whose container has been gone for so long gives way, when all are taken."""
MOST_GPUS = 64
OVERFLOW = "_other"
_OF_GPUS = frozenset({GPU_ALLOCATED, GPU_SM})
_SIGNAL_CODES = range(129, 193)
"""128 and the number of the signal, of which Linux has 64; 255 is what `exit(-1)` makes."""

Identity: TypeAlias = tuple[str, str, str]
"""Name, compose project, compose service."""
_Key: TypeAlias = tuple[str, str]
"""Family and labels, these as JSON."""
_OTHERS: Identity = (OVERFLOW, "", "")
NOBODY: Mapping[Identity, float] = MappingProxyType({})
Samples: TypeAlias = Mapping[str, tuple[tuple[str, float], ...]]
"""By family: rendered label blocks with their values."""


class Counters:
    """
    Values by family and labels, kept for at most 500 containers told apart by name; later ones share `_other`.

    Who needs a name of its own when all are taken gets that of the container that has been gone for longest, after a
    day: else the jobs of one evening, each under another name, would be told apart for ever and nobody after them.
    Used from the watch thread alone; other threads get the immutable `samples`.
    """

    def __init__(self, values: Mapping[_Key, float], gone: Mapping[Identity, float] = NOBODY) -> None:
        """Begin with stored values; `gone` says since when their containers may be gone, oldest first."""
        self._values = dict(values)
        self._gone = dict(gone)
        self._now = 0.0
        self._removed: set[_Key] = set()
        self._changed: set[_Key] = set()
        self._blocks = {labels: label_block(**json.loads(labels)) for _, labels in self._values}
        """What a scrape shows of the labels; rendering all of them would take longer than the rest of a cycle."""
        self._series: defaultdict[Identity, list[_Key]] = defaultdict(list)
        for key in self._values:
            self._series[_labelled(json.loads(key[1]))].append(key)
        self._met: set[Identity] = set()
        self._watched: set[Identity] = set()
        """Those of them that have a health check."""
        self._dropped: set[Identity] = set()
        self._drops = 0
        self._gpus = {_gpu_of(json.loads(labels)) for family, labels in self._values if family in _OF_GPUS}
        self._pending: defaultdict[tuple[str, Identity, str, str], float] = defaultdict(float)
        """Charged and not saved yet. A scrape shows only what a restart goes on from: less would look like a reset."""
        self._shown: defaultdict[str, dict[str, tuple[str, float]]] = defaultdict(dict)
        """By family and labels: what a scrape shows. To gather it anew for each death took longer than all the rest."""
        self._samples: Samples | None = None
        for key in self._values:
            self._show(key)

    @classmethod
    def load(cls, store: Store) -> Counters:
        """Go on from the stored values."""
        values: dict[_Key, float] = {}
        gone: dict[Identity, float] = {}
        rows = store.read("SELECT family, labels, value, touched FROM counters ORDER BY touched", ())
        for key, value, touched in readable(rows, _stored):
            values[key] = value
            identity = _labelled(json.loads(key[1]))
            gone.pop(identity, None)
            gone[identity] = touched
        gone.pop(_OTHERS, None)
        return cls(values, gone)

    def meet(self, containers: Iterable[Container], now: float) -> None:
        """
        Start every counter of a container at 0 when it is first seen, so that `increase()` sees its first event.

        `now` is in seconds of a clock that is never set.
        """
        self._now = now
        present, watched = set(), set()
        for container in containers:
            identity = _identity(container)
            present.add(identity)
            if container.health is not None:
                watched.add(identity)
        self._note_gone(present)
        unnamed = present - self._series.keys() if self._has_room() else set()
        fresh = (present - self._met) | unnamed
        for identity in sorted(fresh):
            for reason in REASONS:
                self._add(DEATHS, identity, 0, reason=reason)
            self._add(OOM_KILLS, identity, 0)
            for trigger in TRIGGERS:
                self._add(RESTARTS, identity, 0, trigger=trigger)
        for identity in sorted((watched - self._watched) | (watched & fresh)):
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
            identity = (death.name, *compose_names(death.labels))
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
        connection.executemany("DELETE FROM counters WHERE family = ? AND labels = ?", sorted(self._removed))
        connection.executemany(
            "INSERT OR REPLACE INTO counters (family, labels, value, touched) VALUES (?, ?, ?, ?)",
            [(family, labels, self._values[family, labels], now) for family, labels in sorted(self._changed)],
        )

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        self._changed.clear()
        self._removed.clear()

    def samples(self) -> Samples:
        """Give the values as they stand, rendered for a scrape."""
        if self._samples is None:
            by_family = {family: tuple(shown.values()) for family, shown in self._shown.items()}
            self._samples = by_family | {DROPPED: (("", self._drops),)}
        return self._samples

    def _show(self, key: _Key) -> None:
        family, labels = key
        self._shown[family][labels] = self._blocks[labels], self._values[key]
        self._samples = None

    def _add(self, family: str, identity: Identity, amount: float, **extra: str) -> None:
        if identity not in self._series and not self._make_room():
            self._drop(identity)
            identity = _OTHERS
        name, project, service = identity
        labels = {"name": name, "compose_project": project, "compose_service": service, **extra}
        key = (family, json.dumps(labels))
        if key[1] not in self._blocks:
            self._blocks[key[1]] = label_block(**labels)
        if key not in self._values:
            self._series[identity].append(key)
        if amount or key not in self._values:
            self._values[key] = self._values.get(key, 0) + amount
            self._changed.add(key)
            self._removed.discard(key)
            self._show(key)

    def _note_gone(self, present: set[Identity]) -> None:
        """Note who went away just now, in the store too, and who came back."""
        for identity in present & self._gone.keys():
            del self._gone[identity]
        for identity in sorted(self._series.keys() - present - self._gone.keys() - {_OTHERS}):
            self._gone[identity] = self._now
            self._changed.update(self._series[identity])

    def _full(self) -> bool:
        return len(self._series) - (_OTHERS in self._series) >= MOST_NAMES

    def _has_room(self) -> bool:
        if not self._full():
            return True
        since = next(iter(self._gone.values()), self._now)
        return self._now - since >= IDLE.total_seconds()

    def _make_room(self) -> bool:
        """Forget who has been gone for longest, if all names are taken; tell whether there is one for another."""
        if not self._has_room():
            return False
        if self._full():
            oldest = next(iter(self._gone))
            del self._gone[oldest]
            for key in self._series.pop(oldest):
                del self._values[key], self._shown[key[0]][key[1]]
                self._blocks.pop(key[1], None)
                self._changed.discard(key)
                self._removed.add(key)
            self._samples = None
        return True

    def _drop(self, identity: Identity) -> None:
        """Count whoever has no name of its own, once as long as we remember it."""
        if identity in self._dropped:
            return
        if len(self._dropped) >= MOST_NAMES:
            self._dropped.clear()
        self._dropped.add(identity)
        self._drops += 1
        self._samples = None


def _stored(row: sqlite3.Row) -> tuple[_Key, float, float]:
    labels = json.loads(row["labels"])
    _labelled(labels)  # raises here, where one spoiled row costs itself only
    if row["family"] in _OF_GPUS:
        _gpu_of(labels)
    return (row["family"], row["labels"]), row["value"], row["touched"]


def _identity(container: Container) -> Identity:
    return container.name, *compose_names(container.labels)


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
