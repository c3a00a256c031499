"""Runs every policy over one snapshot, skipping those whose sources are unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.facts import Unknown
from policies.policy import Condition, Kept, Occurrence, Removal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.facts import Facts
    from policies.policy import Policy


@dataclass(frozen=True, slots=True)
class Decision:
    """All verdicts of one cycle, which alerts were judged at all, and which policies could not be asked."""

    findings: tuple[Condition | Occurrence, ...]
    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]
    judged: frozenset[str]
    skipped: Mapping[str, str]
    """Policy name → why it was skipped, in words."""
    cleanups: tuple[str, ...] = ()
    """The policies that were asked what to remove."""


def decide(policies: Mapping[str, Policy], facts: Facts) -> Decision:
    """Ask every policy that has the sources it needs."""
    findings: list[Condition | Occurrence] = []
    removals: list[Removal] = []
    kept: list[Kept] = []
    judged: set[str] = set()
    skipped: dict[str, str] = {}
    cleanups: list[str] = []
    for name, policy in policies.items():
        if not facts.known(policy.needs):
            skipped[name] = _why(facts, policy)
            continue
        judged.update(policy.alerts)
        if not policy.alerts:
            cleanups.append(name)
        for verdict in policy.decide(facts):
            match verdict:
                case Condition() | Occurrence():  # the most frequent first
                    findings.append(verdict)
                case Kept():
                    kept.append(verdict)
                case Removal():
                    removals.append(verdict)
    return Decision(tuple(findings), tuple(removals), tuple(kept), frozenset(judged), skipped, tuple(cleanups))


def _why(facts: Facts, policy: Policy) -> str:
    reasons = []
    for name in sorted(policy.needs):
        source = facts.sources.get(name)
        if source is None:
            reasons.append(f"{name} not read yet")
        elif isinstance(source, Unknown):
            reasons.append(f"{name}: {source.why}")
    return "; ".join(reasons)
