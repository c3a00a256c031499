"""Stops one thread of a process, as a lock or a disk that never answers would, and lets it go again."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from tests.lab.errors import LabError

_SEIZE, _INTERRUPT, _DETACH = 0x4206, 0x4207, 17
_WALL = 0x40000000  # wait for threads too, not only for processes


def threads(pid: int) -> dict[int, str]:
    """Give the names of a process' threads, as the kernel knows them, by thread id, the oldest first."""
    names = {}
    for task in sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda task: int(task.name)):
        with suppress(OSError):  # it has just ended
            names[int(task.name)] = (task / "comm").read_text().strip()
    return names


def stall(tid: int) -> None:
    """
    Stop a thread until `release`, or until its process ends.

    It may be stopped while it holds the interpreter, and then everything stands still: look, and try again. All
    calls about one thread have to come from the same thread of ours. Raises `LabError`.
    """
    _ptrace(_SEIZE, tid)
    _ptrace(_INTERRUPT, tid)
    os.waitpid(tid, _WALL)


def release(tid: int) -> None:
    """Let a stalled thread go on."""
    _ptrace(_DETACH, tid)


def bury(tid: int) -> None:
    """Take note of the end of a stalled thread: its process is not gone before; may be called too early."""
    with suppress(ChildProcessError):
        os.waitpid(tid, _WALL | os.WNOHANG)


def _ptrace(request: int, tid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, tid, None, None) != 0:
        raise LabError(
            f"thread {tid} cannot be stopped: {os.strerror(ctypes.get_errno())}\n"
            "  cure: run as root, where ptrace is allowed (sysctl kernel.yama.ptrace_scope)"
        )
