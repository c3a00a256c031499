"""Small builders of facts: a test names only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from collectors.facts import (
    COMPOSE_NUMBER,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    Container,
    ContainerState,
    Death,
    Engine,
    EngineState,
    Facts,
    Filesystem,
    Health,
    HealthStatus,
    Image,
    Known,
    OomKill,
    SourceName,
)
from collectors.storage_facts import BuildRecord, LogSize, Network, Volume
from policies.policy import Condition, Kept, Occurrence, Removal

if TYPE_CHECKING:
    from policies.policy import ConditionState, Policy

NOW = datetime(2026, 11, 23, 16, 2, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MIB, GIB = 1024**2, 1024**3


def object_id(name: str) -> str:
    """Give the 64 hex digits of an object of this name."""
    return name.encode().hex().ljust(64, "0")[:64]


def container(name: str = "web", **changes: Any) -> Container:
    """Give a container that has run healthily for a day, with changes."""
    plain = Container(
        id=object_id(name),
        name=name,
        image="app:1",
        image_id=f"sha256:{object_id('app:1')}",
        state=ContainerState.RUNNING,
        created_at=NOW - DAY,
        started_at=NOW - DAY,
    )
    return replace(plain, **changes)


def exited(name: str = "job", *, ago: timedelta, code: int = 0, **changes: Any) -> Container:
    """Give a container that ran for a minute and ended this long ago."""
    ended = NOW - ago
    begun = {"created_at": ended - MINUTE, "started_at": ended - MINUTE, "finished_at": ended}
    return container(name, **({"state": ContainerState.EXITED, "exit_code": code} | begun | changes))


def never_started(name: str = "new", *, ago: timedelta, **changes: Any) -> Container:
    """Give a container that was created this long ago and never started."""
    return container(name, **({"state": ContainerState.CREATED, "created_at": NOW - ago, "started_at": None} | changes))


def compose(project: str, service: str, number: int = 1) -> dict[str, str]:
    """Give the labels that compose sets."""
    return {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service, COMPOSE_NUMBER: str(number)}


def unhealthy(streak: int = 3, output: str = "connection refused") -> Health:
    """Give a failing health check."""
    return Health(HealthStatus.UNHEALTHY, streak, output)


def image(*tags: str, name: str = "", **changes: Any) -> Image:
    """Give an image that we have watched for 30 days; without a tag it is dangling."""
    plain = Image(
        id=f"sha256:{object_id(name or (tags[0] if tags else 'dangling'))}",
        tags=tags,
        size_bytes=100 * MIB,
        created_at=NOW - 90 * DAY,
        watched_for=30 * DAY,
    )
    return replace(plain, **changes)


def network(name: str = "shop", **changes: Any) -> Network:
    """Give a network of our own that we have watched lie unused for 30 days."""
    plain = Network(id=object_id(name), name=name, driver="bridge", scope="local", watched_for=30 * DAY)
    return replace(plain, **changes)


def volume(name: str = "data", **changes: Any) -> Volume:
    """Give a named volume of 2 GiB that we have watched lie unused for 60 days."""
    plain = Volume(name=name, driver="local", dangling=True, references=0, size_bytes=2 * GIB, watched_for=60 * DAY)
    return replace(plain, **changes)


def anonymous(digit: str = "a", **changes: Any) -> Volume:
    """Give the same without a name of its own."""
    return volume(digit * 64, **({"labels": {"com.docker.volume.anonymous": ""}} | changes))


def record(name: str = "r", *, unused: timedelta = 30 * DAY, **changes: Any) -> BuildRecord:
    """Give a record of the build cache of 1 GiB that was last used so long ago."""
    plain = BuildRecord(
        id=name, type="regular", size_bytes=GIB, created_at=NOW - unused - HOUR, last_used_at=NOW - unused
    )
    return replace(plain, **changes)


def log_size(of: Container, size: int) -> LogSize:
    """Give what the log of a container takes."""
    return LogSize(container_id=of.id, size_bytes=size)


def filesystem(*, size: int = 100 * GIB, available: int = 60 * GIB, **changes: Any) -> Filesystem:
    """Give the data-root's filesystem, on `/`, without a reserve."""
    plain = Filesystem(
        mountpoint="/",
        device=1,
        roles=("data-root",),
        size_bytes=size,
        used_bytes=size - available,
        available_bytes=available,
        inodes=1_000_000,
        inodes_free=900_000,
    )
    return replace(plain, **changes)


def death(name: str = "web", *, ago: timedelta = MINUTE, code: int | None = 1, **changes: Any) -> Death:
    """Give the end of the container of this name, that nobody asked for."""
    plain = Death(container_id=object_id(name), name=name, image="app:1", finished_at=NOW - ago, exit_code=code)
    return replace(plain, **changes)


def oom_kill(victim: Container, *, ago: timedelta = MINUTE, count: int = 1) -> OomKill:
    """Give a kill for memory that the container survived."""
    return OomKill(container_id=victim.id, subject=victim.subject, at=NOW - ago, count=count, labels=victim.labels)


def facts(**changes: Any) -> Facts:
    """Give facts of a host whose engine is up and whose sources are all known; lists may be any iterables."""
    plain = Facts(
        now=NOW,
        sources={name: Known(NOW) for name in SourceName},
        engine=Engine(state=EngineState.UP, since=NOW - DAY, storage_driver="overlay2"),
    )
    frozen: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in changes.items()}
    return replace(plain, **frozen)


def conditions(policy: Policy, world: Facts, alert: str) -> list[Condition]:
    """Give the policy's conditions of one alert."""
    return [each for each in policy.decide(world) if isinstance(each, Condition) and each.alert == alert]


def occurrences(policy: Policy, world: Facts, alert: str) -> list[Occurrence]:
    """Give the policy's occurrences of one alert."""
    return [each for each in policy.decide(world) if isinstance(each, Occurrence) and each.alert == alert]


def state(policy: Policy, world: Facts, alert: str) -> ConditionState:
    """Give the state of the one condition that the policy finds of this alert."""
    [condition] = conditions(policy, world, alert)
    return condition.state


def removed(policy: Policy, world: Facts) -> dict[str, str]:
    """Give the reasons of the policy's removals, by the object's name."""
    return {each.object.name: each.reason for each in policy.decide(world) if isinstance(each, Removal)}


def kept(policy: Policy, world: Facts) -> dict[str, str]:
    """Give the reasons of what the policy keeps, by the object's name."""
    return {each.object.name: each.reason for each in policy.decide(world) if isinstance(each, Kept)}
