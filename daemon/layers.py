"""The slow lane that measures the writable layers of containers a cleanup would remove."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from collectors.engine_errors import EngineError
from collectors.facts import SubjectKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collectors.engine_api import EngineApi
    from daemon.snapshot import Snapshot

log = logging.getLogger(__name__)


class LayerSizes:
    """
    Sizes in bytes by container id, each measured once: an ended container's layer no longer changes.

    The engine walks the whole layer to answer, so only candidates are asked for, one at a time, never in
    the watch thread.
    """

    def __init__(self, connect: Callable[[], EngineApi], snapshot: Callable[[], Snapshot | None]) -> None:
        self._connect = connect
        self._snapshot = snapshot
        self._sizes: Mapping[str, int] = {}

    def latest(self) -> Mapping[str, int]:
        """Give what was measured so far; immutable, from any thread."""
        return self._sizes

    def measure(self) -> bool:
        """Measure the candidates that have no size yet; tell whether there is news."""
        snapshot = self._snapshot()
        if snapshot is None:
            return False
        present = {container.id for container in snapshot.facts.containers}
        sizes = {key: size for key, size in self._sizes.items() if key in present}
        wanted = [
            removal.object.id
            for removal in snapshot.decision.removals
            if removal.object.kind is SubjectKind.CONTAINER and removal.object.id not in sizes
        ]
        if wanted:
            try:
                sizes.update(self._ask(wanted))
            except EngineError as error:
                log.debug("no sizes of containers: %s", error)
        news = sizes.keys() - self._sizes.keys()
        self._sizes = sizes
        return bool(news)

    def _ask(self, wanted: list[str]) -> dict[str, int]:
        api = self._connect()
        try:
            answers = {container_id: api.container_size(container_id) for container_id in wanted}
        finally:
            api.close()
        return {container_id: size for container_id, size in answers.items() if size is not None}
