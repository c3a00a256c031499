"""Small file systems of their own, to be filled without harm."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator


def make_small_disk(image: Path, size_mb: int, *mkfs_options: str) -> None:
    """Make an ext4 file system without root reserve in a sparse file. Raises `LabError`."""
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    _do("mkfs.ext4", "-q", "-F", "-m", "0", *mkfs_options, str(image))


def mount_small_disk(image: Path, mountpoint: Path, size_mb: int, *mkfs_options: str) -> None:
    """
    Make one, and mount it.

    The kernel detaches the loop device when it is unmounted. Raises `LabError`.
    """
    make_small_disk(image, size_mb, *mkfs_options)
    _do("mount", "-o", "loop", str(image), str(mountpoint))


@contextmanager
def small_disk(mountpoint: Path, size_mb: int, *mkfs_options: str) -> Iterator[Path]:
    """Mount one for a while, at a folder that it makes. Raises `LabError`."""
    mountpoint.mkdir()
    mount_small_disk(mountpoint.with_suffix(".img"), mountpoint, size_mb, *mkfs_options)
    try:
        yield mountpoint
    finally:
        _do("umount", "--lazy", str(mountpoint))


def fail(mountpoint: Path) -> None:
    """Let the kernel meet an error on an ext4 that was made with `-e remount-ro`: then nobody can write to it."""
    source = Path(_do("findmnt", "--noheadings", "--output=SOURCE", str(mountpoint)).strip())
    Path("/sys/fs/ext4", source.name, "trigger_fs_error").write_text("a test")


def _do(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(
            f"{command[0]}: no small file system: {done.stderr.strip()}\n"
            "  cure: run as root, on a machine with loop devices and e2fsprogs"
        )
    return done.stdout
