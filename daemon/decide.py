"""Runs every policy over one snapshot, skipping those whose sources are unknown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from collectors.facts import Unknown
from policies import relief
from policies.bounds import PLAIN, Bounds, ask, too_many
from policies.policy import Condition, Kept, Occurrence, Removal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from collectors.facts import Facts
    from policies.policy import Policy

NO_BOUNDS: Mapping[str, Bounds] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Decision:
    """All verdicts of one cycle, which alerts were judged at all, and which policies could not be asked."""

    findings: tuple[Condition | Occurrence, ...]
    removals: tuple[Removal, ...]
    kept: tuple[Kept, ...]
    judged: frozenset[str]
    skipped: Mapping[str, str]
    """Policy name → why it was skipped, in words."""
    too_many: Mapping[str, str] = field(default_factory=dict)
    """Policy name → why nothing of what it selects goes by itself, in words."""
    cleanups: tuple[str, ...] = ()
    """The policies that were asked what to remove."""
    relief: tuple[Removal, ...] = ()
    """What may go from filesystems that are too full, in this order, spare ones and what `removals` names among it."""


def decide(policies: Mapping[str, Policy], facts: Facts, bounds: Mapping[str, Bounds] = NO_BOUNDS) -> Decision:
    """Ask every policy that has the sources it needs, each within its bounds."""
    findings: list[Condition | Occurrence] = []
    removals: list[Removal] = []
    relieving: list[Removal] = []
    kept: dict[tuple[str, str], Kept] = {}
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
        for verdict in ask(policy, facts, bounds.get(name, PLAIN)):
            match verdict:
                case Condition() | Occurrence():  # the most frequent first
                    findings.append(verdict)
                case Kept():
                    kept[verdict.object.kind, verdict.object.id] = verdict
                case Removal():
                    (relieving if verdict.policy == relief.NAME else removals).append(verdict)
    for removal in (
        *removals,
        *(each for each in relieving if not each.spare),
    ):  # two policies may look at one object, and the later one knows it better
        kept.pop((removal.object.kind, removal.object.id), None)
    return Decision(
        findings=tuple(findings),
        removals=tuple(removals),
        kept=tuple(kept.values()),
        judged=frozenset(judged),
        skipped=skipped,
        cleanups=tuple(cleanups),
        relief=tuple(relieving),
        too_many=_too_many(removals, [kind for kind, _ in kept], bounds),
    )


def _too_many(removals: Sequence[Removal], kept: Iterable[str], bounds: Mapping[str, Bounds]) -> Mapping[str, str]:
    """Say of which policies the selection is too large to be meant, measured by all objects of its kind."""
    population = Counter(kept) + Counter(removal.object.kind for removal in removals)
    selected = Counter((removal.policy, removal.object.kind) for removal in removals)
    found = {}
    for (policy, kind), count in selected.items():
        if why := too_many(count, population[kind], bounds.get(policy, PLAIN)):
            found[policy] = why
    return found


def _why(facts: Facts, policy: Policy) -> str:
    reasons = []
    for name in sorted(policy.needs):
        source = facts.sources.get(name)
        if source is None:
            reasons.append(f"{name} not read yet")
        elif isinstance(source, Unknown):
            reasons.append(f"{name}: {source.why}")
    return "; ".join(reasons)
