"""The threads that push the state of all alerts to Alertmanagers, one for each, so that none waits for another."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from daemon.alerts import alertmanager, outbox
from daemon.alerts.lane import SinkStats
from daemon.alerts.sender import Trial
from daemon.alerts.sink import Rejected, Retry, Sent, SinkDown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from daemon.alerts.alertmanager import Pushed
    from daemon.alerts.sink import Outcome
    from daemon.clock import Clock
    from daemon.crew import Crew, Worker
    from daemon.steady import SteadyClock
    from daemon.store import Store

log = logging.getLogger(__name__)

EVERY = timedelta(seconds=60)
AT_ONCE = 100
"""Alerts in one request."""
_RETRY = (5.0, 60.0)
"""Seconds after a failure: doubling from the first to the last."""
_CLOSING = timedelta(seconds=5)


class Receiver(Protocol):
    """One Alertmanager, as the thread that pushes to it sees it."""

    def post(self, document: object) -> Outcome:
        """Send a list of alerts; does not raise for the other side's faults."""
        ...


class Push:
    """
    The state of all alerts pushed to one Alertmanager, from one thread.

    Nothing queues up: what could not be pushed is pushed as it stands then. `steady` dates the store, `clock` the
    alerts themselves.
    """

    def __init__(  # noqa: PLR0913  a collaborator each, named at the one place that builds them
        self, name: str, receiver: Receiver, *, store: Store, clock: Clock, steady: SteadyClock, host: str
    ) -> None:
        self.receiver = receiver
        self.host = host
        self.stats = SinkStats(name=name)
        self._store = store
        self._clock = clock
        self._steady = steady
        self._told = alertmanager.Told()
        self._failures = 0

    @property
    def failing(self) -> bool:
        """True while the last push failed."""
        return self._failures > 0

    def send(self, worker: Worker) -> timedelta:
        """Push everything once, and say how long that lasts if nothing happens; beats between requests."""
        states = outbox.standing(self._store, self._steady.now() - alertmanager.RESENT)
        alerts = self._told.round(states, self._clock.now())
        outcome: Outcome = Sent()
        for some in _chunks(alerts):
            worker.beat()
            outcome = self.receiver.post(some)
            if isinstance(outcome, Retry | SinkDown):
                break
            if isinstance(outcome, Rejected):
                self._refused(outcome.why)
        return self._settle(outcome, len(alerts))

    def trial(self) -> Trial:
        """Push an alert that only shows that alerts arrive, and say what came back."""
        outcome = self.receiver.post([alertmanager.trial(self.host, self._clock.now())])
        if isinstance(outcome, Sent):
            return Trial(self.stats.name, accepted=True, words="accepted: it routes ShipkeeperTest, severity info")
        return Trial(self.stats.name, accepted=False, words=outcome.why)

    def _settle(self, outcome: Outcome, count: int) -> timedelta:
        if isinstance(outcome, Retry | SinkDown):
            return self._failed(outcome, count)
        if self.failing:
            log.info("%s takes alerts again", self.stats.name)
        self._failures = 0
        error = self.stats.last_error if isinstance(outcome, Rejected) else ""
        self.stats = replace(self.stats, state="ok", sent=self.stats.sent + 1, last_error=error, depth=0, oldest=None)
        return EVERY

    def _refused(self, why: str) -> None:
        """Note that it refused some: it takes the good ones of a request all the same."""
        if why != self.stats.last_error:
            log.error("%s does not take some of the alerts: %s", self.stats.name, why)
        self.stats = replace(self.stats, failed=self.stats.failed + 1, last_error=why)

    def _failed(self, outcome: Retry | SinkDown, count: int) -> timedelta:
        first, last = _RETRY
        pause = timedelta(seconds=min(first * 2.0 ** min(self._failures, 8), last))
        said = self.stats.last_error == outcome.why
        level = logging.DEBUG if said else logging.ERROR if isinstance(outcome, SinkDown) else logging.WARNING
        log.log(level, "%s gets no alerts: %s", self.stats.name, outcome.why)
        self._failures += 1
        self.stats = replace(
            self.stats,
            state="down" if isinstance(outcome, SinkDown) else "retrying",
            retries=self.stats.retries + 1,
            last_error=outcome.why,
            depth=count,
            oldest=self.stats.oldest or (self._steady.now() if count else None),
        )
        return pause


