"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is; the values are those of `doctor --json`."""

    PROBLEM = "fail"
    """Something does not work, or will not at the next start."""
    WARNING = "warn"
    """It works, and will hurt."""
    NOTE = "note"
    """Worth knowing; nothing is wrong."""
    UNSEEN = "skipped"
    """It could not be looked at, so nobody knows."""
    OK = "ok"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Level).index(self)

    @property
    def wrong(self) -> bool:
        """True if a person has something to mend."""
        return self in {Level.PROBLEM, Level.WARNING}


@dataclass(frozen=True, slots=True)
class Finding:
    """
    One thing that a check says: what it is, why it matters, and lines to type that cure it.

    Texts may hold what others wrote: whoever prints them makes them plain. A line of the cure that begins with `#`
    is for reading. An empty `why` stands for the check's own.
    """

    level: Level
    what: str
    cure: tuple[str, ...] = ()
    why: str = ""


def ok(what: str) -> Finding:
    """Say that all is well."""
    return Finding(Level.OK, what)


def unseen(why: str, *cure: str) -> Finding:
    """Say that something could not be looked at, and for what reason."""
    return Finding(Level.UNSEEN, why, cure)
