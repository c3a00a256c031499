"""The threads that work the lanes, one for each sink, so that none waits for another."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
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


class Sender:
    """
    Sends what the outbox holds, from `start` to `close`.

    `per_second` limits a sink by its name; a sink that is not in it has no limit.
    """

    def __init__(  # noqa: PLR0913  the composition root hands in each collaborator by name
        self,
        store: Store,
        sinks: Sequence[Sink],
        clock: Clock,
        *,
        host: str,
        crew: Crew,
        per_second: Mapping[str, float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._host = host
        self._abandoned = threading.Event()
        self._lanes = [
            Lane(
                store=store,
                sink=sink,
                clock=clock,
                host=host,
                per_second=per_second.get(sink.name, 0.0),
                jitter=jitter,
                abandoned=self._abandoned,
            )
            for sink in sinks
        ]
        self._wakes = [threading.Event() for _ in sinks]
        self._workers = [
            crew.worker(f"sender-{sink.name}", partial(self._run, number)) for number, sink in enumerate(sinks)
        ]

    @property
    def stats(self) -> tuple[SinkStats, ...]:
        """How each sink is doing."""
        return tuple(lane.stats for lane in self._lanes)

    def start(self) -> None:
        """Start a thread for each sink; what was left from before goes out at once."""
        for worker in self._workers:
            worker.start()

    def wake(self) -> None:
        """Say that something new may be due; never blocks."""
        for wake in self._wakes:
            wake.set()

    def stop(self) -> None:
        """Ask the threads to end after what is due now; never waits."""
        for worker in self._workers:
            worker.stop()
        self.wake()

    def close(self) -> None:
        """Send what is due, for at most `FLUSH_SECONDS`; the rest stays in the outbox for the next start."""
        self.stop()
        until = self._clock.monotonic() + FLUSH_SECONDS
        for worker in self._workers:
            worker.join(timedelta(seconds=max(0.0, until - self._clock.monotonic())))
        self._abandoned.set()

    def test_message(self, name: str) -> Trial:
        """Send a test message to the sink of this name, past the outbox, and say what came back."""
        sink = next(lane.sink for lane in self._lanes if lane.sink.name == name)
        outcome = sink.send(message.trial(self._host))
        if isinstance(outcome, Sent):
            return Trial(name, accepted=True, words="accepted")
        return Trial(name, accepted=False, words=outcome.why)

    def _run(self, number: int) -> None:
        lane, wake, worker = self._lanes[number], self._wakes[number], self._workers[number]
        while True:
            wake.clear()  # first, so that whatever comes while we look wakes us again
            closing = worker.stopping.is_set()
            pause = self._work(lane)
            if closing:
                return
            worker.beat()
            wake.wait(pause)

    def _work(self, lane: Lane) -> float:
        try:
            return lane.send_due()
        except Exception:
            # The boundary of a round: whatever went wrong in it, the sink is tried again.
            log.exception("a round of sending to %s failed", lane.sink.name)
            return IDLE_SECONDS
