"""The thread that looks after the NVML reader: begins it again when it dies, and gives it up when it hangs."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from collectors.facts import Known, Source, Unknown
from collectors.nvml_lines import LineError, Listing, Refusal, read_line
from daemon.backoff import Backoff
from daemon.gpu_child import ChildEndedError
from daemon.gpu_roster import GpuRoster
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from collectors.gpu_facts import Gpu, GpuSample
    from collectors.kernel_log import LoggedXid
    from daemon.clock import Clock
    from daemon.crew import Crew
    from daemon.gpu_child import Child

log = logging.getLogger(__name__)

KEPT_INTERVALS = 3
"""So many without a line, and the sample is withdrawn and the reader is replaced."""
_DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND = 9, 12
"""What NVML says on a machine that has no GPUs."""
_LOADED_DRIVER = Path("/proc/driver/nvidia/version")
_MOST_STUCK = 3
"""Readers that the driver holds in the kernel: as long as there are so many, no other one is begun."""
_MOST_RECENT = 32
"""More samples than come between two cycles of the watch thread."""
_LOOK_INTO_LOG = timedelta(minutes=1)
"""How often, where NVML tells no XID errors."""
_SLICE = timedelta(seconds=1)
_ONCE = timedelta(seconds=20)
_CLOSING = timedelta(seconds=3)
_CHILD, _FAULT = "child", "fault"


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the watch waits for what; a test has less of it."""

    first: timedelta = timedelta(seconds=60)
    """For the first line: a driver that nobody keeps awake loads its firmware first, for seconds with each GPU."""
    absent: timedelta = timedelta(minutes=5)
    """Between two looks at a machine without GPUs."""
    again: tuple[timedelta, timedelta] = (timedelta(seconds=1), timedelta(minutes=1))
    """Before a reader that died is begun again: doubling from the first to the last."""
    renewed: tuple[timedelta, timedelta] = (timedelta(minutes=1), timedelta(minutes=15))
    """Before a reader that misses a GPU is replaced by a fresh one, which may see it again: likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Standing:
    """What is known now; `sample` was taken at the monotonic `taken`."""

    why: str
    since: datetime
    absent: bool = False
    sample: GpuSample | None = None
    taken: float = 0.0
    recent: tuple[tuple[float, GpuSample], ...] = ()


class GpuWatch:
    """
    The GPUs of this host, as long as anybody can tell of them; its properties may be read from any thread.

    `begin` starts a reader, `kernel_log` gives the XID errors of the kernel's log, `before` are the GPUs that this
    machine had before we were started, with their errors up to `xids_until`. `wake` is called, in the watch's
    thread, when GPUs come into reach or out of it, and for every XID error. `driver` is a file that is there while
    a driver is loaded.
    """

    def __init__(  # noqa: PLR0913  each is a world of its own
        self,
        begin: Callable[[], Child],
        kernel_log: Callable[[], tuple[LoggedXid, ...]],
        clock: Clock,
        wake: Callable[[], None],
        crew: Crew,
        *,
        interval: timedelta,
        enabled: bool = True,
        before: Iterable[Gpu] = (),
        xids_until: float = 0.0,
        driver: Path = _LOADED_DRIVER,
        patience: Patience | None = None,
    ) -> None:
        self._begin = begin
        self._kernel_log = kernel_log
        self._clock = clock
        self._wake = wake
        self._interval = interval
        self._enabled = enabled
        self._driver = driver
        self._patience = patience or Patience()
        self._roster = GpuRoster(before)
        self._child: Child | None = None
        self._ended: list[Child] = []
        self._backoff = Backoff(*self._patience.again)
        self._renewals = Backoff(*self._patience.renewed)
        self._renew_at: float | None = None
        self._heard_since: float | None = None
        self._heard_until = xids_until
        self._told: object = None
        self._standing = _Standing(why="the GPUs have not been read yet", since=clock.now(), absent=not enabled)
        self._worker = crew.worker("gpu", self._run)

    @property
    def latest(self) -> GpuSample | None:
        """The newest sample; `None` where there are no GPUs, and once it is three intervals old."""
        standing = self._standing
        age = self._clock.monotonic() - standing.taken
        return standing.sample if age <= KEPT_INTERVALS * self._interval.total_seconds() else None

    @property
    def recent(self) -> tuple[tuple[float, GpuSample], ...]:
        """
        The newest sample and some before it, the oldest first, each with when it was taken by the monotonic clock.

        None where `latest` is None, and none from before an outage.
        """
        standing = self._standing
        return standing.recent if self.latest is not None else ()

    @property
    def source(self) -> Source:
        """Whether the GPUs are known; that there are none is known, too."""
        standing, sample = self._standing, self.latest
        if standing.absent:
            return Known(self._clock.now())
        return Known(sample.at) if sample else Unknown(standing.why, standing.since)

    def start(self) -> None:
        """Start the thread, unless it is switched off."""
        if self._enabled:
            self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end; never waits."""
        self._worker.stop()
        if child := self._child:
            child.end()

    def close(self) -> None:
        """End the thread and the reader."""
        self.stop()
        self._worker.join(_CLOSING)

    def look_once(self) -> None:
        """Take one sample in the caller's thread."""
        if self._enabled:
            try:
                self._serve(once=True)
            finally:
                self._bury_all()

    def _run(self) -> None:
        try:
            while not self._worker.stopping.is_set():
                try:
                    pause = self._serve()
                except Exception:  # the boundary of a reader's life: no fault of a GPU may end the daemon
                    log.exception("could not look after the NVML reader")
                    pause = self._failed("the NVML reader cannot be looked after")
                self._rest(pause)
        finally:
            self._bury_all()

    def _rest(self, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while (left := until - self._clock.monotonic()) > 0 and not self._worker.stopping.is_set():
            self._worker.beat()
            self._bury()
            slices = 1 if self._ended else 10
            self._worker.stopping.wait(min(left, slices * _SLICE.total_seconds()))

    def _serve(self, *, once: bool = False) -> float:
        """Look after one reader from its beginning to its end; give how long to wait before the next one."""
        self._bury()
        if len(self._ended) >= _MOST_STUCK:
            return self._failed("the GPU driver does not let go of those who ask it")
        began = self._clock.monotonic()
        try:
            child = self._begin()
        except OSError as error:
            return self._failed(f"the NVML reader cannot be started: {words.fault(error)}")
        self._child = child
        try:
            pause = self._take_first(child) if once else self._follow(child)
        finally:
            self._child = None
            child.end()
            self._ended.append(child)
        if self._clock.monotonic() - began > self._patience.again[1].total_seconds():
            self._backoff.over(_CHILD)
        return pause

    def _take_first(self, child: Child) -> float:
        try:
            line = child.line(_ONCE)
        except ChildEndedError as error:
            return self._failed(str(error))
        return (line is not None and self._heed(line)) or 0.0

    def _follow(self, child: Child) -> float:
        heard, patience = self._clock.monotonic(), self._patience.first
        while not self._worker.stopping.is_set():
            self._worker.beat()
            self._bury()
            try:
                line = child.line(min(_SLICE, patience))
            except ChildEndedError as error:
                return 0.0 if self._worker.stopping.is_set() else self._failed(str(error))
            now = self._clock.monotonic()
            if line is not None:
                heard, patience = now, self._interval * KEPT_INTERVALS
                if (pause := self._heed(line)) is not None:
                    return pause
            elif now - heard > patience.total_seconds():
                return self._failed(f"the GPU driver has not answered for {words.duration(patience)}")
        return 0.0

    def _heed(self, line: bytes) -> float | None:
        """Take what the reader says; give the pause before the next reader if this one is of no more use."""
        try:
            said = read_line(line)
        except LineError as error:
            return self._failed(str(error))
        if isinstance(said, Refusal):
            return self._refused(said)
        if not said.gpus and not self._roster:
            return self._absent("NVML knows none")
        self._take(said)
        return 0.0 if self._wants_a_fresh_one() else None

    def _refused(self, said: Refusal) -> float:
        if said.code == _DRIVER_NOT_LOADED and self._driver.exists():
            return self._failed(
                "the NVIDIA driver is loaded, but its devices cannot be opened; "
                "under systemd gpu.conf lets them in, in a container --gpus all"
            )
        if said.code in {_DRIVER_NOT_LOADED, _LIBRARY_NOT_FOUND} and not self._roster:
            return self._absent(said.why)
        return self._failed(f"NVML says: {said.why}")

    def _take(self, listing: Listing) -> None:
        now, at = self._clock.monotonic(), self._clock.now()
        self._roster.meet(listing)
        self._fill_gap(listing.listening_since, now, at)
        for (uuid, xid), times in Counter(listing.xids).items():  # some come by the thousand
            log.warning("GPU %s reports XID %d, %d times", words.plain(uuid) or "unknown", xid, times)
            self._roster.note_xid(uuid, xid, at, times)
        sample = self._roster.sample(listing, at, self._heard_until)
        self._stand(
            _Standing(
                why=f"the GPU driver has not answered for {words.duration(self._interval * KEPT_INTERVALS)}",
                since=at,
                sample=sample,
                taken=now,
                recent=(*self._standing.recent[1 - _MOST_RECENT :], (now, sample)),
            )
        )

    def _fill_gap(self, listening_since: float | None, now: float, at: datetime) -> None:
        """Count the XID errors that came while no reader listened, as far as the kernel's log may be read."""
        until = now if listening_since is None else listening_since
        deaf = listening_since is None and now - self._heard_until >= _LOOK_INTO_LOG.total_seconds()
        if deaf or listening_since not in {None, self._heard_since}:
            for logged in self._kernel_log():
                if self._heard_until < logged.at < until and (uuid := self._roster.by_address(logged.pci)):
                    self._roster.note_xid(uuid, logged.xid, at - timedelta(seconds=now - logged.at))
            self._heard_until = until
        if listening_since is not None:
            self._heard_since, self._heard_until = listening_since, now

    def _wants_a_fresh_one(self) -> bool:
        """Tell whether it is time for another reader: one that has lost a GPU does not see it come back."""
        now, sample = self._clock.monotonic(), self._standing.sample
        if sample is None or all(gpu.fault is None for gpu in sample.gpus):
            self._renew_at = None
            self._renewals.over(_FAULT)
            return False
        if self._renew_at is None:
            self._renewals.failed(_FAULT, now)
            self._renew_at = now + self._renewals.left(_FAULT, now)
        if now < self._renew_at:
            return False
        self._renew_at = None
        return True

    def _absent(self, why: str) -> float:
        log.debug("no GPUs on this machine: %s", why)
        self._stand(_Standing(why=why, since=self._clock.now(), absent=True))
        return self._patience.absent.total_seconds()

    def _failed(self, why: str) -> float:
        now = self._clock.monotonic()
        self._backoff.failed(_CHILD, now)
        known = self._standing
        if known.sample is not None or known.absent or known.why != why:
            log.warning("the GPUs cannot be read: %s", words.plain(why))
        since = known.since if known.sample is None and not known.absent else self._clock.now()
        self._stand(_Standing(why=why, since=since))
        return self._backoff.left(_CHILD, now)

    def _stand(self, standing: _Standing) -> None:
        before, self._standing = self._standing.sample, standing
        gpus = standing.sample.gpus if standing.sample else ()
        faults = {gpu.uuid: gpu.fault for gpu in before.gpus} if before else {}
        if standing.sample is not None and before is None:
            log.info("%d GPUs are read, driver %s", len(gpus), words.plain(standing.sample.driver_version))
        for gpu in gpus:
            if gpu.fault is not faults.get(gpu.uuid):
                how = gpu.fault.replace("_", " ") if gpu.fault else "can be read again"
                log.warning("GPU %d (%s): %s", gpu.index, words.plain(gpu.uuid) or "without a name", how)
        told = standing.absent, standing.sample is None, [(gpu.uuid, gpu.fault, gpu.xids) for gpu in gpus]
        if told != self._told:
            self._told = told
            self._wake()

    def _bury(self) -> None:
        self._ended = [child for child in self._ended if not child.gone()]

    def _bury_all(self) -> None:
        """Wait a moment for the readers that were killed: one that the driver holds stays behind."""
        for _ in range(100):
            self._bury()
            if not self._ended:
                return
            Event().wait(0.01)
        log.warning("the GPU driver holds %d NVML readers in the kernel; they are left behind", len(self._ended))
