"""The way of due messages to one sink: in order, at its pace, again after a failure."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from daemon.alerts import message, outbox
from daemon.alerts.sink import Rejected, Retry, Sent, SinkDown

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from daemon.alerts.message import Message
    from daemon.alerts.outbox import Batch
    from daemon.alerts.sink import Outcome, Sink
    from daemon.clock import Clock
    from daemon.store import Store

log = logging.getLogger(__name__)

BURST = 3
ROUND_SECONDS = 10.0
"""After so long a lane looks up from its work, however much is due: its thread has to beat its heart."""
IDLE_SECONDS = 30.0
"""A lane with nothing to do looks again after so long, for the same reason."""

_RETRY_SECONDS = (1.0, 300.0)
_PROBE_SECONDS = (30.0, 900.0)
_LONGEST_PAUSE = timedelta(hours=1)
"""A sink that wants to be left alone for longer is asked again after so long: it may have meant something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkStats:
    """How one sink is doing, counted since the start."""

    name: str
    state: Literal["ok", "retrying", "down"] = "ok"
    sent: int = 0
    failed: int = 0
    """Messages that it refused for good."""
    retries: int = 0
    last_error: str = ""
    depth: int = 0
    """Alerts that wait to be told."""
    oldest: datetime | None = None
    """Since when the oldest of them waits, by the clock of the lane."""


class Bucket:
    """Lets `BURST` messages through at once, then `per_second`; 0 lets everything through."""

    def __init__(self, per_second: float, clock: Clock) -> None:
        self._per_second = per_second
        self._clock = clock
        self._tokens = float(BURST)
        self._at = clock.monotonic()

    def wait(self) -> float:
        """Give the seconds until the next message may go."""
        if not self._per_second:
            return 0.0
        now = self._clock.monotonic()
        self._tokens = min(self._tokens + (now - self._at) * self._per_second, BURST)
        self._at = now
        return max(0.0, (1.0 - self._tokens) / self._per_second)

    def take(self) -> None:
        """Count one message."""
        self._tokens -= 1.0


class Lane:
    """
    Delivers what is due for one sink; one thread works it. `clock` is the one that the outbox is dated by.

    `abandoned` is set when nobody waits for it any more: what is still being sent then is not noted as sent,
    and is sent once more after the next start.
    """

    def __init__(  # noqa: PLR0913  a collaborator each, named at the one place that builds lanes
        self,
        *,
        store: Store,
        sink: Sink,
        clock: Clock,
        host: str,
        per_second: float,
        jitter: Callable[[], float],
        abandoned: threading.Event,
    ) -> None:
        self.sink = sink
        self.stats = SinkStats(name=sink.name)
        self.dismissed = threading.Event()
        """Set once the sink is to get no further message: what is due for it stays due."""
        self._store = store
        self._clock = clock
        self._host = host
        self._bucket = Bucket(per_second, clock)
        self._jitter = jitter
        self._abandoned = abandoned
        self._settling = threading.Lock()
        self._failures = 0
        self._paused_until = clock.monotonic()

    def adopt(self, sink: Sink, host: str, per_second: float) -> None:
        """Go on with another sink of this name, from any thread; what the old one failed to take is tried at once."""
        with self._settling:  # else the old one's failure could be noted after this, and pause the new one
            self.sink, self._host, self._bucket = sink, host, Bucket(per_second, self._clock)
            self._failures, self._paused_until = 0, self._clock.monotonic()
            outbox.hurry(self._store, sink.name, self._clock.now())

    def send_due(self) -> float:
        """Send what may go now; give the seconds until it makes sense to look again, if nothing new comes."""
        until = self._clock.monotonic() + ROUND_SECONDS
        seconds = IDLE_SECONDS
        while not self.dismissed.is_set():
            seconds = max(self._paused_until - self._clock.monotonic(), self._bucket.wait())
            if seconds > 0:
                break
            batch = outbox.next_batch(self._store, self.sink.name, self._clock.now())
            if batch is None:
                seconds = self._until_next()
                break
            sink = self.sink
            outcome = self._send(batch, sink)
            if self._abandoned.is_set():
                return IDLE_SECONDS
            with self._settling:
                if sink is not self.sink and isinstance(outcome, Retry | SinkDown):
                    # The fault was that of a sink which has been replaced meanwhile.
                    outbox.mark_retry(self._store, batch.ids, outcome.why, self._clock.now())
                else:
                    self._settle(batch, outcome)
            if self._clock.monotonic() >= until:
                seconds = 0.0
                break
        waiting = outbox.backlog(self._store, self.sink.name)
        self.stats = replace(self.stats, depth=waiting.depth, oldest=waiting.oldest)
        return min(seconds, IDLE_SECONDS)

    def _until_next(self) -> float:
        at = outbox.next_due(self._store, self.sink.name)
        return IDLE_SECONDS if at is None else max(0.0, (at - self._clock.now()).total_seconds())

    def _send(self, batch: Batch, sink: Sink) -> Outcome:
        if not (batch.states or batch.missed or batch.digest or batch.report):
            return Rejected("what it was about cannot be read any more")
        self._bucket.take()
        try:
            return sink.send(self._compose(batch))
        except Exception as fault:
            # The fan-out to the sinks: a fault of our own in one of them is not the end of its lane.
            log.exception("sending to %s failed", sink.name)
            return Retry(f"{type(fault).__name__} in our own code")

    def _compose(self, batch: Batch) -> Message:
        if batch.missed:
            return message.missed_ends(batch.missed, self._host)
        if batch.digest:
            return message.week(batch.digest, self._host)
        if batch.report:
            return message.reported(batch.report, self._host)
        return message.compose(batch.states, batch.kind, self._host)

    def _settle(self, batch: Batch, outcome: Outcome) -> None:
        now = self._clock.now()
        match outcome:
            case Sent():
                outbox.mark_sent(self._store, batch.ids, now)
                if self._failures:
                    log.info("%s takes messages again", self.sink.name)
                self._failures = 0
                self.stats = replace(self.stats, state="ok", sent=self.stats.sent + 1, last_error="")
            case Rejected(why):
                outbox.mark_failed(self._store, batch.ids, why, now)
                log.error("a message to %s is lost: %s", self.sink.name, why)
                self.stats = replace(self.stats, failed=self.stats.failed + 1, last_error=why)
            case Retry(why, after):
                delay = min(after, _LONGEST_PAUSE) if after else self._back_off(_RETRY_SECONDS)
                self._put_off(batch, why, delay, logging.WARNING)
                self.stats = replace(self.stats, state="retrying")
            case SinkDown(why):
                self._put_off(batch, why, self._back_off(_PROBE_SECONDS), logging.ERROR)
                self.stats = replace(self.stats, state="down")

    def _put_off(self, batch: Batch, why: str, delay: timedelta, level: int) -> None:
        """Pause the whole sink: the next message would meet the same."""
        said = why == self.stats.last_error
        log.log(logging.DEBUG if said else level, "%s; the next try is in %.0f s", why, delay.total_seconds())
        self._failures += 1
        self._paused_until = self._clock.monotonic() + delay.total_seconds()
        outbox.mark_retry(self._store, batch.ids, why, self._clock.now() + delay)
        self.stats = replace(self.stats, retries=self.stats.retries + 1, last_error=why)

    def _back_off(self, seconds: tuple[float, float]) -> timedelta:
        """Double with every failure in a row; the jitter spreads many hosts that lost the same sink."""
        first, last = seconds
        return timedelta(seconds=min(first * 2.0 ** min(self._failures, 16), last) * self._jitter())
