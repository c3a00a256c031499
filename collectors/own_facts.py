"""Records of how our own work goes, and of memory: what is read beside Docker's own facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta  # noqa: TC003  pydantic reads the annotation at run time
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """What one container uses of memory, without the file cache that can be dropped first."""

    used_bytes: int
    rose_bytes: int = 0
    """How much more that is than at the beginning of `over`; negative if it fell."""
    over: timedelta | None = None
    """How far back the readings go; `None` while there is one alone."""
    largest: str = ""
    """The name of its largest process, looked at only near the limit; empty where nobody looked."""
    largest_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemory:
    """The memory of this machine."""

    total_bytes: int
    available_bytes: int
    """What a new process could get without swapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOom:
    """A process that the kernel killed because the whole machine was out of memory."""

    key: str
    """What tells it from every other one, over restarts of ours and of the machine."""
    at: datetime
    process: str
    resident_bytes: int
    containers: tuple[str, ...] | None
    """The container ids that its cgroup named, the outermost first; `None` where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """What a cleanup would remove if somebody approved of it."""

    objects: int
    size_bytes: int | None
    """What is known of it; `None` while no size is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWork:
    """How our own work goes: texts say what is wrong, and are empty while nothing is."""

    no_events_for: timedelta | None = None
    """How long Docker's events have not come though the engine is up; `None` while they come."""
    engine_answers_within: timedelta | None = None
    """What nineteen of twenty answers of the engine took at most lately; `None` while too few are known."""
    undelivered: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """By sink that takes no messages: why, in words."""
    overdue: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    """By job that did not end well for three of its intervals: since when, in words."""
    reload_fault: str = ""
    """What was wrong with the newest configuration, which therefore is not in force."""
    cleanup_fault: str = ""
    """How the last cleanup run failed."""
    awaiting: Awaiting | None = None
    """What waits for an approval, if anything does."""
