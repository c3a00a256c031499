"""The daemon's threads: each beats, is begun again when it dies, and is the daemon's end when it keeps dying."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.clock import Clock
    from daemon.heartbeats import Heartbeats

log = logging.getLogger(__name__)

DEATHS = 3
WITHIN = timedelta(minutes=10)
"""A thread that dies `DEATHS` times in this time is not begun again."""
DELAYS = (timedelta(seconds=1), timedelta(seconds=30))
"""Before a dead thread is begun again: doubling from the first to the last, and anew after `WITHIN` without a death."""


class Restarts:
    """When one thread may begin again."""

    def __init__(self) -> None:
        self._died: list[float] = []
        self._in_a_row = 0

    def after_death(self, at: float) -> timedelta | None:
        """Note a death at a monotonic time; give how long to wait, None if the thread is not to begin again."""
        window = WITHIN.total_seconds()
        self._died = [died for died in self._died if at - died < window]
        self._in_a_row = self._in_a_row + 1 if self._died else 0
        self._died.append(at)
        if len(self._died) >= DEATHS:
            return None
        first, last = DELAYS
        return min(first * 2.0 ** min(self._in_a_row, 16), last)


class Worker:
    """One thread of the crew: runs its work, again when that ends by itself, until it is asked to stop."""

    def __init__(self, name: str, work: Callable[[], object], crew: Crew) -> None:
        self.name = name
        self.stopping = threading.Event()
        """Set once the work is to end; the work looks at it."""
        self.restarts = 0
        self._work = work
        self._crew = crew
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread; from now on it has to beat."""
        self.beat()
        self._thread.start()

    def beat(self) -> None:
        """Show that it works."""
        self._crew.beats.beat(self.name)

    def stop(self) -> None:
        """Ask the work to end; never waits."""
        self.stopping.set()

    def join(self, patience: timedelta) -> None:
        """Wait until it has ended, within its patience and the crew's; one that stays is named in the log."""
        if not self.alive:
            return
        self._thread.join(self._crew.capped(patience).total_seconds())
        if self.alive:
            log.warning("the thread %s did not end in time and is left behind", self.name)

    def _run(self) -> None:
        name_this_thread(self.name)
        restarts = Restarts()
        while self._lives_on(restarts):
            self.restarts += 1
        self._crew.beats.leave(self.name)

    def _lives_on(self, restarts: Restarts) -> bool:
        """Work once; tell whether to begin again."""
        try:
            self._work()
            if self.stopping.is_set():
                return False
            log.error("the thread %s ended by itself", self.name)
        except BaseException:  # not even SystemExit, from some library, may end a thread in silence
            log.exception("the thread %s died", self.name)
        pause = restarts.after_death(self._crew.clock.monotonic())
        if pause is None:
            self._crew.lose(self.name)
            return False
        log.error("the thread %s begins again in %s; please report the error above", self.name, words.duration(pause))
        return not self.stopping.wait(pause.total_seconds())


class Crew:
    """
    All threads of one daemon.

    A worker's name has to have a deadline in `beats`: there is no thread that nobody looks after.
    """

    def __init__(self, beats: Heartbeats, clock: Clock) -> None:
        self.beats = beats
        self.clock = clock
        self.lost = ""
        """The name of a thread that died too often; empty while all goes well."""
        self._workers: dict[str, Worker] = {}
        self._until: float | None = None

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each thread was begun again."""
        return {name: worker.restarts for name, worker in list(self._workers.items())}

    @property
    def hanging(self) -> tuple[str, ...]:
        """The names of the threads that have not ended."""
        return tuple(name for name, worker in list(self._workers.items()) if worker.alive)

    def worker(self, name: str, work: Callable[[], object]) -> Worker:
        """Take a thread on; KeyError at its start when its name has no deadline."""
        worker = self._workers[name] = Worker(name, work, self)
        return worker

    def end_within(self, patience: timedelta) -> None:
        """Wait no longer than this from now on, for all of them together."""
        self._until = self.clock.monotonic() + patience.total_seconds()

    def capped(self, patience: timedelta) -> timedelta:
        """Give what is left of a patience."""
        if self._until is None:
            return patience
        return min(patience, timedelta(seconds=max(0.0, self._until - self.clock.monotonic())))

    def lose(self, name: str) -> None:
        """Give a thread up: it died too often."""
        log.critical(
            "the thread %s died %d times within %s: the daemon ends with exit code 1; please report the errors above",
            name,
            DEATHS,
            words.duration(WITHIN),
        )
        self.lost = name


def name_this_thread(name: str) -> None:
    """Tell the kernel, for `top -H` and core dumps; it keeps 15 bytes."""
    with suppress(OSError):  # no /proc: then there is nobody to read it either
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
