"""How disks look in a terminal: how full they are, of what, and when they will be full."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from collectors.facts import DiskKind
from daemon.lines import BAD, WARNING, Line
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LEVEL_STYLES = {"critical": BAD, "act": WARNING, "warn": WARNING}
_KINDS = {DiskKind.OTHER: "not Docker's"}
_WORTH_SAYING = timedelta(days=30)
"""A filesystem that is full later than this fills so slowly that its growth may be anything."""


def disk_lines(status: Mapping[str, Any]) -> Iterator[Line]:
    """Say of each filesystem how full it is, and below that of what."""
    for filesystem in status["filesystems"]:
        yield _filesystem_line(filesystem)
        yield from _use_lines(filesystem["mountpoint"], "", status["disk_usage"])
    yield from _use_lines(None, "on a filesystem that is not known: ", status["disk_usage"])


def _use_lines(mountpoint: str | None, label: str, uses: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    said = []
    for use in uses:
        if use["mountpoint"] != mountpoint or (use["size_bytes"] == 0 and use["kind"] != DiskKind.OTHER):
            continue
        kind = _KINDS.get(use["kind"], use["kind"].replace("_", " "))
        freed = f" ({words.size(use['reclaimable_bytes'])} unused)" if use["reclaimable_bytes"] else ""
        said.append(f"{words.plain(kind)} {words.size(use['size_bytes'])}{freed}")
    if said:
        yield Line(f"  {label}{' · '.join(said)}")


def _filesystem_line(filesystem: Mapping[str, Any]) -> Line:
    left, of = words.size(filesystem["available_bytes"]), words.size(filesystem["size_bytes"])
    ratio = filesystem["free_ratio"]
    share = f" ({ratio * 100:.0f} %)" if ratio is not None else ""
    roles = words.plain(", ".join(filesystem["roles"]))
    level = filesystem["level"]
    head = f"{words.plain(filesystem['mountpoint'])} · {level or 'unknown'}"
    tail = f"{roles} · read-only" if filesystem["read_only"] else roles
    text = f"{head} · {left}{share} left of {of}{_ahead(filesystem)} · {tail}"
    return Line(text, _LEVEL_STYLES.get(level, ""))


def _ahead(filesystem: Mapping[str, Any]) -> str:
    """Say when a filesystem will be full, if that is near enough to matter."""
    seconds = filesystem["full_in_seconds"]
    if seconds is None or seconds > _WORTH_SAYING.total_seconds():
        return ""
    return f", full in about {words.about(timedelta(seconds=seconds))}"
