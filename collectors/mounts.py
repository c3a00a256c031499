"""What the kernel tells of the mounts that we see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_OCTAL: Final = re.compile(r"\\([0-7]{3})")
_ROOT: Final = 3
_POINT: Final = 4
_NOT_WRITABLE: Final = frozenset({"ro", "emergency_ro", "shutdown"})
"""From Linux 6.15 on an ext4 that met an error stays `rw` and says the second, one that was shut down the third."""


@dataclass(frozen=True, slots=True)
class Mount:
    """
    One mount; `read_only` is true when nobody can write to the filesystem itself.

    That this very mount is read-only does not count: a sandbox makes everything so for those inside. `kind` is the
    filesystem's, `source` what it lies on: the path of a device, or a name of any kind. `whole` is false where a folder
    of a filesystem is mounted once more.
    """

    point: str
    read_only: bool
    kind: str = ""
    source: str = ""
    whole: bool = True


def mounts(root: Path = Path("/")) -> Sequence[Mount]:
    """Read the mounts of this process, those on top last; none where there is no /proc."""
    try:
        text = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ()
    return [_mount(line) for line in text.splitlines()]


def _mount(line: str) -> Mount:
    """Read `36 35 98:0 / /point rw,noatime shared:1 - ext4 /dev/sda rw,errors=continue`."""
    _, _, filesystem = line.partition(" - ")
    kind, _, rest = filesystem.partition(" ")
    read_only = not _NOT_WRITABLE.isdisjoint(filesystem.rpartition(" ")[2].split(","))
    fields = line.split(" ")
    return Mount(_path(fields[_POINT]), read_only, kind, _path(rest.partition(" ")[0]), fields[_ROOT] == "/")


def _path(field: str) -> str:
    """Read a path, whose blanks are written in octal."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
