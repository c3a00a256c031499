"""
Finds and removes whatever a private engine has left: processes, mounts, loop devices, cgroups, files.

Run as a program it is the engine's janitor: it waits for its standard input to end, which it does when the
process that owns the engine dies in any way, SIGKILL included, and then sweeps.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

MARK = "PRIVATE_ENGINE_FOLDER"
"""An environment variable that holds the folder; dockerd hands it on to containerd and the shims."""

_CGROUPS = Path("/sys/fs/cgroup")
_DEADLINE_SECONDS = 20.0
_ESCAPED = re.compile(r"\\([0-7]{3})")


def cgroup_parent(folder: Path) -> str:
    """Give the cgroup, as `--cgroup-parent` wants it, that holds the containers of the engine in this folder."""
    return f"/shipkeeper-lab-{zlib.crc32(bytes(folder)):08x}"


def leftovers(folder: Path) -> list[str]:
    """Name all that is still there of the engine in this folder, for people; empty when nothing is."""
    return [
        *(f"process {pid}: {_command(pid)}" for pid in _processes(folder)),
        *(f"mount {mount}" for mount in _mounts(folder)),
        *(f"loop device {device}" for device in _loop_devices(folder)),
        *(f"cgroup {cgroup}" for cgroup in _cgroups(folder)),
        *([f"folder {folder}"] if folder.exists() else []),
    ]


def sweep(folder: Path) -> None:
    """Kill, unmount and delete all that `leftovers` names. Raises `LabError` with what would not go."""
    _kill_all(folder)
    for mount in _mounts(folder):
        subprocess.run(["umount", "--lazy", mount], check=True)
    for device in _loop_devices(folder):  # the kernel detaches a mounted one itself; this is one never mounted
        subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)
    with suppress(TimeoutError):
        wait_until(lambda: _remove_cgroups(folder), "the cgroups to empty")
        wait_until(lambda: not _loop_devices(folder), "the loop devices to be detached")
    if not _mounts(folder):  # never delete through a mount
        shutil.rmtree(folder, ignore_errors=True)
    if remains := leftovers(folder):
        raise LabError("could not remove what the engine left:\n  " + "\n  ".join(remains))


def _kill_all(folder: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_SECONDS
    # again until none is found: a container may be starting while its engine dies
    while (pids := _processes(folder)) and time.monotonic() < deadline:
        for cgroup in _cgroups(folder):
            with suppress(OSError):  # not every cgroup has a freezer
                (cgroup / "freezer.state").write_text("THAWED")  # what `docker pause` froze cannot die on cgroup v1
        for pid in pids:
            _kill(pid, deadline)


def _kill(pid: int, deadline: float) -> None:
    """Kill one process, then wait until it is gone (or a zombie, which holds nothing)."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        gone.poll(max(0.0, deadline - time.monotonic()) * 1000)
    finally:
        os.close(handle)


def _processes(folder: Path) -> list[int]:
    """List the engine's own processes first, so that nothing is restarted while its containers are killed."""
    mark = f"{MARK}={folder}".encode()
    everything = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal())
    engine = [pid for pid in everything if mark in _environment(pid)]
    contained = [
        int(pid) for cgroup in _cgroups(folder) for pid in _read(cgroup / "cgroup.procs").split() if pid.isdigit()
    ]
    return [pid for pid in dict.fromkeys([*engine, *contained]) if pid != os.getpid()]


def _environment(pid: int) -> list[bytes]:
    return _read(Path(f"/proc/{pid}/environ")).split(b"\0")


def _command(pid: int) -> str:
    return _read(Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode(errors="replace")[:200]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # processes, cgroups and devices go at any time; what is gone is not left over
        return b""


def _mounts(folder: Path) -> list[str]:
    """List the mount points in the folder, deepest first."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    points = [_ESCAPED.sub(lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in table.splitlines()]
    return sorted((point for point in points if Path(point).is_relative_to(folder)), reverse=True)


def _loop_devices(folder: Path) -> list[str]:
    backing = {path: os.fsdecode(_read(path)).strip() for path in Path("/sys/block").glob("loop*/loop/backing_file")}
    return [f"/dev/{path.parts[3]}" for path, file in backing.items() if Path(file).is_relative_to(folder)]


def _cgroups(folder: Path) -> list[Path]:
    """List the engine's cgroups, deepest first: one tree on cgroup v2, one for each controller on v1."""
    name = cgroup_parent(folder).strip("/")
    tops = [_CGROUPS / name, *(path / name for path in _CGROUPS.iterdir())]
    # os.walk passes over what goes away meanwhile; Path.glob raises
    return [Path(path) for top in tops for path, _, _ in os.walk(top, topdown=False)]


def _remove_cgroups(folder: Path) -> bool:
    """Remove those that are empty; true when none is left."""
    for cgroup in _cgroups(folder):
        with suppress(OSError):  # busy for a moment after its last process died
            cgroup.rmdir()
    return not _cgroups(folder)


if __name__ == "__main__":
    if not sys.stdin.read():  # a word instead of the bare end says that nothing is left to do
        sweep(Path(sys.argv[1]))
