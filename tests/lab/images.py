"""Makes small images on the spot: busybox in a tar file, so that no registry is needed."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = "bb:latest"
"""The image that everything in the lab runs."""

IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
"""A command that does nothing, until it is asked to end, which it then does at once (a bare `sleep` does not)."""

# fmt: off
_APPLETS = (
    "cat", "chmod", "cp", "date", "dd", "echo", "env", "expr", "false", "grep", "head", "httpd", "id", "kill", "ls",
    "mkdir", "mv", "nc", "pidof", "ps", "rm", "seq", "sh", "sleep", "sort", "stat", "sync", "tail", "test", "touch",
    "true", "uname", "usleep", "wc", "wget", "yes",
)
# fmt: on


def busybox_tar(busybox: Path, padding: bytes = b"", files: int = 0) -> bytes:
    """
    Give a file system of a static busybox as a tar file.

    `padding` makes images differ, or be as large as wanted; so many empty `files` take inodes.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("bin", "etc", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            archive.addfile(folder)
        _add(archive, "bin/busybox", busybox.read_bytes(), 0o755)
        _add(archive, "etc/padding", padding, 0o644)
        for number in range(files):
            _add(archive, f"etc/{number}", b"", 0o644)
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
