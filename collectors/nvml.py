"""The program that reads GPUs through NVML in a process of its own: `python -I -m collectors.nvml PARENT INTERVAL`.

Each sample is one line of JSON on standard output; `nvml_lines.py` reads them. A driver can wedge or crash whoever
calls it, so this process holds nothing that anyone would miss, imports nothing of the daemon, and ends with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from contextlib import suppress
from threading import Event
from typing import TYPE_CHECKING, Any

import pynvml

from collectors.nvml_calls import GpuFailedError, LibraryLostError
from collectors.nvml_device import identity, instances, processes, reach, readings, sm_percent

if TYPE_CHECKING:
    from collections.abc import Callable

EAGER_SECONDS = 1.0
"""After an XID error the next sample is taken at once, but no two samples are closer than this."""
_PR_SET_PDEATHSIG = 1
_MOST_XIDS = 1000
"""In one line: a storm of them must not make it endless."""


class Reader:
    """
    NVML, initialised, with an ear for XID errors.

    Raises `LibraryLostError` when the library cannot be asked, at the beginning or later.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._identities: dict[str, dict[str, object]] = {}
        self._asked_from: dict[str, int] = {}
        self._listening: float | None = None
        self._events: Any = None
        self._uuids: dict[int | None, str] = {}
        """Of those GPUs that tell of errors."""
        self._xids: list[list[object]] = []
        try:
            pynvml.nvmlInit()
            self._driver = str(pynvml.nvmlSystemGetDriverVersion())
        except pynvml.NVMLError as error:
            raise LibraryLostError(error.value, str(error)) from error
        with suppress(pynvml.NVMLError):  # no events from this driver
            self._listen()

    def sample(self) -> dict[str, object]:
        """Give all GPUs as they are now, and the XID errors since the last time."""
        xids, self._xids = self._xids, []
        return {
            "driver_version": self._driver,
            "listening_since": self._listening,
            "gpus": [self._gpu(index) for index in range(self._count())],
            "xids": xids,
        }

    def rest(self, until: float, not_before: float) -> None:
        """Wait until a monotonic time, less after an XID error: those may cut it short, down to `not_before`."""
        while (left := until - time.monotonic()) > 0:
            if self._hear(left):
                until = min(until, not_before)

    def _count(self) -> int:
        try:
            return int(pynvml.nvmlDeviceGetCount())
        except pynvml.NVMLError as error:
            raise LibraryLostError(error.value, str(error)) from error

    def _gpu(self, index: int) -> dict[str, object]:
        found: dict[str, object] = {"index": index}
        try:
            handle, uuid = reach(index)
            found["uuid"] = uuid
            found |= self._known(uuid, handle)
            found |= self._state(uuid, handle)
        except GpuFailedError as failed:
            found["fault"] = failed.fault
        return found

    def _known(self, uuid: str, handle: Any) -> dict[str, object]:
        if uuid not in self._identities:
            self._identities[uuid] = identity(handle)
        return self._identities[uuid]

    def _state(self, uuid: str, handle: Any) -> dict[str, object]:
        split = instances(handle)
        now = time.time_ns() // 1000
        # If the wall clock was set back, what the driver counts from lies ahead: nobody would be seen at work again.
        since = min(self._asked_from.get(uuid, now - round(self._interval * 1e6)), now)
        sm, self._asked_from[uuid] = sm_percent(handle, since)
        return {
            "readings": readings(handle),
            "mig": split is not None,
            "instances": split or [],
            "processes": processes(handle, sm, self._driver),
        }

    def _listen(self) -> None:
        """Register for the XID errors of every GPU that has them; without any the ear stays closed."""
        self._events = pynvml.nvmlEventSetCreate()
        for index in range(self._count()):
            with suppress(pynvml.NVMLError):  # this one tells no events, or nothing at all
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                uuid = str(pynvml.nvmlDeviceGetUUID(handle))
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events)
                self._uuids[_address(handle)] = uuid
                self._listening = time.monotonic()

    def _hear(self, seconds: float) -> bool:
        """Wait this long for an event; tell whether there was one."""
        began = time.monotonic()
        if self._uuids:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, max(int(seconds * 1000), 1))
            except pynvml.NVMLError as error:
                # Nothing came; or nobody listens, as when a GPU is gone, and errors of the others may escape us.
                self._heard(began if error.value == pynvml.NVML_ERROR_TIMEOUT else None)
            else:
                self._heard(began)
                if len(self._xids) < _MOST_XIDS:
                    self._xids.append([self._uuids.get(_address(event.device), ""), event.eventData])
                return True
        # A wait that came back too early must not become a loop that never rests.
        Event().wait(max(seconds - (time.monotonic() - began), 0))
        return False

    def _heard(self, began: float | None) -> None:
        """Note whether a wait, which began then, would have told of every error."""
        if began is None or self._listening is None:
            self._listening = began


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


def bind_to(parent: int) -> None:
    """End this process when its parent ends, whatever it is doing then; SystemExit if that has happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Ctrl-C goes to everyone at the terminal; it is the daemon that says when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the daemon blocks signals for itself, and that is inherited
    if os.getppid() != parent:
        raise SystemExit(0)


def run(interval: float, write: Callable[[object], None]) -> None:
    """Take a sample in every interval, for ever; a library that fails is said, and the end."""
    try:
        reader = Reader(interval)
        while True:
            began = time.monotonic()
            write(reader.sample())
            reader.rest(began + interval, began + min(EAGER_SECONDS, interval))
    except LibraryLostError as lost:
        write({"error": lost.code, "why": str(lost)})


def main(arguments: list[str]) -> int:
    """Serve the parent with this PID, with a sample every so many seconds; 0 whatever the driver answers."""
    bind_to(int(arguments[0]))
    try:
        run(float(arguments[1]), _write)
    except BrokenPipeError:
        os._exit(0)  # nobody reads any more; an orderly end would try to write once again
    return 0


def _write(value: object) -> None:
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
