"""Which container speaks for an identity, where two of them share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import ContainerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collectors.facts import Container

ALIVE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})


def speakers(containers: Iterable[Container]) -> tuple[Container, ...]:
    """
    Give one container for each identity: one that is alive before one that ended, then the newest.

    While compose recreates a service its old and its new container bear the same labels. A container that
    Docker cannot inspect speaks for nothing: of its identity nothing is known.
    """
    chosen: dict[str, Container] = {}
    for container in containers:
        if not container.inspected:
            continue
        key = container.subject.key
        if key not in chosen or _weight(container) > _weight(chosen[key]):
            chosen[key] = container
    return tuple(chosen.values())


def _weight(container: Container) -> tuple[bool, float, str]:
    return container.state in ALIVE, container.created_at.timestamp(), container.id
