"""A mount namespace of its own for an engine, with a throw-away copy of a file tree as its root."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.lab.errors import LabError
from tests.lab.sweep import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# pivot_root, not chroot: the engine's own pivot_root for `docker import` wants its root to be a mount.
# The overlay keeps what the engine writes to /etc out of the unpacked tree, which several engines share.
_BUILD = """
set -eu
tree=$1 folder=$2 busybox=$3
mount -t tmpfs -o mode=755 lab "$folder/root"
mkdir "$folder/root/upper" "$folder/root/work" "$folder/root/merged"
cd "$tree"
mount -t overlay -o "lowerdir=.,upperdir=$folder/root/upper,workdir=$folder/root/work" lab "$folder/root/merged"
cd "$folder/root/merged"
mkdir -p old proc sys dev run ".$folder"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 lab run
mount --bind "$folder" ".$folder"
mount --bind "$folder/data" ".$folder/data"
if [ -d "$folder/containerd" ]; then mount --bind "$folder/containerd" ".$folder/containerd"; fi
pivot_root . old
cd /
"$busybox" umount -l /old
echo ready
read -r _ || true
"""


class MountNamespace:
    """
    A namespace that lives as long as its keeper: a shell that waits on a pipe of ours and ends when we do.

    An engine that is killed and started again comes back into the same namespace, as on a real host, where
    the mounts of its living containers are.
    """

    def __init__(self, tree: Path, folder: Path, busybox: str) -> None:
        self._arguments = (str(tree), str(folder), busybox)
        self._environment = {"PATH": f"{os.environ['PATH']}:{_SYSTEM_PATH}", "HOME": "/", MARK: str(folder)}
        self._keeper: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Build the namespace. Raises `LabError` when this process may not."""
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _BUILD, "sh", *self._arguments]
        self._keeper = keeper = subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the test, which then ends this in order
        )
        assert keeper.stdout is not None
        said = keeper.stdout.readline()
        if said != "ready\n":
            said += keeper.stdout.read()
            self.close()
            raise LabError(f"no mount namespace for the engine: {said.strip()}\n  cure: run as root (CAP_SYS_ADMIN)")

    @property
    def pid(self) -> int:
        """The keeper's process id: `nsenter --target <pid> --mount` leads into the namespace."""
        assert self._keeper is not None, "the namespace is not open"
        return self._keeper.pid

    def spawn(self, command: Sequence[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program in the namespace; its output goes to `log`."""
        return subprocess.Popen(
            ["nsenter", "--target", str(self.pid), "--mount", "--", *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def close(self) -> None:
        """Let the keeper go; the mounts go with the last process inside."""
        if self._keeper is not None:
            self._keeper.communicate()  # the end of its input is its sign to leave
            self._keeper = None
