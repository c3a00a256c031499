"""Which stopped containers a cleanup would remove."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import ContainerState, SourceName, one_off
from policies import ages, knobs, owner_labels, places, words
from policies.policy import Kept, Removal
from policies.protection import Guard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from collectors.facts import Container, Facts

_RUNNING = frozenset({ContainerState.RUNNING, ContainerState.PAUSED, ContainerState.RESTARTING})
_STOPPED = frozenset({ContainerState.CREATED, ContainerState.EXITED})
"""What can be started again; one whose removal has begun cannot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitedContainers:
    """Remove containers that ended, or were never started, longer ago than their kind is kept."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = ()

    exited_for: timedelta = timedelta(hours=72)
    """After a clean exit."""
    failed_for: timedelta = timedelta(hours=168)
    """After any other end: the evidence of a failure is kept longer."""
    created_for: timedelta = timedelta(hours=24)
    """After creation, if it was never started."""
    dead_for: timedelta = timedelta(hours=1)
    """After its end, if Docker failed to remove it."""
    keep_last_per_compose_service: int = 1
    """So many stopped containers of each compose service stay, the newest."""
    skip_compose_projects_with_running: bool = True
    """Leave a compose project alone while any container of it runs."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(
            exited_for=self.exited_for,
            failed_for=self.failed_for,
            created_for=self.created_for,
            dead_for=self.dead_for,
        )
        if self.keep_last_per_compose_service < 0:
            raise ValueError("keep_last_per_compose_service must be 0 or more")

    def decide(self, facts: Facts) -> Iterator[Removal | Kept]:
        """Yield a removal or a reason to stay for every container."""
        guard = Guard.of(facts)
        busy = _running_projects(facts.containers) if self.skip_compose_projects_with_running else frozenset()
        newest = self._newest(facts)
        for container in facts.containers:
            if reason := guard.why_protected(container):
                yield Kept(object=container.ref, reason=reason)
            elif container.compose_project in busy:
                yield Kept(object=container.ref, reason=f"in use: compose project {container.compose_project} runs")
            elif container.id in newest:
                service = f"{container.compose_project}/{container.compose_service}"
                yield Kept(object=container.ref, reason=f"newest of its service: {service}")
            else:
                yield self._by_age(container, facts, guard.own_ttl(container))

    def _by_age(self, container: Container, facts: Facts, ttl: timedelta | None) -> Removal | Kept:
        idle = ages.since_end(container, facts.now)
        if idle is None:
            return Kept(object=container.ref, reason=f"age unknown: {_story(container, 'at an unknown time')}")
        story = _story(container, f"{words.duration(idle)} ago")
        limit = self._limit(container) if ttl is None else ttl
        if idle < limit:
            return Kept(object=container.ref, reason=f"too recent: {story}, kept for {words.duration(limit)}")
        return Removal(
            object=container.ref,
            size_bytes=container.size_bytes,
            filesystem=places.of_layers(facts.engine, facts.filesystems),
            policy="containers",
            reason=story
            if ttl is None
            else f"{story}, its label {owner_labels.TTL} allows that after {words.duration(ttl)}",
            idle=idle,
        )

    def _limit(self, container: Container) -> timedelta:
        if container.state is ContainerState.DEAD:
            return self.dead_for
        if container.started_at is None and container.finished_at is None:
            # What could not start, on a full disk for instance, has failed, and its error is evidence.
            return self.failed_for if container.error else self.created_for
        if container.error:
            return self.failed_for
        return self.exited_for if container.exit_code == 0 and not container.oom_killed else self.failed_for

    def _newest(self, facts: Facts) -> frozenset[str]:
        """Give the ids of the stopped containers that stay as the last ones of their compose service."""
        services: defaultdict[tuple[str, str], list[Container]] = defaultdict(list)
        for container in facts.containers:
            if container.compose_service and container.state in _STOPPED and not one_off(container.labels):
                services[container.compose_project, container.compose_service].append(container)
        keep = self.keep_last_per_compose_service
        return frozenset(
            container.id for group in services.values() for container in _latest_first(group, facts.now)[:keep]
        )


def _running_projects(containers: Iterable[Container]) -> frozenset[str]:
    return frozenset(each.compose_project for each in containers if each.compose_project and each.state in _RUNNING)


def _latest_first(containers: Iterable[Container], now: datetime) -> list[Container]:
    """Sort by end, unknown ends first; the id makes the order of equal ones the same in every cycle."""
    return sorted(containers, key=lambda each: (ages.since_end(each, now) or timedelta(0), each.id))


def _story(container: Container, when: str) -> str:
    if container.state is ContainerState.DEAD:
        return f"ended {when}, dead since Docker failed to remove it"
    if container.started_at is None and container.finished_at is None:
        return f"created {when}, {'could not start' if container.error else 'never started'}"
    if container.oom_killed:
        return f"killed for memory {when}"
    return f"{words.exit_code(container.exit_code)} {when}"
