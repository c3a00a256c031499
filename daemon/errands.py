"""Work that may take for ever: one at a time, in a thread that nobody waits for."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Errand:
    """
    A piece of work that Docker may hold up for minutes, and a dead disk until the next boot.

    A lane that waited for it would miss its heartbeats. The work says by itself how old its result is.
    """

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._away = threading.Lock()

    def run(self) -> None:
        """Begin the work, unless the last time has not ended; never waits."""
        if self._away.acquire(blocking=False):
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._work()
        except Exception:  # the boundary of a run: the next one may do better, and the old result ages out
            log.exception("%s failed", self._name)
        finally:
            self._away.release()
