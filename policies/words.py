"""How ages, sizes and exit codes are said to people, everywhere the same."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

_UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))

_EXIT_CODES = {
    0: "clean exit",
    2: "usage error",
    125: "docker could not run it",
    126: "command not executable",
    127: "command not found",
    128: "could not be started",
    130: "SIGINT",
    131: "SIGQUIT",
    134: "SIGABRT",
    135: "SIGBUS",
    136: "SIGFPE",
    137: "SIGKILL",
    139: "SIGSEGV",
    141: "SIGPIPE",
    143: "SIGTERM",
}
_BY_SIGNAL = range(129, 193)
"""Docker and shells say 128 + the number of the signal; Linux has 64."""


@lru_cache(maxsize=1024)  # a cycle says the same few spans again, of every container
def duration(span: timedelta) -> str:
    """Say a duration in its two largest units: `3 h 12 min`, `8 days`, `0.4 s`, `41 ms`."""
    seconds = span.total_seconds()
    if 0.0005 < seconds < 0.1:  # noqa: PLR2004  what rounds to whole milliseconds, and to no tenth of a second
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:  # noqa: PLR2004  below ten seconds a tenth still matters to the reader
        return f"{max(seconds, 0):.1f} s".replace(".0 s", " s")
    whole = int(seconds)
    if whole >= 2 * 86400:
        return f"{whole // 86400} days"
    parts: list[str] = []
    for unit, length in _UNITS:
        count, whole = divmod(whole, length)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
        if len(parts) == 2:  # noqa: PLR2004  two units are enough to act on
            break
    return " ".join(parts)


def about(span: timedelta) -> str:
    """Say a duration roughly, in the largest unit that it fills twice or in minutes: `5 h`, `90 min`, `12 days`."""
    minutes = max(round(span.total_seconds() / 60), 1)
    for unit, length in (("days", 1440), ("h", 60)):
        if minutes >= 2 * length:
            return f"{round(minutes / length)} {unit}"
    return f"{minutes} min"


def size(size_bytes: int | None) -> str:
    """Say a size in binary units with one decimal: `1.2 GiB`, `512 B`, or `size unknown`."""
    if size_bytes is None:
        return "size unknown"
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:  # noqa: PLR2004
            return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def exit_code(code: int | None) -> str:
    """Say an exit code: `exited 137 (SIGKILL)`, or that it is not known."""
    if code is None:
        return "ended, exit code unknown"
    other = f"signal {code - 128}" if code in _BY_SIGNAL else "error"
    return f"exited {code} ({_EXIT_CODES.get(code, other)})"


def moment(at: datetime) -> str:
    """Say a point in time to the minute: `2026-11-23 16:02 UTC`."""
    return at.strftime("%Y-%m-%d %H:%M UTC")


def count(number: int, one: str, many: str = "") -> str:
    """Say how many: `1 container`, `3 containers`, `2 processes`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def some(names: Sequence[str], most: int) -> str:
    """Say the first of these names, and how many there are besides: `web, db and 3 more`."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def fault(error: Exception) -> str:
    """Say what went wrong, of the system's faults the words alone: `/data: Permission denied`, without a number."""
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def plain(text: str) -> str:
    r"""
    Make foreign text safe to print: what could move the cursor, colour or reorder a line is shown as `\x1b`.

    That is all that is not printable: control characters, bidirectional marks, line separators, lone surrogates.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def one_line(text: str, limit: int) -> str:
    """Fold text into one line of at most `limit` characters; an ellipsis shows that some is missing."""
    folded = " ".join(text.split())
    return folded if len(folded) <= limit else f"{folded[: limit - 1].rstrip()}…"
