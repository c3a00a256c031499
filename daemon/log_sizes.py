"""The slow lane that measures the log files of the containers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.disk_families import log_families
from collectors.log_files import log_bytes
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from collectors.facts import Container
    from collectors.families import Family
    from daemon.clock import Clock
    from daemon.snapshot import Snapshot

log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
PATIENCE = timedelta(seconds=10)
"""For one round; where it is not enough the sum is not known."""
_KEPT = 3 * EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSizes:
    """What the logs of the containers take, as of `at`; `problem` says why not all of them are known."""

    at: datetime
    sizes: tuple[tuple[Container, int], ...]
    families: tuple[Family, ...]
    """The sizes as metrics, rendered once and not in every scrape."""
    problem: str = ""

    @property
    def total_bytes(self) -> int | None:
        """What all of them take together; `None` where one of them is not known."""
        return None if self.problem else sum(size for _, size in self.sizes)


class LogLane:
    """Looks at the files themselves, so it is for an engine on this machine. `measure` belongs to one thread."""

    def __init__(self, snapshot: Callable[[], Snapshot | None], clock: Clock) -> None:
        self._snapshot = snapshot
        self._clock = clock
        self._problem = ""
        self._measured: tuple[float, LogSizes] | None = None

    @property
    def latest(self) -> LogSizes | None:
        """What was measured last, from any thread; `None` before the first time and once it is too old."""
        if self._measured is None or self._clock.monotonic() > self._measured[0] + _KEPT.total_seconds():
            return None
        return self._measured[1]

    @property
    def begun(self) -> bool:
        """True once logs were measured, be it long ago."""
        return self._measured is not None

    def measure(self) -> None:
        """Look at the logs of all containers; nothing is measured while Docker does not tell of them."""
        snapshot = self._snapshot()
        if snapshot is None or not snapshot.docker_known or not snapshot.complete:
            return
        began = self._clock.monotonic()
        sizes: list[tuple[Container, int]] = []
        problem = ""
        for container in snapshot.facts.containers:
            if self._clock.monotonic() - began > PATIENCE.total_seconds():
                problem = f"{len(sizes)} of {len(snapshot.facts.containers)} took {words.duration(PATIENCE)}"
                break
            try:
                size = log_bytes(container, snapshot.facts.engine.data_root)
            except OSError as error:
                problem = problem or words.fault(error)
                continue
            if size is not None:
                sizes.append((container, size))
        self._tell(problem)
        found = LogSizes(at=self._clock.now(), sizes=tuple(sizes), families=tuple(log_families(sizes)), problem=problem)
        self._measured = began, found

    def _tell(self, problem: str) -> None:
        """Say once that logs cannot be measured, and once that they can be again."""
        if problem and not self._problem:
            log.warning("what container logs take is not known: %s; run as root to see them", problem)
        if self._problem and not problem:
            log.info("what container logs take is known again")
        self._problem = problem
