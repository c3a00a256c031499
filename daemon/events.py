"""Follows Docker's event stream: resumes, reconnects, enqueues, wakes."""

from __future__ import annotations

import logging
import random
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from collectors.engine_errors import EngineError, EngineUnavailable
from collectors.engine_events import EVENT_TYPES, StreamEnd
from daemon.event_queue import Batch, EventQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from collectors.engine_api import EngineApi
    from collectors.engine_events import Event, EventStream
    from daemon.clock import Clock
    from daemon.crew import Crew

log = logging.getLogger(__name__)

_OVERLAP: Final = timedelta(seconds=5)
"""Stamps are slightly out of order, so a resumed stream begins this much before the newest event."""
_FIRST_LOOK_BACK: Final = timedelta(seconds=60)
"""The first stream begins this much before us: so a restart of ours misses no `kill` that explains a death."""
_REMEMBERED: Final = 2048
"""Docker replays 256 events at most; Podman as many as there were in the overlap."""
_WAIT: Final = timedelta(seconds=1)
_LONGEST_DELAY: Final = 5.0
_STEADY: Final = 10.0
"""A stream that lasted so many seconds was a good one: the next may be opened at once."""
_CLOSING: Final = timedelta(seconds=5)
_NANOS: Final = 1_000_000_000

_ACTIONS: Final = frozenset(
    {
        "attach",
        "build",
        "commit",
        "connect",
        "copy",
        "create",
        "delete",
        "destroy",
        "detach",
        "die",
        "disconnect",
        "exec_create",
        "exec_detach",
        "exec_die",
        "exec_start",
        "export",
        "health_status",
        "import",
        "kill",
        "load",
        "mount",
        "oom",
        "pause",
        "prune",
        "pull",
        "push",
        "reload",
        "remove",
        "rename",
        "resize",
        "restart",
        "save",
        "start",
        "stop",
        "tag",
        "top",
        "unmount",
        "unpause",
        "untag",
        "update",
    }
)
"""What may become a label; anything else is "other"."""


_IDLE: Final = frozenset(
    {
        "archive-path",
        "attach",
        "copy",
        "detach",
        "exec_create",
        "exec_detach",
        "exec_die",
        "exec_start",
        "export",
        "extract-to-dir",
        "resize",
        "top",
    }
)
"""What changes no container: each health check sends three of these, each look at its processes one."""

_TELLING: Final = frozenset({"container", "image", "daemon"})
"""
What changes a fact. A network's or a volume's events come in a row with a container's own: a cycle begun for
them would only make that one wait. The next cycle takes them along.
"""


class EngineSignals(Protocol):
    """What the reader needs of the engine watch."""

    def wait_up(self, timeout: timedelta) -> bool:
        """Wait until the engine is up; tell whether it is."""
        ...

    def report_lost(self) -> None:
        """Take note that a connection to the engine broke."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderStats:
    """The reader's figures at one moment; all counts are since the start of this process."""

    connected: bool
    reconnects: int
    events_total: Mapping[tuple[str, str], int]
    """By type and action, where what we do not know is "other"."""
    unreadable: int
    """Lines of the stream that were no events."""
    dropped: int
    overflows: int
    last_event_at: datetime | None
    lag_seconds: float | None
    """How much later than its stamp the newest event was read."""


