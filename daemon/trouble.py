"""Which containers are in trouble at a moment, and what it is, for those who look at the status."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from collectors.facts import ContainerState, HealthStatus
from policies import words
from policies.muting import audible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from collectors.facts import Container, Facts

NEWS: Final = timedelta(days=1)
"""What ended badly longer ago is no trouble any more: nobody has started it since."""
_QUOTED: Final = 200
"""Characters of the engine's words."""


def troubles_json(facts: Facts) -> list[dict[str, Any]]:
    """Give the containers that somebody should look at, the newest trouble first; muted ones are left out."""
    found = [
        (since, container, what)
        for container in facts.containers
        if audible(container.name, container.labels, facts.ignore)
        for what, since in _troubles(container, facts.now)
    ]
    found.sort(key=lambda each: (each[0], each[1].name), reverse=True)
    return [
        {
            "name": container.name,
            "id": container.id,
            "state": container.state.value,
            "what": what,
            "since": since.isoformat(),
        }
        for since, container, what in found
    ]


def _troubles(container: Container, now: datetime) -> Iterator[tuple[str, datetime]]:
    """Yield at most one thing, and since when."""
    ended = container.finished_at or container.created_at
    match container.state:
        case ContainerState.RESTARTING:
            yield f"keeps restarting: {words.exit_code(container.exit_code)}", ended
        case ContainerState.DEAD | ContainerState.REMOVING:
            yield f"could not be removed: {container.state}", ended
        case ContainerState.CREATED if container.error:
            yield f"could not start: {words.one_line(container.error, _QUOTED)}", container.created_at
        case ContainerState.EXITED if (container.exit_code or container.oom_killed) and now - ended < NEWS:
            memory = ", killed for memory" if container.oom_killed else ""
            yield f"{words.exit_code(container.exit_code)}{memory}", ended
        case ContainerState.RUNNING if container.health and container.probed is HealthStatus.UNHEALTHY:
            checks = words.count(container.health.failing_streak, "check")
            yield f"is unhealthy: {checks} failed in a row", container.started_at or container.created_at
        case _:
            return
