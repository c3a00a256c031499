"""Whether Shipkeeper itself can keep what it must not forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import Subject, SubjectKind
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts, SourceName

_OURSELVES = Subject(SubjectKind.DAEMON, "shipkeeper", "Shipkeeper")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateUnsaved:
    """Judge our own state; needs no source, for it is about none of them."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = ("state-unsaved",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the one condition."""
        yield Condition(
            alert="state-unsaved",
            subject=_OURSELVES,
            severity=Severity.WARNING,
            state=ConditionState.BAD if facts.state_fault else ConditionState.OK,
            reason=facts.state_fault or "it is on the disk",
        )
