"""The folder of evidence: one compressed file for each container that was removed, the oldest out first."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from policies import words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"(\d{8})\.([0-9a-f]{1,64})\.(.+)\.json\.gz", re.ASCII)
_LONGEST_NAME: Final = 120
_SHORTEST_ID: Final = 4
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, by what its name tells; a higher `number` is newer."""

    path: Path
    number: int
    container_id: str
    name: str


class EvidenceFiles:
    """
    Files of mode 0600 in one folder. The names of the files are the index: nothing else has to agree with them.

    `keep` is for one thread; `find` may be called from any.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, record: Mapping[str, Any], at_most: int) -> Path:
        """
        Write a record with its `id` and `name`; on the disk when this returns.

        The oldest files go first until all of them take `at_most` bytes with it. Raises OSError when it cannot
        be written, or is larger by itself.
        """
        data = gzip.compress(json.dumps(record).encode(), _LEVEL)
        if len(data) > at_most:
            raise OSError(f"it takes {len(data)} bytes, more than all evidence may")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = self.entries()
        number = entries[-1].number + 1 if entries else 1
        self._make_room(entries, at_most - len(data))
        path = self.folder / f"{number:08d}.{record['id']}.{_shortened(record['name'])}.json.gz"
        fresh = self.folder / "fresh"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync(self.folder)
        return path

    def entries(self) -> list[Entry]:
        """Give all files, the oldest first."""
        try:
            found = [(path, _NAME.fullmatch(path.name)) for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            log.warning("the evidence in %s cannot be listed: %s", self.folder, words.fault(error))
            return []
        entries = [Entry(path, int(match[1]), match[2], match[3]) for path, match in found if match]
        return sorted(entries, key=lambda entry: entry.number)

    def named(self, name: str) -> list[Entry]:
        """Give the files of containers of this name, or whose id begins with it, the newest first."""
        shortened = _shortened(name)
        by_id = len(name) >= _SHORTEST_ID
        return [
            entry
            for entry in reversed(self.entries())
            if entry.name == shortened or (by_id and entry.container_id.startswith(name))
        ]

    @staticmethod
    def read(entry: Entry) -> dict[str, Any] | None:
        """Give the record of a file; `None` where it is gone or spoiled, which the log says."""
        try:
            record = json.loads(gzip.decompress(entry.path.read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            log.warning("the evidence in %s cannot be read: %s", entry.path, error)
            return None
        return record if isinstance(record, dict) else None

    def _make_room(self, entries: list[Entry], left: int) -> None:
        sizes = [(entry, entry.path.stat().st_size) for entry in entries]
        taken = sum(size for _, size in sizes)
        for entry, size in sizes:
            if taken <= left:
                return
            entry.path.unlink()
            taken -= size
            log.info("the evidence of %s makes room for newer one", entry.name)


def _shortened(name: str) -> str:
    return quote(name, safe="")[:_LONGEST_NAME] or "-"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
