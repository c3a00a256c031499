"""The way of due messages to one sink: in order, at its pace, again after a failure."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from daemon.alerts import incidents, message, outbox
from daemon.alerts.incidents import Delivery
from daemon.alerts.sink import Editor, Probed, Rejected, Retry, Sent, SinkDown

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from daemon.alerts.message import Message
    from daemon.alerts.outbox import Batch
    from daemon.alerts.posts import Post
    from daemon.alerts.sink import Sink
    from daemon.clock import Clock
    from daemon.store import Store

log = logging.getLogger(__name__)

BURST = 3
ROUND_SECONDS = 10.0
"""After so long a lane looks up from its work, however much is due: its thread has to beat its heart."""
IDLE_SECONDS = 30.0
"""A lane with nothing to do looks again after so long, for the same reason."""

_RETRY_SECONDS = (1.0, 300.0)
_PROBE_SECONDS = (30.0, 300.0)
_OUTAGE = 10
"""So many failures in a row, of whatever messages, are those of the sink."""
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
    edits: bool = False
    """True if its messages are changed in place; else each change is another message."""
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

    def take(self, messages: int) -> None:
        """Count so many messages."""
        self._tokens -= messages


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
        self.stats = SinkStats(name=sink.name, edits=isinstance(sink, Editor))
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
        self._known = False
        """Whether the pause that the sink asked for before our start has been looked up."""
        self._asked = False

    def adopt(self, sink: Sink, host: str, per_second: float) -> None:
        """Go on with another sink of this name, from any thread; what the old one failed to take is tried at once."""
        with self._settling:  # else the old one's failure could be noted after this, and pause the new one
            self.sink, self._host, self._bucket = sink, host, Bucket(per_second, self._clock)
            self._failures, self._paused_until = 0, self._clock.monotonic()
            self.stats = replace(self.stats, edits=isinstance(sink, Editor))
            outbox.hurry(self._store, sink.name, self._clock.now())

    def send_due(self) -> float:
        """Send what may go now; give the seconds until it makes sense to look again, if nothing new comes."""
        until = self._clock.monotonic() + ROUND_SECONDS
        seconds = IDLE_SECONDS
        self._remember()
        while not self.dismissed.is_set():
            seconds = max(self._paused_until - self._clock.monotonic(), self._bucket.wait())
            if seconds > 0:
                break
            sink = self.sink
            delivery = self._probe(sink) or self._next(sink)
            if delivery is None:
                seconds = self._until_next()
                break
            if self._abandoned.is_set():
                return IDLE_SECONDS
            with self._settling:
                if sink is not self.sink and isinstance(delivery.outcome, Retry | SinkDown):
                    # The fault was that of a sink which has been replaced meanwhile.
                    outbox.mark_retry(self._store, delivery.ids, delivery.outcome.why, self._clock.now())
                else:
                    self._settle(delivery)
            if self._clock.monotonic() >= until:
                seconds = 0.0
                break
        waiting = outbox.backlog(self._store, self.sink.name)
        self.stats = replace(self.stats, depth=waiting.depth, oldest=waiting.oldest)
        return min(seconds, IDLE_SECONDS)

    def _remember(self) -> None:
        """Go on leaving the sink alone if it asked for that before our start."""
        if not self._known:
            self._known = True
            if at := outbox.pause_of(self._store, self.sink.name):
                left = min(at - self._clock.now(), _LONGEST_PAUSE)
                self._paused_until = self._clock.monotonic() + left.total_seconds()

    def _until_next(self) -> float:
        at = outbox.next_due(self._store, self.sink.name)
        return IDLE_SECONDS if at is None else max(0.0, (at - self._clock.now()).total_seconds())

    def _probe(self, sink: Sink) -> Delivery | None:
        """
        Ask a sink that needs a person whether it takes messages again, rather than send it one; `None` if so.

        It is asked once at the start too: else nobody would know before the first alert.
        """
        at_start, self._asked = not self._asked, True
        if not isinstance(sink, Probed) or not (at_start or self.stats.state == "down"):
            return None
        outcome = sink.probe()
        asked_to_wait = isinstance(outcome, SinkDown) or (isinstance(outcome, Retry) and outcome.after)
        passes = isinstance(outcome, Sent) or (at_start and not asked_to_wait)
        return None if passes else Delivery(ids=(), outcome=outcome)

    def _next(self, sink: Sink) -> Delivery | None:
        """Tell the sink what is due first; `None` if nothing is."""
        now = self._clock.now()
        while (batch := outbox.next_batch(self._store, sink.name, now)) is not None:
            if not (batch.states or batch.missed or batch.digest or batch.report):
                return Delivery(ids=batch.ids, outcome=Rejected("what it was about cannot be read any more"))
            post = None
            if isinstance(sink, Editor):
                batch, post = incidents.place(self._store, sink.name, batch, now)
                if post and (until := incidents.wait_until(batch, post)) > now:
                    outbox.hold(self._store, batch.ids, until)
                    continue
            if (claimed := outbox.claim(self._store, batch, now)).states or not batch.states:
                return self._deliver(claimed, post, sink)
        if not isinstance(sink, Editor):
            return None
        return incidents.refresh(self._store, sink, self._host, now)

    def _deliver(self, batch: Batch, post: Post | None, sink: Sink) -> Delivery:
        try:
            if isinstance(sink, Editor):
                if post:
                    return incidents.go_on(sink, batch, post, self._host)
                return incidents.begin(sink, batch, self._compose(batch))
            return Delivery(ids=batch.ids, outcome=sink.send(self._compose(batch)))
        except Exception as fault:
            # The fan-out to the sinks: a fault of our own in one of them is not the end of its lane.
            log.exception("sending to %s failed", sink.name)
            return Delivery(ids=batch.ids, outcome=Retry(f"{type(fault).__name__} in our own code"))

    def _compose(self, batch: Batch) -> Message:
        if batch.missed:
            return message.missed_ends(batch.missed, self._host)
        if batch.digest:
            return message.week(batch.digest, self._host)
        if batch.report:
            return message.reported(batch.report, self._host)
        return message.compose(batch.states, batch.kind, self._host)

    def _settle(self, delivery: Delivery) -> None:
        now = self._clock.now()
        self._bucket.take(delivery.requests)
        match delivery.outcome:
            case Sent():
                outbox.mark_sent(self._store, delivery.ids, now, delivery.note)
                if self._failures:
                    log.info("%s takes messages again", self.sink.name)
                if self._failures >= _OUTAGE:
                    outbox.forgive(self._store, self.sink.name)
                self._failures = 0
                sent = self.stats.sent + bool(delivery.ids)
                self.stats = replace(self.stats, state="ok", sent=sent, last_error="")
            case Rejected(why):
                outbox.mark_failed(self._store, delivery.ids, why, now)
                log.error("a message to %s is lost: %s", self.sink.name, why)
                self.stats = replace(self.stats, failed=self.stats.failed + 1, last_error=why)
            case Retry(why, after):
                delay = min(after, _LONGEST_PAUSE) if after else self._back_off(_RETRY_SECONDS)
                self._put_off(delivery, why, delay, logging.WARNING)
                self.stats = replace(self.stats, state="retrying")
            case SinkDown(why):
                self._put_off(delivery, why, self._back_off(_PROBE_SECONDS), logging.ERROR)
                self.stats = replace(self.stats, state="down")

    def _put_off(self, delivery: Delivery, why: str, delay: timedelta, level: int) -> None:
        """Pause the whole sink: the next message would meet the same."""
        said = why == self.stats.last_error
        log.log(logging.DEBUG if said else level, "%s; the next try is in %.0f s", why, delay.total_seconds())
        self._failures += 1
        self._paused_until = self._clock.monotonic() + delay.total_seconds()
        named = isinstance(delivery.outcome, Retry) and delivery.outcome.after
        until = self._clock.now() + delay
        outbox.mark_retry(self._store, delivery.ids, why, until, self.sink.name if named else "")
        self.stats = replace(self.stats, retries=self.stats.retries + 1, last_error=why)

    def _back_off(self, seconds: tuple[float, float]) -> timedelta:
        """Double with every failure in a row; the jitter spreads many hosts that lost the same sink."""
        first, last = seconds
        return timedelta(seconds=min(first * 2.0 ** min(self._failures, 16), last) * self._jitter())
