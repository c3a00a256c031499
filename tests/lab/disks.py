"""Small file systems of their own, to be filled without harm."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from pathlib import Path


def mount_small_disk(image: Path, mountpoint: Path, size_mb: int, *mkfs_options: str) -> None:
    """
    Make an ext4 file system without root reserve in a sparse file, and mount it.

    The kernel detaches the loop device when it is unmounted. Raises `LabError`.
    """
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    for command in (
        ["mkfs.ext4", "-q", "-F", "-m", "0", *mkfs_options, str(image)],
        ["mount", "-o", "loop", str(image), str(mountpoint)],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(
                f"no small file system at {mountpoint}: {done.stderr.strip()}\n"
                "  cure: run as root, on a machine with loop devices and e2fsprogs"
            )
