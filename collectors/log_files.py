"""The files that hold a container's log, rotated ones included: what they take on their disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container

MOST_FILES: Final = 2000
"""Entries of one container's folder that are looked at: `max-file` may be as large as one likes."""
_BLOCK: Final = 512
_LOCAL_FOLDER: Final = "local-logs"
_CACHE: Final = "container-cached.log"
"""What Docker keeps beside a driver that it cannot read back, so that `docker logs` works all the same."""


def log_bytes(container: Container, data_root: str) -> int | None:
    """
    Give what the logs of one container take, in bytes on the disk; `None` when the container is gone.

    0 for a driver that writes no files. Raises OSError when the files cannot be looked at, or are too many.
    """
    # Where a json-file log lies, though only an inspect tells that it is one.
    usual = Path(data_root) / "containers" / container.id / f"{container.id}-json.log"
    path = Path(container.log_path) if container.log_path else usual
    try:
        return sum(_sizes(path.parent, (path.name, _CACHE)))
    except FileNotFoundError:
        if path.parent.parent.is_dir():
            return None
        raise  # not this container is gone: its whole neighbourhood is out of our sight


def _sizes(folder: Path, prefixes: tuple[str, ...]) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for count, entry in enumerate(entries):
            if count >= MOST_FILES:
                raise OSError(f"{folder} holds more than {MOST_FILES} files")
            if entry.name == _LOCAL_FOLDER:
                yield from _sizes(Path(entry.path), ("",))
            elif entry.name.startswith(prefixes):
                yield _allocated(entry)


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK
    except FileNotFoundError:  # rotated away since
        return 0