class _Thread:
    """The thread of one push."""

    def __init__(self, push: Push, crew: Crew) -> None:
        self.push = push
        self.wake = threading.Event()
        self.worker = crew.worker(push.stats.name, self._run)

    def stop(self) -> None:
        self.worker.stop()
        self.wake.set()

    def _run(self) -> None:
        while True:
            self.wake.clear()  # first, so that whatever happens while we push wakes us again
            closing = self.worker.stopping.is_set()
            if closing and self.push.failing:
                return
            pause = self._push()
            if closing:
                return
            self._rest(pause)

    def _push(self) -> timedelta:
        try:
            return self.push.send(self.worker)
        except Exception:
            # The boundary of a round: whatever went wrong in it, the next one begins from the states again.
            log.exception("a push to %s failed", self.push.stats.name)
            return EVERY

    def _rest(self, pause: timedelta) -> None:
        """Wait; news shortens that only where the last push arrived."""
        self.worker.beat()
        (self.worker.stopping if self.push.failing else self.wake).wait(pause.total_seconds())


class Pusher:
    """Pushes to every Alertmanager, from `start` to `close`; `receivers` are by the names that people read."""

    def __init__(  # noqa: PLR0913  the composition root hands in each collaborator by name
        self,
        receivers: Mapping[str, Receiver],
        *,
        store: Store,
        clock: Clock,
        steady: SteadyClock,
        host: str,
        crew: Crew,
    ) -> None:
        self._store = store
        self._clock = clock
        self._steady = steady
        self._crew = crew
        self._started = False
        self._threads = {name: self._thread(name, receiver, host) for name, receiver in receivers.items()}

    @property
    def stats(self) -> tuple[SinkStats, ...]:
        """How each Alertmanager is doing."""
        return tuple(thread.push.stats for thread in self._threads.values())

    def start(self) -> None:
        """Start a thread for each; what is wrong now is pushed at once."""
        self._started = True
        for thread in self._threads.values():
            thread.worker.start()

    def wake(self) -> None:
        """Say that an alert has changed; never blocks."""
        for thread in self._threads.values():
            thread.wake.set()

    def adopt(self, receivers: Mapping[str, Receiver], host: str) -> None:
        """Push to these from now on; only the main thread may ask for it."""
        before = self._threads
        after = {name: before.get(name) or self._thread(name, receiver, host) for name, receiver in receivers.items()}
        for name, thread in after.items():
            thread.push.receiver, thread.push.host = receivers[name], host
        self._threads = after
        for name, thread in after.items():
            if name not in before and self._started:
                thread.worker.start()
        for name in before.keys() - after.keys():
            before[name].stop()
        self.wake()

    def stop(self) -> None:
        """Ask the threads to end after one last push; never waits."""
        for thread in self._threads.values():
            thread.stop()

    def close(self) -> None:
        """End the threads; one that still waits for its Alertmanager is left behind."""
        self.stop()
        for thread in self._threads.values():
            thread.worker.join(_CLOSING)

    def trials(self) -> Iterator[Trial]:
        """Push a test alert to each, and say what came back."""
        for thread in self._threads.values():
            yield thread.push.trial()

    def _thread(self, name: str, receiver: Receiver, host: str) -> _Thread:
        push = Push(name, receiver, store=self._store, clock=self._clock, steady=self._steady, host=host)
        return _Thread(push, self._crew)


def _chunks(alerts: Sequence[Pushed]) -> Iterator[Sequence[Pushed]]:
    """Give at least one list, if an empty one: so a wrong address is noticed before there is anything to tell."""
    for first in range(0, max(len(alerts), 1), AT_ONCE):
        yield alerts[first : first + AT_ONCE]
