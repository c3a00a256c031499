"""Docker's statistics of the containers whose cgroups are out of reach: on another machine, or behind a namespace."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.engine_errors import EngineError, EngineUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.engine_api import EngineApi
    from collectors.facts import Container
    from collectors.reading import Reading
    from daemon.clock import Clock

log = logging.getLogger(__name__)

CLIENTS = 4
"""So many ask at the same time: each answer keeps the engine busy for some milliseconds."""
PATIENCE = timedelta(seconds=10)
"""For one round; whom it does not reach has no figures until the next one."""


class DistantReadings:
    """Asks with clients of its own, each answer at once (`one-shot`): Docker would else wait a second for each."""

    def __init__(self, connect: Callable[[], EngineApi], clock: Clock) -> None:
        self._connect = connect
        self._clock = clock

    def read(self, containers: Sequence[Container]) -> Mapping[str, Reading]:
        """Give the readings of these containers by id, as far as Docker tells; not an error if it does not."""
        if not containers:
            return {}
        until = self._clock.monotonic() + PATIENCE.total_seconds()
        shares = [containers[first::CLIENTS] for first in range(min(CLIENTS, len(containers)))]
        with ThreadPoolExecutor(len(shares), thread_name_prefix="stats") as pool:
            parts = pool.map(lambda share: dict(self._share(share, until)), shares)
            return {id_: reading for part in parts for id_, reading in part.items()}

    def _share(self, containers: Sequence[Container], until: float) -> Iterator[tuple[str, Reading]]:
        try:
            with closing(self._connect()) as api:
                for container in containers:
                    if self._clock.monotonic() > until:
                        return
                    if (reading := _one(api, container)) is not None:
                        yield container.id, reading
        except EngineError as error:
            log.debug("no more figures of containers in this round: %s", error)


def _one(api: EngineApi, container: Container) -> Reading | None:
    try:
        return api.stats(container)
    except EngineUnavailable:
        raise
    except EngineError as error:
        log.debug("container %s has no figures: %s", container.id[:12], error)
        return None
