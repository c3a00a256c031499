"""Whose health check comes and goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts

_FLAPPING = "container-health-flapping"
_MANY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFlapping:
    """Judge each container by how often its health turned in the last half an hour."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = (_FLAPPING,)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for every container."""
        for container in speakers(facts.containers):
            if not audible(container.name, container.labels, facts.ignore):
                yield from muted(self.alerts, container.subject)
                continue
            turns = facts.health_turns.get(container.subject.key, 0)
            state = ConditionState.BETWEEN
            if turns >= _MANY:
                state = ConditionState.BAD
            elif not turns and facts.health_watched:
                state = ConditionState.OK
            yield Condition(
                alert=_FLAPPING,
                subject=container.subject,
                severity=Severity.WARNING,
                state=state,
                reason=f"its health turned {words.count(turns, 'time')} in 30 min" if turns else "stable for 30 min",
                value=float(turns),
                limit=float(_MANY),
            )
