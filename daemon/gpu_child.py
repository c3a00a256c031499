"""The process that reads NVML for us, as seen from here: lines come out of it, and nobody ever waits for its end."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from collectors.nvml_lines import LONGEST_LINE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

PASSED_ON = ("LD_LIBRARY_PATH", "PATH")
"""Of our environment, which may hold secrets, the reader gets only this: it says where NVIDIA's library is."""
_CHUNK = 65536


class ChildEndedError(Exception):
    """The process has closed its output; the text says how it ended."""


class Child(Protocol):
    """A process that reads NVML."""

    def line(self, patience: timedelta) -> bytes | None:
        """Give its next line, None if there is none in time. Raises `ChildEndedError`."""
        ...

    def end(self) -> None:
        """Kill it; never waits."""
        ...

    def gone(self) -> bool:
        """Tell whether it has ended, and bury it if so; never waits."""
        ...


class NvmlChild:
    """
    A running `collectors.nvml`; to be made, and read, by one thread, with whose end the process ends, too.

    Raises `OSError` if it cannot be started.
    """

    def __init__(self, interval: timedelta, environ: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-I", "-m", "collectors.nvml", str(os.getpid()), str(interval.total_seconds())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={name: environ[name] for name in PASSED_ON if name in environ},
            cwd="/",
        )
        assert self._process.stdout is not None  # noqa: S101  for mypy: a pipe was asked for
        self._output = self._process.stdout
        self._poll = select.poll()
        self._poll.register(self._output, select.POLLIN)
        self._buffer = bytearray()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def line(self, patience: timedelta) -> bytes | None:
        """Give its next line; a line in parts may take its patience for each of them."""
        while b"\n" not in self._buffer:
            if not self._poll.poll(patience.total_seconds() * 1000):
                return None
            chunk = os.read(self._output.fileno(), _CHUNK)  # unbuffered: poll sees nothing of what a buffer holds
            if not chunk:
                raise ChildEndedError(self._how_it_ended())
            self._buffer += chunk
            if len(self._buffer) > LONGEST_LINE:
                raise ChildEndedError("the NVML reader wrote a line without an end")
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line

    def end(self) -> None:
        """Kill it: it holds nothing that an orderly end could save."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def gone(self) -> bool:
        """Tell whether it has ended; one that the driver holds in the kernel ends when that lets go of it."""
        if self._process.poll() is None:
            return False
        self._output.close()
        return True

    def _how_it_ended(self) -> str:
        with suppress(subprocess.TimeoutExpired):  # its output closes a moment before its end
            self._process.wait(1)
        code = self._process.returncode
        if code is None:
            return "the NVML reader closed its output"
        return f"the NVML reader was ended by signal {-code}" if code < 0 else f"the NVML reader ended with code {code}"
