"""That the machine was out of memory, and whom the kernel killed for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from policies import gpu_words, words
from policies.memory import MACHINE, largest
from policies.policy import Condition, ConditionState, Occurrence, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Death, Facts, SourceName
    from collectors.own_facts import HostOom

HOST_OOM = "host-oom"
_LATE = timedelta(minutes=5)
_SHORT_ID = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class HostOutOfMemory:
    """Tell each process that the kernel killed for want of memory of the whole machine; a cgroup's limit is none."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = (HOST_OOM,)

    def decide(self, facts: Facts) -> Iterator[Occurrence | Condition]:
        """Yield what happened within a day; nothing where the kernel's log may not be read."""
        if facts.host_ooms is None:
            return
        for kill in facts.host_ooms:
            late = f", at {words.moment(kill.at)}" if facts.now - kill.at > _LATE else ""
            yield Occurrence(
                alert=HOST_OOM,
                subject=MACHINE,
                severity=Severity.WARNING,
                at=kill.at,
                key=kill.key,
                reason=f"the kernel killed {_told(kill, facts)}{late}",
                details=largest(facts),
            )
        yield Condition(
            alert=HOST_OOM,
            subject=MACHINE,
            severity=Severity.WARNING,
            state=ConditionState.OK,
            reason="no further kill",
        )


def _told(kill: HostOom, facts: Facts) -> str:
    process = f"{kill.process or 'a process without a name'} ({words.size(kill.resident_bytes)})"
    if kill.containers is None:
        return f"{process}; in which container is not told"
    if not kill.containers:
        return f"{process}, a process of the host"
    # One that went with its process is known by its end.
    known: dict[str, Container | Death] = {death.container_id: death for death in facts.deaths}
    known |= {container.id: container for container in facts.containers}
    its = next((known[id_] for id_ in kill.containers if id_ in known), None)
    named = gpu_words.named(its, facts) if its else f"container {kill.containers[0][:_SHORT_ID]}"
    return f"{process} of {named}"
