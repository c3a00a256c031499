"""The values of the alert lifecycle: the state of one alert for one subject, with the notices that it causes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from collectors.facts import Death, RestartPolicy, Subject, SubjectKind
from collectors.gpu_facts import GpuHold  # noqa: TC001  pydantic reads the annotation at run time
from collectors.own_facts import MemoryUse  # noqa: TC001  pydantic reads it
from daemon.stored import Stored
from policies.policy import Severity  # noqa: TC001  pydantic reads the annotation at run time


class Phase(StrEnum):
    """Where an alert stands by itself. `INACTIVE` never fired, or is part of another; `RESOLVED` fired and is over."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    CLEARING = "clearing"
    RESOLVED = "resolved"

    @property
    def told(self) -> bool:
        """True while it is something to tell: it fires. Whether people were told stands in `AlertState.heard`."""
        return self in {Phase.FIRING, Phase.CLEARING}

    @property
    def active(self) -> bool:
        """True while something is wrong, or is about to be."""
        return self is Phase.PENDING or self.told


class Heard(StrEnum):
    """What people were told last of an alert."""

    NOTHING = ""
    """Nothing at all, or that it is over."""
    FIRING = "firing"
    FLAPPING = "flapping"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastDeath:
    """What a message says of the newest death: copied, because the container may be gone when it is sent."""

    container_id: str
    image: str
    finished_at: datetime
    exit_code: int | None
    uptime: timedelta | None
    oom: bool
    memory_limit_bytes: int | None
    restart_policy: RestartPolicy
    log_tail: tuple[str, ...]
    gpus: tuple[GpuHold, ...] = ()
    memory: MemoryUse | None = None

    @classmethod
    def of(cls, death: Death) -> LastDeath:
        """Copy what is said from a row of the ledger."""
        return cls(
            container_id=death.container_id,
            image=death.image,
            finished_at=death.finished_at,
            exit_code=death.exit_code,
            uptime=death.uptime,
            oom=death.oom,
            memory_limit_bytes=death.memory_limit_bytes,
            restart_policy=death.restart_policy,
            log_tail=death.log_tail,
            gpus=death.gpus,
            memory=death.memory,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One occurrence that was counted."""

    key: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """Everything that is remembered of one alert for one subject."""

    fingerprint: str
    alert: str
    subject: Subject
    host: str
    severity: Severity
    """The highest of this episode."""
    phase: Phase = Phase.INACTIVE
    unknown: bool = False
    """True while nobody can tell: timers stand still and nothing is resolved."""
    episode: int = 0
    """How many times it has fired."""
    version: int = 0
    """How many notices this episode has caused."""
    timer: timedelta = timedelta(0)
    """The time already spent in `PENDING` or `CLEARING`."""
    since: datetime
    """When this episode began, pending included."""
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    count: int = 0
    """Occurrences in this episode; 0 for an alert that is a lasting condition."""
    seen: tuple[Seen, ...] = ()
    """The newest occurrences of all episodes, oldest first, so that each counts once."""
    seen_until: datetime | None = None
    """Whatever occurred up to then was counted, though it no longer stands in `seen`."""
    reason: str = ""
    """Why it is bad, or was."""
    details: tuple[str, ...] = ()
    """What else is said of that, a line each."""
    resolution: str = ""
    """Why it ended."""
    value: float | None = None
    limit: float | None = None
    death: LastDeath | None = None
    incident: int = 0
    """How many incidents there were: an episode that begins soon after another one ended goes on with its incident."""
    heard: Heard = Heard.NOTHING
    told_at: datetime | None = None
    """The steady time at which people were told of it, or of its raised severity."""
    told_severity: Severity | None = None
    reminders: int = 0
    """How many times people were reminded since then."""
    turns: tuple[datetime, ...] = ()
    """The steady times at which it fired lately."""
    turned_at: datetime | None = None
    """The steady time at which it fired or was over last."""
    flapping: bool = False
    """True from too many turns on, until there was none for a while: meanwhile turns are not told."""
    silenced_by: int | None = None
    """The number of the silence by which people are told no bad news of it."""
    acked_by: str = ""
    """Who looks after it."""
    inhibited_by: str = ""
    """The alert that speaks for it."""

    @property
    def standing(self) -> bool:
        """True while anything can still become of it without something new being found."""
        return self.phase.active or self.flapping or bool(self.heard or self.inhibited_by)


RECORD = Stored(AlertState)
"""Writes a state as JSON, reads it back."""


class NoticeKind(StrEnum):
    """What people are told of an episode."""

    FIRED = "fired"
    ESCALATED = "escalated"
    RESOLVED = "resolved"
    FLAPPING = "flapping"
    """It comes and goes too often to tell each time."""
    REMINDED = "reminded"
    """It still fires, and nobody has acknowledged it."""
    SUMMARY = "summary"
    """What ended while nobody watched: no episode of any alert."""
    DIGEST = "digest"
    """What the policies would have removed: once a day, no episode of any alert."""
    REPORT = "report"
    """What is still firing at the end of a silence: no episode of any alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something to tell: the kind of change, with the state right after it."""

    kind: NoticeKind
    state: AlertState


SHORTEST_ID = 4
"""Characters of a fingerprint that are enough for people to name an alert,"""
SHOWN_ID = 8
"""and how many of them they are shown."""


@lru_cache(maxsize=1024)  # asked in every cycle, of every alert that stands
def fingerprint(alert: str, subject: Subject) -> str:
    """Give the key of an alert for a subject on this host: it survives recreation and restart."""
    return hashlib.sha256(f"{alert}\0{subject.kind}\0{subject.key}".encode()).hexdigest()[:16]


def compose_of(subject: Subject) -> tuple[str, str] | None:
    """Give the compose project and service of a container, from its identity; a plain name has no slash in it."""
    if subject.kind is not SubjectKind.CONTAINER:
        return None
    project, _, rest = subject.key.partition("/")
    service = rest.rpartition("/")[0]
    return (project, service) if service else None
