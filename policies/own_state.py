"""Whether Shipkeeper itself works: keeps its state, delivers its messages, does its jobs, cleans up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import Subject, SubjectKind
from policies import words
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collectors.facts import Facts, SourceName

_QUOTED = 400
"""Characters of what is wrong: others wrote some of it."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWorkDone:
    """Judge what else we have to do; needs no source, for it is about none of them."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = (
        "notify-degraded",
        "job-overdue",
        "config-reload-failed",
        "cleanup-failed",
        "cleanup-awaiting-approval",
    )

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition of each."""
        own = facts.own
        yield _ours("notify-degraded", _listed(own.undelivered), "all places take messages")
        yield _ours("job-overdue", _listed(own.overdue), "all jobs are done in time")
        yield _ours("config-reload-failed", own.reload_fault, "a good configuration was read")
        yield _ours("cleanup-failed", own.cleanup_fault, "a run went well")
        yield _ours(
            "cleanup-awaiting-approval",
            f"{words.count(own.awaiting.objects, 'object')}, {words.size(own.awaiting.size_bytes)}"
            if own.awaiting
            else "",
            "nothing waits any more",
            Severity.WARNING if facts.pressed else Severity.INFO,
        )


def _ours(alert: str, fault: str, well: str, severity: Severity = Severity.WARNING) -> Condition:
    return Condition(
        alert=alert,
        subject=_OURSELVES,
        severity=severity,
        state=ConditionState.BAD if fault else ConditionState.OK,
        reason=words.one_line(fault, _QUOTED) if fault else well,
    )


def _listed(faults: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {why}" for name, why in sorted(faults.items()))
