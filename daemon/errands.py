"""Work that may take for ever: one at a time, in a thread that nobody waits for."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.clock import Clock

log = logging.getLogger(__name__)


class Errand:
    """
    A piece of work that Docker may hold up for minutes, and a dead disk until the next boot.

    A lane that waited for it would miss its heartbeats. The work says by itself how old its result is.
    """

    def __init__(self, name: str, work: Callable[[], None], clock: Clock) -> None:
        self.name = name
        self._work = work
        self._clock = clock
        self._away = threading.Lock()
        self.last_success: float | None = None
        """When it last came back well, as a Unix time."""
        self.seconds: float | None = None
        """What the last one took that came back."""
        self.failures = 0

    def run(self) -> None:
        """Begin the work, unless the last time has not ended; never waits."""
        if self._away.acquire(blocking=False):
            threading.Thread(target=self._run, name=self.name, daemon=True).start()

    def _run(self) -> None:
        began = self._clock.monotonic()
        try:
            self._work()
            self.last_success = self._clock.now().timestamp()
        except Exception:  # the boundary of a run: the next one may do better, and the old result ages out
            self.failures += 1
            log.exception("%s failed", self.name)
        finally:
            self.seconds = self._clock.monotonic() - began
            self._away.release()
