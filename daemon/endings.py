"""Builds the record of one end of a container from what is known of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import (
    COMPOSE_NUMBER,
    COMPOSE_ONEOFF,
    COMPOSE_PROJECT,
    COMPOSE_SERVICE,
    Container,
    ContainerState,
    Death,
    Intent,
)

if TYPE_CHECKING:
    from datetime import datetime

    from collectors.engine_api import Event

ALIVE = frozenset({ContainerState.RUNNING, ContainerState.PAUSED})
EVENT_EARLY = timedelta(milliseconds=50)
"""How much before FinishedAt the `die` event may be stamped."""
LOST_EXIT_CODE = 255
"""What the engine writes for a container that ended while the engine itself was away."""
SPOKEN_LABELS = frozenset({COMPOSE_PROJECT, COMPOSE_SERVICE, COMPOSE_NUMBER, COMPOSE_ONEOFF})
"""All that a container's identity is made of."""


def spoken_labels(container: Container) -> dict[str, str]:
    """Give those of its labels that somebody will speak of when it is gone."""
    return {
        name: value
        for name, value in container.labels.items()
        if name in SPOKEN_LABELS or name.startswith("shipkeeper.")
    }


def death_of(  # noqa: PLR0913  these are the fields of one record, not the steps of a procedure
    container: Container,
    finished_at: datetime,
    *,
    exit_code: int | None,
    oom: bool,
    uptime: timedelta | None,
    intent: Intent,
    inferred: bool = False,
) -> Death:
    """Give the record."""
    return Death(
        container_id=container.id,
        name=container.name,
        image=container.image,
        labels=spoken_labels(container),
        restart_policy=container.restart_policy,
        memory_limit_bytes=container.memory_limit_bytes,
        finished_at=finished_at,
        exit_code=exit_code,
        oom=oom,
        intent=intent,
        uptime=uptime,
        inferred=inferred,
    )


def inferred_exit_code(container: Container) -> int | None:
    """Give inspect's exit code, unless the container runs again or the engine never saw it end."""
    lost = container.state in ALIVE or container.exit_code == LOST_EXIT_CODE
    return None if lost else container.exit_code


def uptime_before(finished_at: datetime, seen: tuple[Container | None, ...]) -> timedelta | None:
    """Give the time since the last known start before this end."""
    latest = finished_at + EVENT_EARLY  # of the shortest lives Docker 20.10 writes an end before the start
    starts = [c.started_at for c in seen if c is not None and c.started_at is not None and c.started_at <= latest]
    return max(finished_at - max(starts), timedelta(0)) if starts else None


def container_of(event: Event) -> Container:
    """Make do with the event when the container was gone before it could be inspected even once."""
    attributes = dict(event.attributes)
    name, image = attributes.pop("name", event.id[:12]), attributes.pop("image", "")
    labels = {key: value for key, value in attributes.items() if key not in {"exitCode", "execDuration", "signal"}}
    return Container(
        id=event.id,
        name=name,
        image=image,
        image_id="",
        labels=labels,
        state=ContainerState.REMOVING,
        created_at=event.at,
    )
