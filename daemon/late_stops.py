"""Why a container lies there, where its death does not tell: stopped after its end, or stopped by the engine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import Container, ContainerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from collectors.engine_events import Event

ENGINE_STOPS = timedelta(seconds=30)
"""So long an engine that stops waits for its containers, and we hear of each before the engine is gone."""


class LateStops:
    """
    Recognises what was stopped while Docker waited to start it again: no death tells of that.

    Used from the watch thread only.
    """

    def __init__(self) -> None:
        self._stopped: dict[str, datetime] = {}

    def look(
        self, events: Iterable[Event], before: Mapping[str, Container], after: Mapping[str, Container]
    ) -> frozenset[str]:
        """Give the ids of the containers that somebody stopped, and that have not run since."""
        for event in events:
            if event.type == "container" and event.action == "stop":
                self._stopped[event.id] = event.at
        for id_, was in before.items():
            # A `docker kill` sends no event then. A start that failed leaves the same end, but words on it.
            if was.state is ContainerState.RESTARTING and was.finished_at is not None:
                ended = after.get(id_)
                if ended is not None and _lies_there(ended, was.finished_at) and not ended.error:
                    self._stopped.setdefault(id_, was.finished_at)
        self._stopped = {id_: at for id_, at in self._stopped.items() if id_ in after and _lies_there(after[id_], at)}
        return frozenset(self._stopped)


def ended_with_engine(containers: Mapping[str, Container], seen_until: datetime) -> Iterator[str]:
    """
    Give the ids of those that an engine took along which was last seen at that time, and is back.

    Its events say of each what they say of a `docker stop`. What it starts again by itself and now lies there was
    stopped by somebody.
    """
    for id_, container in containers.items():
        ended = container.finished_at if container.state is ContainerState.EXITED else None
        if ended is not None and ended >= seen_until - ENGINE_STOPS and not container.restart_policy.restarts(0):
            yield id_


def _lies_there(container: Container, at: datetime) -> bool:
    """Tell whether the container has not run since then."""
    ended = container.finished_at
    return container.state is ContainerState.EXITED and ended is not None and ended <= at
