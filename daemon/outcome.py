"""What can come of one object of a plan, told apart as far as it matters to what is done next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Outcome(StrEnum):
    """The end of one step of a run; the values stand in the store and in the metrics."""

    REMOVED = "removed"
    GONE = "gone"
    """Somebody else was faster: fine."""
    IN_USE = "in_use"
    """Docker says that something uses it by now (409): fine."""
    NOT_ELIGIBLE = "not_eligible"
    """The policy that planned it would keep it by now: fine."""
    UNREAD = "unread"
    """It could not be looked at once more, so it was left alone."""
    NO_EVIDENCE = "no_evidence"
    """It ended badly, and what tells why could not be kept: so it stays."""
    REFUSED = "refused"
    """Docker, or a proxy before it, does not do it (403 or another 4xx)."""
    FAILED = "failed"
    """Docker tried and failed (5xx)."""
    UNANSWERED = "unanswered"
    """No answer came: whether it was removed shows the next look."""
    UNKNOWN = "unknown"
    """The daemon ended meanwhile."""
    NOT_BEGUN = "not_begun"
    """The run ended before its turn."""

    @property
    def is_failure(self) -> bool:
        """True for what may well go wrong with the next object, too."""
        return self in _FAILURES


_FAILURES = frozenset(
    {
        Outcome.UNREAD,
        Outcome.NO_EVIDENCE,
        Outcome.REFUSED,
        Outcome.FAILED,
        Outcome.UNANSWERED,
        Outcome.UNKNOWN,
    }
)
_IN_WORDS = {
    Outcome.REMOVED: "removed",
    Outcome.GONE: "already gone",
    Outcome.IN_USE: "in use, stays",
    Outcome.NOT_ELIGIBLE: "no longer eligible, stays",
    Outcome.UNREAD: "could not be checked, stays",
    Outcome.NO_EVIDENCE: "its evidence could not be kept, stays",
    Outcome.REFUSED: "Docker refused",
    Outcome.FAILED: "Docker failed",
    Outcome.UNANSWERED: "no answer",
    Outcome.UNKNOWN: "unknown: the daemon ended meanwhile",
    Outcome.NOT_BEGUN: "not begun",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome, and the reason in words, foreign ones among them; empty where there is nothing to add."""

    outcome: Outcome
    words: str = ""
    freed_bytes: int | None = None
    """What its filesystem had more afterwards, others' doings included; `None` where that was not measured."""
    no_room: bool = False
    """Docker failed because its disk has not one block or inode left for what it wants to write down."""


def in_words(outcome: Outcome) -> str:
    """Say an outcome as the beginning of a line."""
    return _IN_WORDS[outcome]


def counted(outcomes: Mapping[Outcome, int]) -> str:
    """Say how many objects had which outcome, `removed` first: `2 removed, 1 in use, stays`."""
    told = [f"{number} {in_words(outcome)}" for outcome in Outcome if (number := outcomes.get(outcome))]
    return " · ".join(told) or "nothing done"
