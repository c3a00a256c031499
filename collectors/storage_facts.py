"""The frozen records of networks, volumes, build cache and logs: what `facts.py` says of containers and images."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from collectors.facts import NO_LABELS, ObjectRef, SubjectKind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_HOUR: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network as `GET /networks` shows it, and, for a candidate, its inspect."""

    id: str
    name: str
    driver: str
    scope: str
    """`local`, `swarm` or `global`."""
    internal: bool = False
    """No way out of it: that says nothing about its use."""
    ingress: bool = False
    config_only: bool = False
    """It only holds the settings of other networks."""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    created_at: datetime | None = None
    endpoints: int = 0
    """What is connected now; only an inspect tells it."""
    watched_for: timedelta = timedelta(0)
    """How long we have watched nothing refer to it, summed over our own running time only."""

    @property
    def ref(self) -> ObjectRef:
        """This very object."""
        return ObjectRef(SubjectKind.NETWORK, self.id, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """One volume as `GET /volumes` shows it."""

    name: str
    driver: str
    scope: str = "local"
    mountpoint: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    options: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    created_at: datetime | None = None
    dangling: bool | None = None
    """Docker says that no container refers to it; `None` where it did not say."""
    references: int | None = None
    """How many containers mount it, as its disk usage tells; `None` where it is not known."""
    size_bytes: int | None = None
    """`None` until its disk usage was told."""
    watched_for: timedelta = timedelta(0)
    """How long we have watched nothing refer to it, summed over our own running time only."""

    @property
    def key(self) -> str:
        """The identity of this very volume: another one of the same name was created at another time."""
        return f"{self.name}@{self.created_at.isoformat() if self.created_at else ''}"

    @property
    def ref(self) -> ObjectRef:
        """This very object."""
        return ObjectRef(SubjectKind.VOLUME, self.name, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """One record of the build cache as `GET /system/df` shows it."""

    id: str
    parents: tuple[str, ...] = ()
    type: str = ""
    """BuildKit's word: regular, source.local, source.git.checkout, exec.cachemount, frontend, internal."""
    in_use: bool = False
    shared: bool = False
    """It is a layer of an image as well."""
    size_bytes: int | None = None
    created_at: datetime | None = None
    last_used_at: datetime | None = None
    """`None` if it was never used since it was made."""
    usage_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSize:
    """What the files of one container's log take on their disk, rotated ones included."""

    container_id: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPrune:
    """
    What one prune of the build cache may take: the build cache has no other way to remove anything.

    It has no object of its own, so that its terms are its id: who approves a plan approves them.
    """

    unused_for: timedelta
    """Whole seconds."""
    floor_bytes: int
    """So much stays in any case."""
    all_records: bool = False
    """Also what images share, and what BuildKit keeps for itself."""

    @property
    def ref(self) -> ObjectRef:
        """The removal's object."""
        seconds = int(self.unused_for.total_seconds())
        kinds = "all" if self.all_records else "private"
        hours = f"{seconds // _HOUR} h" if seconds % _HOUR == 0 else f"{seconds} s"
        return ObjectRef(
            SubjectKind.BUILD_CACHE, f"{kinds}:{seconds}s:{self.floor_bytes}B", f"records unused for {hours}"
        )

    @classmethod
    def of(cls, id_: str) -> BuildPrune:
        """Read the terms back from the id of a removal's object; ValueError for an id that is none."""
        kinds, seconds, floor = id_.split(":")
        if kinds not in {"all", "private"}:
            raise ValueError(f"{id_!r} does not say which records")
        return cls(
            unused_for=timedelta(seconds=int(seconds.removesuffix("s"))),
            floor_bytes=int(floor.removesuffix("B")),
            all_records=kinds == "all",
        )


class ReliefEnd(StrEnum):
    """Why a run left a filesystem alone that was too full; the values stand in the metrics."""

    TARGET = "target"
    EXHAUSTED = "exhausted"
    """Nothing is left of the plan that may go."""
    NO_PROGRESS = "no_progress"
    """What went freed next to nothing: the space is not Docker's."""
    CAPPED = "capped"
    TIMEOUT = "timeout"
    UNREAD = "unread"
    """The filesystem or the engine could not be read any more."""
    STOPPED = "stopped"
    """The run was ended for another reason: by a stop, another mode, failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relieved:
    """What the last run against a full disk came to on one filesystem; it ended `at`."""

    mountpoint: str
    at: datetime
    end: ReliefEnd
    removed: int
    freed_bytes: int
    """By statvfs, what others wrote and deleted meanwhile included."""
    freed_inodes: int
    left_bytes: int | None
    """What is left now; `None` where that could not be read."""
