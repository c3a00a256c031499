"""The heartbeat that goes out to an address for as long as this daemon works: whoever misses it raises the alarm."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from collectors.families import Family
from daemon.alerts.sink import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from daemon.alerts.sink import Outcome
    from daemon.clock import Clock
    from daemon.crew import Crew

log = logging.getLogger(__name__)

_SLICE = 20.0
"""Seconds after which the thread shows that it lives itself, however long it waits."""
_CLOSING = timedelta(seconds=1)


class Monitor(Protocol):
    """The address that expects us."""

    def get(self) -> Outcome:
        """Ask for it once; does not raise for the other side's faults."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchStats:
    """How the heartbeat has gone since the start."""

    sent: int = 0
    failures: int = 0
    last_success: datetime | None = None
    last_error: str = ""
    """Why the last one failed, or was held back; empty when it arrived."""


class DeadMansSwitch:
    """
    Sends a heartbeat every so often, unless a thread of the daemon is late: then it keeps silent.

    Without a monitor there is no thread. A failure is counted and said once, and nothing more: whoever waits for the
    heartbeat will tell. `stale` names the threads that are late.
    """

    def __init__(
        self, monitor: Monitor | None, every: timedelta, stale: Callable[[], Sequence[str]], clock: Clock, crew: Crew
    ) -> None:
        self._monitor = monitor
        self._every = every
        self._stale = stale
        self._clock = clock
        self._stats = SwitchStats()
        self._nudge = threading.Event()
        self._worker = crew.worker("heartbeat", self._run)
        self._may_start = False

    @property
    def stats(self) -> SwitchStats | None:
        """How it goes; `None` while there is nobody to send it to."""
        return self._stats if self._monitor else None

    def start(self) -> None:
        """Send the first one at once, if there is anybody to send it to."""
        self._may_start = True
        self._engage()

    def adopt(self, monitor: Monitor | None, every: timedelta) -> None:
        """Send to this one from now on; only the main thread may ask for it."""
        self._monitor, self._every = monitor, every
        self._engage()
        self._nudge.set()

    def stop(self) -> None:
        """Ask the thread to end; never waits."""
        self._worker.stop()
        self._nudge.set()

    def close(self) -> None:
        """End the thread; one that still waits for an answer is left behind."""
        self.stop()
        self._worker.join(_CLOSING)

    def beat(self) -> None:
        """Send one, or say why not."""
        monitor = self._monitor
        if monitor is None:
            return
        if late := self._stale():
            self._failed(f"it is held back, for {', '.join(late)} is late")
            return
        outcome = monitor.get()
        if not isinstance(outcome, Sent):
            self._failed(outcome.why)
            return
        if self._stats.last_error:
            log.info("the heartbeat arrives again")
        self._stats = replace(self._stats, sent=self._stats.sent + 1, last_success=self._clock.now(), last_error="")

    def _failed(self, why: str) -> None:
        if why != self._stats.last_error:
            log.warning("the heartbeat does not go out: %s", why)
        self._stats = replace(self._stats, failures=self._stats.failures + 1, last_error=why)

    def _engage(self) -> None:
        if self._monitor and self._may_start:
            self._may_start = False
            self._worker.start()

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            self._worker.beat()
            self.beat()
            self._rest()

    def _rest(self) -> None:
        until = self._clock.monotonic() + self._every.total_seconds()
        self._nudge.clear()
        while not self._worker.stopping.is_set() and (left := until - self._clock.monotonic()) > 0:
            self._worker.beat()
            if self._nudge.wait(min(left, _SLICE)):
                return


def heartbeat_families(stats: SwitchStats | None) -> Iterator[Family]:
    """Give the figures of this moment; none without a monitor."""
    if stats is None:
        return
    prefix = "shipkeeper_outgoing_heartbeat"
    yield Family(f"{prefix}s_total", "counter", "Heartbeats that arrived outside.", [("", stats.sent)])
    yield Family(f"{prefix}_failures_total", "counter", "Heartbeats that did not.", [("", stats.failures)])
    if stats.last_success:
        at = stats.last_success.timestamp()
        yield Family(f"{prefix}_last_success_timestamp_seconds", "gauge", "When the last one arrived.", [("", at)])
