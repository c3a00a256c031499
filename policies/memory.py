"""Who is short of memory: containers by their limits, and the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName, Subject, SubjectKind
from policies import knobs, words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Facts
    from collectors.own_facts import HostMemory, MemoryUse

NEAR_LIMIT = "container-memory-near-limit"
HOST_LOW = "host-memory-low"
MACHINE = Subject(SubjectKind.HOST, "host", "the host")
_NAMED = 3
_RISE_SHARE = 0.05
"""What rose by less than this of what is used stood still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerMemory:
    """Warn of containers near their memory limit, before the kernel kills."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = (NEAR_LIMIT,)

    warn_percent: float = 95.0
    """Of its limit that a container uses, the cache that can be dropped left out;"""
    clear_percent: float = 85.0
    """below this it is well again."""

    def __post_init__(self) -> None:
        knobs.larger_than_zero(warn_percent=self.warn_percent, clear_percent=self.clear_percent)
        if self.clear_percent > self.warn_percent:
            raise ValueError("clear_percent must be at most warn_percent")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for every container of which it is known."""
        for container in speakers(facts.containers):
            if not audible(container.name, container.labels, facts.ignore):
                yield from muted([NEAR_LIMIT], container.subject)
            elif condition := self._of_one(container, facts.memory.get(container.id)):
                yield condition

    def _of_one(self, container: Container, use: MemoryUse | None) -> Condition | None:
        limit = container.memory_limit_bytes
        if container.state not in ALIVE:
            return _near(container, ConditionState.OK, "it does not run")
        if not limit:
            return _near(container, ConditionState.OK, "it has no memory limit")
        if use is None:
            return None
        percent = 100 * use.used_bytes / limit
        state = ConditionState.BETWEEN
        if percent >= self.warn_percent:
            state = ConditionState.BAD
        elif percent < self.clear_percent:
            state = ConditionState.OK
        reason = f"{words.size(use.used_bytes)} of {words.size(limit)} in use ({percent:.0f} %)"
        return _near(container, state, reason, use, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMemoryLow:
    """Warn when the machine has little memory left, whether Docker answers or not."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = (HOST_LOW,)

    warn_percent: float = 5.0
    """Of the machine's memory that is available;"""
    clear_percent: float = 10.0
    """above this it is well again."""

    def __post_init__(self) -> None:
        knobs.larger_than_zero(warn_percent=self.warn_percent, clear_percent=self.clear_percent)
        if self.clear_percent < self.warn_percent:
            raise ValueError("clear_percent must be at least warn_percent")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield one condition, if the kernel tells."""
        if facts.host_memory:
            yield self._judge(facts.host_memory, facts)

    def _judge(self, memory: HostMemory, facts: Facts) -> Condition:
        percent = 100 * memory.available_bytes / max(memory.total_bytes, 1)
        state = ConditionState.BETWEEN
        if percent < self.warn_percent:
            state = ConditionState.BAD
        elif percent > self.clear_percent:
            state = ConditionState.OK
        return Condition(
            alert=HOST_LOW,
            subject=MACHINE,
            severity=Severity.WARNING,
            state=state,
            reason=f"{words.size(memory.available_bytes)} of {words.size(memory.total_bytes)} available"
            f" ({percent:.0f} %)",
            details=largest(facts),
            value=float(memory.available_bytes),
            limit=memory.total_bytes * self.warn_percent / 100,
        )


def told(use: MemoryUse) -> str:
    """Say how memory rose and who was largest: `Memory rose 1.1 GiB/min over the last 9 min`; empty if nobody knows."""
    said = []
    seconds = use.over.total_seconds() if use.over is not None else 0
    if use.over is not None and seconds > 0 and use.rose_bytes > _RISE_SHARE * use.used_bytes:
        per_minute = words.size(int(use.rose_bytes * 60 / seconds))
        said.append(f"memory rose {per_minute}/min over the last {words.about(use.over)}")
    if use.largest:
        said.append(f"the largest process was {use.largest} ({words.size(use.largest_bytes)})")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _near(
    container: Container, state: ConditionState, reason: str, use: MemoryUse | None = None, limit: int | None = None
) -> Condition:
    rose = told(use) if use else ""
    return Condition(
        alert=NEAR_LIMIT,
        subject=container.subject,
        severity=Severity.WARNING,
        state=state,
        reason=reason,
        details=(rose,) if rose else (),
        value=float(use.used_bytes) if use else None,
        limit=float(limit) if limit else None,
    )


def largest(facts: Facts) -> tuple[str, ...]:
    """Name the largest containers in a line; none where nobody read how large they are."""
    names = {each.id: each.name for each in facts.containers}
    uses = sorted(facts.memory.items(), key=lambda each: -each[1].used_bytes)
    told = [f"{names[id_]} {words.size(use.used_bytes)}" for id_, use in uses if id_ in names][:_NAMED]
    return (f"The largest containers: {', '.join(told)}.",) if told else ()
