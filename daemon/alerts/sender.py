"""The threads that work the lanes, one for each sink, so that none waits for another."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.alerts import message
from daemon.alerts.lane import IDLE_SECONDS, Lane
from daemon.alerts.sink import Sent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.alerts.lane import SinkStats
    from daemon.alerts.sink import Sink
    from daemon.clock import Clock
    from daemon.crew import Crew
    from daemon.store import Store

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0
"""How long `close` waits for what is due."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of a test message: whether the sink took it, and that in words."""

    sink: str
    accepted: bool
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A sink, and how many messages a second it takes on average; 0 for no limit."""

    sink: Sink
    per_second: float = 0.0
    by_default: bool = True
    """False for a sink that is told only what a route leads to it."""


class _Courier:
    """The thread of one lane."""

    def __init__(self, lane: Lane, crew: Crew) -> None:
        self.lane = lane
        self.wake = threading.Event()
        self.worker = crew.worker(f"sender-{lane.sink.name}", self._run)

    def stop(self) -> None:
        """Look once more, then end; returns at once."""
        self.worker.stop()
        self.wake.set()

    def dismiss(self) -> None:
        """End without another message; returns at once."""
        self.lane.dismissed.set()
        self.stop()

    def _run(self) -> None:
        while not self.lane.dismissed.is_set():
            self.wake.clear()  # first, so that whatever comes while we look wakes us again
            closing = self.worker.stopping.is_set()
            pause = self._work()
            if closing:
                return
            self.worker.beat()
            self.wake.wait(pause)

    def _work(self) -> float:
        try:
            return self.lane.send_due()
        except Exception:
            # The boundary of a round: whatever went wrong in it, the sink is tried again.
            log.exception("a round of sending to %s failed", self.lane.sink.name)
            return IDLE_SECONDS


class Sender:
    """
    Sends what the outbox holds, from `start` to `close`.

    `clock` is the one that the outbox is dated by.
    """

    def __init__(  # noqa: PLR0913  the composition root hands in each collaborator by name
        self,
        store: Store,
        routes: Sequence[Route],
        clock: Clock,
        *,
        host: str,
        crew: Crew,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._host = host
        self._crew = crew
        self._jitter = jitter
        self._abandoned = threading.Event()
        self._started = False
        self._couriers: Mapping[str, _Courier] = {route.sink.name: self._courier(route) for route in routes}
        self._by_default = _by_default(routes)

    @property
    def sinks(self) -> tuple[str, ...]:
        """The names of the sinks that messages go to unless a route leads them elsewhere."""
        return self._by_default

    @property
    def stats(self) -> tuple[SinkStats, ...]:
        """How each sink is doing."""
        return tuple(courier.lane.stats for courier in self._couriers.values())

    def start(self) -> None:
        """Start a thread for each sink; what was left from before goes out at once."""
        self._started = True
        for courier in self._couriers.values():
            courier.worker.start()

    def wake(self) -> None:
        """Say that something new may be due; never blocks."""
        for courier in self._couriers.values():
            courier.wake.set()

    def adopt(self, routes: Sequence[Route], host: str) -> None:
        """
        Send to these sinks from now on; only the main thread may ask for it.

        One of a name that was there before takes over its lane, and what it has yet to be told. What was due
        for a sink that is gone waits in the outbox for as long as it is news.
        """
        before, self._host = self._couriers, host
        after = dict[str, _Courier]()
        for route in routes:
            name = route.sink.name
            if known := before.get(name):
                known.lane.adopt(route.sink, host, route.per_second)
                after[name] = known
            else:
                after[name] = self._courier(route)
        self._couriers, self._by_default = after, _by_default(routes)
        for name, courier in after.items():
            if name not in before and self._started:
                courier.worker.start()
        for name in before.keys() - after.keys():
            before[name].dismiss()
        self.wake()

    def stop(self) -> None:
        """Ask the threads to end after what is due now; never waits."""
        for courier in self._couriers.values():
            courier.stop()

    def close(self) -> None:
        """Send what is due, for at most `FLUSH_SECONDS`; the rest stays in the outbox for the next start."""
        self.stop()
        until = self._clock.monotonic() + FLUSH_SECONDS
        for courier in self._couriers.values():
            courier.worker.join(timedelta(seconds=max(0.0, until - self._clock.monotonic())))
        self._abandoned.set()

    def test_message(self, name: str) -> Trial:
        """Send a test message to the sink of this name, past the outbox, and say what came back."""
        outcome = self._couriers[name].lane.sink.send(message.trial(self._host))
        if isinstance(outcome, Sent):
            return Trial(name, accepted=True, words="accepted")
        return Trial(name, accepted=False, words=outcome.why)

    def _courier(self, route: Route) -> _Courier:
        lane = Lane(
            store=self._store,
            sink=route.sink,
            clock=self._clock,
            host=self._host,
            per_second=route.per_second,
            jitter=self._jitter,
            abandoned=self._abandoned,
        )
        return _Courier(lane, self._crew)


def _by_default(routes: Sequence[Route]) -> tuple[str, ...]:
    return tuple(route.sink.name for route in routes if route.by_default)
