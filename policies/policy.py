"""The shape of a policy, with the values that a policy yields: conditions, occurrences, removals."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from collectors.facts import Death, Facts, ObjectRef, SourceName, Subject


class Severity(StrEnum):
    """How soon somebody should look; ordered by `rank`."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for critical."""
        return ("info", "warning", "critical").index(self.value)


class ConditionState(StrEnum):
    """`BETWEEN` is neither bad enough to fire nor good enough to clear."""

    BAD = "bad"
    OK = "ok"
    BETWEEN = "between"


class Condition(NamedTuple):
    """
    What one policy found for one subject just now; yielded for every subject looked at.

    A named tuple, for a cycle makes a dozen of each container: a frozen dataclass takes twice as long.

    `value` and `limit` are numbers in base units where the alert has them. `reason` is a clause in words
    that reads on after the alert's title ("healthy again", "11.4 GiB (9 %) left"). `details` are lines of
    their own, the most important first: who is affected, what else is known.
    """

    alert: str
    subject: Subject
    severity: Severity
    state: ConditionState
    reason: str
    details: tuple[str, ...] = ()
    value: float | None = None
    limit: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """
    An edge: something happened to the subject at `at`.

    Yielded in every cycle as long as the facts show it; `key` tells the lifecycle that it is the same one.
    """

    alert: str
    subject: Subject
    severity: Severity
    at: datetime
    key: str
    reason: str
    details: tuple[str, ...] = ()
    death: Death | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """One object that a cleanup would remove. `filesystem` is the mount point that gains, if known."""

    object: ObjectRef
    size_bytes: int | None
    filesystem: str
    policy: str
    reason: str
    tags: tuple[str, ...] = ()
    """All tags of an image that bears several: they go with it, and it goes only while it bears exactly these."""
    idle: timedelta | None = field(default=None, compare=False)
    """How long it has been of no use, where the policy goes by that."""
    spare: bool = field(default=False, compare=False)
    """It would go only if those that go before it free less than is expected of them."""

    def without_last_tag(self) -> Removal:
        """Give what is left to remove of an image when the last of its tags is gone."""
        return replace(self, tags=self.tags[:-1] if len(self.tags) > 2 else ())  # noqa: PLR2004  one tag is a name


class Kept(NamedTuple):
    """
    One object that was looked at and stays.

    `reason` opens with its category and a colon ("in use: running"), so that a plan can count what stays.
    """

    object: ObjectRef
    reason: str

    @property
    def category(self) -> str:
        """The words before the colon."""
        return self.reason.partition(":")[0]


Verdict: TypeAlias = Condition | Occurrence | Removal | Kept


class Policy(Protocol):
    """A pure function from facts to verdicts; its fields are its settings."""

    needs: ClassVar[frozenset[SourceName]]
    """The sources without which it is skipped."""
    alerts: ClassVar[tuple[str, ...]]
    """The alerts it speaks of: they become unknown while it is skipped."""

    def decide(self, facts: Facts) -> Iterable[Verdict]:
        """Yield a verdict for every subject looked at."""
        ...
