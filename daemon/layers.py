"""The slow lane that measures the writable layers of containers a cleanup would remove."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from collectors.engine_errors import EngineError, EngineUnavailable
from collectors.facts import EngineState, SubjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collectors.engine_api import EngineApi
    from daemon.clock import Clock
    from daemon.snapshot import Snapshot

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=20)
"""For one round: then the next layers wait for the next one."""


class LayerSizes:
    """
    Sizes in bytes by container id, each asked for once: an ended container's layer no longer changes.

    The engine walks the whole layer to answer, so only candidates are asked for, one at a time, never in
    the watch thread. One that it cannot measure, or not in time, is left unknown: it is not made to try again.
    """

    def __init__(self, connect: Callable[[], EngineApi], snapshot: Callable[[], Snapshot | None], clock: Clock) -> None:
        self._connect = connect
        self._snapshot = snapshot
        self._clock = clock
        self._asked: dict[str, int | None] = {}
        self._sizes: Mapping[str, int] = MappingProxyType({})

    def latest(self) -> Mapping[str, int]:
        """Give what was measured so far; immutable, from any thread."""
        return self._sizes

    def measure(self) -> bool:
        """Measure candidates that have not been asked for; tell whether there is news."""
        snapshot = self._snapshot()
        if snapshot is None or not snapshot.docker_known:
            return False
        objects = (removal.object for removal in snapshot.decision.removals)
        candidates = [each.id for each in objects if each.kind is SubjectKind.CONTAINER]
        # One that is no candidate any more was perhaps started again: then its layer is another one.
        self._asked = {id_: self._asked[id_] for id_ in candidates if id_ in self._asked}
        if wanted := [id_ for id_ in candidates if id_ not in self._asked]:
            try:
                self._ask(wanted)
            except EngineError as error:
                log.debug("no more sizes of containers for now: %s", error)
        before = self._sizes
        self._sizes = MappingProxyType({id_: size for id_, size in self._asked.items() if size is not None})
        return bool(self._sizes.keys() - before.keys())

    def _ask(self, wanted: list[str]) -> None:
        until = self._clock.monotonic() + PATIENCE.total_seconds()
        with closing(self._connect()) as api:
            for container_id in wanted:
                if self._clock.monotonic() > until:
                    return
                self._asked[container_id] = self._size(api, container_id)

    @staticmethod
    def _size(api: EngineApi, container_id: str) -> int | None:
        try:
            return api.container_size(container_id)
        except EngineUnavailable as error:
            if error.state is not EngineState.HUNG:
                raise
            log.info("the size of container %s stays unknown: Docker does not measure it in time", container_id[:12])
        except EngineError as error:
            log.debug("the size of container %s stays unknown: %s", container_id[:12], error)
        return None
