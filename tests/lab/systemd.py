"""A guest with a real systemd as its PID 1, on a throw-away overlay of this machine's root, or of another Debian's."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.lab.binaries import cached, mirror
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from types import TracebackType

SHARED = Path("/srv/lab")
"""Where the guest sees `Guest.shared`."""

_BOOT_SECONDS = 60.0
_PRIVATE = ("setpriv", "--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private")
_PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3-venv", "ca-certificates")
_HIERARCHIES = ("systemd", "unified")
# A cgroup of its own: two guests in one would see each other's services. `-D /` itself is refused, a bind of it not.
_BOOT = """
set -eu
folder=$1 cgroup=$2 root=$3
shift 3
for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
    [ -w "$hierarchy/cgroup.procs" ] || continue
    mkdir -p "$hierarchy/$cgroup"
    echo $$ > "$hierarchy/$cgroup/cgroup.procs"
done
mount --bind "$root" "$folder/root"
exec systemd-nspawn --quiet --boot --directory="$folder/root" --volatile=overlay --register=no --keep-unit \\
    "$@" --bind="$folder/shared:/srv/lab" --console=pipe -- \\
    --unit=basic.target systemd.default_timeout_stop_sec=5
"""


class Guest:
    """
    A context manager around one guest that has reached basic.target, with journal and D-Bus.

    It sees the files below `root`; what it writes is gone with it, but for `shared`. It has a network of its own,
    or, with `shares_network`, this machine's. It ends when this process does. Raises `LabError`.
    """

    def __init__(self, root: Path = Path("/"), *, shares_network: bool = False) -> None:
        self._root = root
        self._network = () if shares_network else ("--private-network",)
        self._folder = Path(tempfile.mkdtemp(prefix="shipkeeper-guest-"))
        self._cgroup = self._folder.name
        self.shared = self._folder / "shared"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        self.shared.mkdir()
        self.shared.chmod(0o755)
        (self._folder / "root").mkdir()
        self._folder.chmod(0o755)
        with (self._folder / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                [*_PRIVATE, "sh", "-c", _BOOT, "sh", str(self._folder), self._cgroup, str(self._root), *self._network],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._booted, "systemd in the guest to reach basic.target", _BOOT_SECONDS)
            self.run("systemctl", "start", "systemd-journald", "dbus")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, *command: str, check: bool = True) -> str:
        """Run a program in the guest as root, and give what it printed; AssertionError when it failed."""
        done = subprocess.run(self._entered(*command), capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def shell(self, script: str) -> str:
        """Run a script of sh in the guest, and give what it printed; AssertionError when it failed."""
        return self.run("sh", "-euc", script)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Give properties of a unit."""
        told = self.run("systemctl", "show", unit, f"--property={','.join(properties)}")
        return dict(line.split("=", 1) for line in told.splitlines())

    def host_pid(self, pid: int) -> int:
        """Give the id that a process of the guest has out here."""
        inside = Path(f"/proc/{self._leader}/ns/pid").readlink()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended
                ids = re.findall(r"^NSpid:.*\t(\d+)$", (process / "status").read_text(), re.MULTILINE)
                if ids == [str(pid)] and (process / "ns/pid").readlink() == inside:
                    return int(process.name)
        raise LabError(f"the guest has no process {pid}")

    def _entered(self, *command: str) -> list[str]:
        return ["nsenter", "--target", str(self._leader), "--all", "--", *command]

    def _booted(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            said = (self._folder / "console").read_text()
            raise LabError(f"no guest: {said.strip()}\n  cure: run as root, with systemd-container and dbus installed")
        pid = self._nspawn.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            self._leader = int(child)
            asked = subprocess.run(
                self._entered("systemctl", "is-active", "basic.target"), capture_output=True, check=False
            )
            if asked.returncode == 0:
                return True
        return False

    def _end(self) -> None:
        if self._nspawn is not None:
            self._nspawn.send_signal(signal.SIGTERM)
            try:
                self._nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        for hierarchy in ("", *_HIERARCHIES):
            root = Path("/sys/fs/cgroup", hierarchy, self._cgroup)
            if root.is_dir():
                wait_until(lambda: _removed(root), f"{root} to be empty", 20)  # noqa: B023  it is called at once
        subprocess.run(["rm", "-rf", "--one-file-system", str(self._folder)], check=True)


def trixie() -> Path:
    """Give the root of a Debian 13, whose systemd is of version 257, made first if need be. Raises `LabError`."""
    return cached("guest/trixie", _build)


def _build(folder: Path) -> None:
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", "trixie", str(folder), mirror()]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise LabError("mmdebstrap is missing\n  cure: tests/lab/need.sh slow") from error
    except subprocess.CalledProcessError as error:
        raise LabError(f"no Debian 13 could be made: {error.stderr.strip()[-1000:]}") from error


def _removed(root: Path) -> bool:
    """Remove a tree of cgroups as far as nobody is in it; tell whether it is gone."""
    for folder, _, _ in os.walk(root, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()
    return not root.exists()
