"""Whose log is large, and who may write without limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import knobs, words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import speakers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collectors.facts import Container, Facts

ONE = "container-log-large"
ALL = "logs-large"
_UNLIMITED = frozenset({"json-file", ""})
"""Drivers that write on and on where no `max-size` is set; `local` limits itself, the others write elsewhere."""
_CLEAR_SHARE = 0.8
"""Below so much of the limit a log is called small again."""
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeLogs:
    """Warn of large logs, of one container and of all together; nothing is removed or cut."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.LOGS})
    alerts: ClassVar[tuple[str, ...]] = (ONE, ALL)

    warn_bytes: int = 1024**3
    """Of one container."""
    warn_total_bytes: int = 5 * 1024**3

    def __post_init__(self) -> None:
        knobs.larger_than_zero(warn_bytes=self.warn_bytes, warn_total_bytes=self.warn_total_bytes)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for each container, and one for the engine."""
        sizes = {each.container_id: each.size_bytes for each in facts.logs}
        for container in speakers(facts.containers):
            if audible(container.name, container.labels, facts.ignore):
                yield self._of_one(container, sizes.get(container.id, 0))
            else:
                yield from muted([ONE], container.subject)
        yield self._of_all(facts, sizes)

    def _of_one(self, container: Container, size: int) -> Condition:
        cure = "no max-size limits it" if unlimited(container) else f"{container.log_driver}, limited by its options"
        return Condition(
            alert=ONE,
            subject=container.subject,
            severity=Severity.WARNING,
            state=_state(size, self.warn_bytes),
            reason=f"{words.size(size)}, {cure}",
            value=size,
            limit=self.warn_bytes,
        )

    def _of_all(self, facts: Facts, sizes: dict[str, int]) -> Condition:
        total = sum(sizes.values())
        largest = sorted(facts.containers, key=lambda each: (-sizes.get(each.id, 0), each.name))[:_NAMED]
        return Condition(
            alert=ALL,
            subject=facts.engine.subject,
            severity=Severity.WARNING,
            state=_state(total, self.warn_total_bytes),
            reason=f"{words.size(total)}{_largest(largest, sizes)}{_without_limit(facts.containers)}",
            value=total,
            limit=self.warn_total_bytes,
        )


def unlimited(container: Container) -> bool:
    """Tell whether nothing limits what the container's log takes on the disk."""
    return container.log_driver in _UNLIMITED and container.log_max_size in {"", "-1"}


def _state(size: int, limit: int) -> ConditionState:
    if size > limit:
        return ConditionState.BAD
    return ConditionState.OK if size <= limit * _CLEAR_SHARE else ConditionState.BETWEEN


def _largest(containers: Sequence[Container], sizes: dict[str, int]) -> str:
    told = [f"{each.name} {words.size(sizes[each.id])}" for each in containers if sizes.get(each.id)]
    return f", the largest: {', '.join(told)}" if told else ""


def _without_limit(containers: Sequence[Container]) -> str:
    number = sum(unlimited(each) for each in containers)
    return f"; {number} of {words.count(len(containers), 'container')} without max-size" if number else ""