class EventReader:
    """
    The thread "reader": it only parses, enqueues and wakes; a slow reader would slow the engine down.

    Take what it read with `drain()`. It talks to the engine only while `engine` says that it is up.
    """

    def __init__(
        self,
        connect: Callable[[], EngineApi],
        engine: EngineSignals,
        clock: Clock,
        wake: Callable[[], None],
        crew: Crew,
    ) -> None:
        self._connect = connect
        self._engine = engine
        self._clock = clock
        self._wake = wake
        self._queue = EventQueue()
        self._seen = _Seen()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._unreadable = 0
        self._connects = 0
        self._last: Event | None = None
        self._last_read = clock.now()
        self._stream: EventStream | None = None
        self._lock = threading.Lock()
        self._worker = crew.worker("reader", self._run)

    def drain(self) -> Batch:
        """Take what came since the last call, oldest first; never waits."""
        return self._queue.drain()

    @property
    def connected(self) -> bool:
        """True while the stream is open; read it from any thread."""
        return self._stream is not None

    @property
    def stats(self) -> ReaderStats:
        """The figures just now; read them from any thread."""
        with self._lock:
            return ReaderStats(
                connected=self._stream is not None,
                reconnects=max(self._connects - 1, 0),
                events_total=MappingProxyType(dict(self._counts)),
                unreadable=self._unreadable,
                dropped=self._queue.dropped,
                overflows=self._queue.overflows,
                last_event_at=self._last.at if self._last else None,
                lag_seconds=max((self._last_read - self._last.at).total_seconds(), 0.0) if self._last else None,
            )

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end, also while it waits for the stream; never waits."""
        self._worker.stop()
        with self._lock:
            if self._stream is not None:
                self._stream.close()

    def close(self) -> None:
        """End the thread."""
        self.stop()
        self._worker.join(_CLOSING)

    def _run(self) -> None:
        failures = 0
        resumes = False
        while not self._worker.stopping.is_set():
            self._worker.beat()
            if not self._engine.wait_up(_WAIT):
                resumes = False
                continue
            opened_at = self._clock.monotonic()
            end = self._follow(resumes=resumes)
            resumes = end is StreamEnd.QUIET
            if resumes or self._clock.monotonic() - opened_at >= _STEADY:
                failures = 0
            else:
                failures += 1
                self._worker.stopping.wait(_delay(failures))

    def _follow(self, *, resumes: bool) -> StreamEnd:
        """Open a stream and read it to its end; give how it ended."""
        try:
            with closing(self._connect()) as api:
                stream = api.events(self._since())
        except EngineError as error:
            log.debug("no event stream: %s", error)
            if isinstance(error, EngineUnavailable):
                self._engine.report_lost()
            return StreamEnd.EOF
        with stream:
            self._opened(stream, resumes=resumes)
            try:
                for event in stream:
                    self._take(event)
            finally:
                self._ended(stream)
        return stream.end

    def _opened(self, stream: EventStream, *, resumes: bool) -> None:
        self._worker.beat()  # to open a stream may take as long as a silent one lasts
        with self._lock:
            self._stream = stream
            self._connects += not resumes
            if self._worker.stopping.is_set():  # stop() came before there was a stream to end
                stream.close()
        if not resumes:
            # Asked only now that the stream is open: so nothing falls between a list and the first event.
            self._queue.ask_resync()
            self._wake()

    def _take(self, event: Event) -> None:
        self._worker.beat()
        if not self._seen.is_new(event):
            return
        action = event.action.partition(":")[0]
        key = (event.type if event.type in EVENT_TYPES else "other", action if action in _ACTIONS else "other")
        with self._lock:
            self._counts[key] += 1
            self._last = event  # the newest by order, not by stamp: the wall clock may have been set back
            self._last_read = self._clock.now()
        if action in _IDLE:
            return
        self._queue.put(event)
        if event.type in _TELLING:
            self._wake()

    def _ended(self, stream: EventStream) -> None:
        with self._lock:
            self._stream = None
            self._unreadable += stream.unreadable
        if stream.end is StreamEnd.EOF:
            log.info("the event stream ended")
            self._engine.report_lost()
        if stream.unreadable:
            self._queue.ask_resync()
            self._wake()

    def _since(self) -> str:
        """Where to resume, as `"<seconds>.<9 digits>"`: the engine would cut anything else to whole seconds."""
        if self._last is None:
            return f"{(self._clock.now() - _FIRST_LOOK_BACK).timestamp():.9f}"
        # Of a time to come nothing would be sent again: it was stamped before the wall clock was set back.
        newest = min(self._last.time_nano, int(self._clock.now().timestamp() * _NANOS))
        nanos = newest - int(_OVERLAP.total_seconds()) * _NANOS
        return f"{nanos // _NANOS}.{nanos % _NANOS:09d}"


class _Seen:
    """Remembers the last events, by which a resumed stream's repetitions are known."""

    def __init__(self) -> None:
        self._identities: dict[tuple[int, str, str, str], None] = {}

    def is_new(self, event: Event) -> bool:
        """Tell whether this event was not seen before, and remember it."""
        identity = event.identity
        if identity in self._identities:
            return False
        self._identities[identity] = None
        if len(self._identities) > _REMEMBERED:
            del self._identities[next(iter(self._identities))]
        return True


def _delay(failures: int) -> float:
    """Give the seconds to wait after so many failures in a row: doubling, bounded, and not the same for everybody."""
    longest = min(2.0 ** (failures - 1), _LONGEST_DELAY)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  it spreads load, it guards nothing
