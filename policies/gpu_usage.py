"""Which GPUs are held by somebody who does not use them, or by nobody at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import gpu_words, knobs, words
from policies.muting import audible
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collectors.facts import Container, Facts
    from collectors.gpu_facts import Gpu, GpuHeld, GpuUse

_IDLE = "gpu-idle"
_ORPHAN = "gpu-memory-orphan"
_GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUsage:
    """
    Judge each GPU that can be read by what containers do with it.

    A reservation alone is a waste only while nobody computes there; memory is one whoever else computes.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.GPU})
    alerts: ClassVar[tuple[str, ...]] = (_IDLE, _ORPHAN)

    idle_for: timedelta = timedelta(hours=2)
    """Idle is who has not computed for so long."""
    held_bytes: int = _GIB
    """Whoever holds so much memory and is idle keeps others from it, even where others compute."""
    orphan_bytes: int = _GIB
    """Memory in use that no process explains; below half of it all is well again."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(idle_for=self.idle_for)
        if self.orphan_bytes <= 0:
            raise ValueError("orphan_bytes must be larger than zero")

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield a condition for every GPU of which it is known who uses it."""
        known = {container.id: container for container in facts.containers}
        held = {each.gpu_uuid: each for each in facts.gpus.held}
        for gpu in facts.gpus.devices:
            if gpu.fault is not None:
                continue
            if facts.gpus.attributable:
                uses = [use for use in facts.gpus.use if use.gpu_uuid == gpu.uuid and use.container_id in known]
                yield from self._idle(gpu, uses, known, facts)
            if gpu.uuid in held:
                yield from self._orphan(gpu, held[gpu.uuid], facts)

    def _idle(
        self, gpu: Gpu, uses: Sequence[GpuUse], known: Mapping[str, Container], facts: Facts
    ) -> Iterator[Condition]:
        at_rest = self._at_rest(uses, known, facts)
        wasted = [use for use in at_rest if use.idle_for is not None and use.idle_for >= self.idle_for]
        if not wasted and any(use.idle_for is None for use in uses):
            return  # where the driver does not tell who computes (MIG), nobody is called idle, and nobody busy
        if wasted:
            state, reason = ConditionState.BAD, _wasted_words(wasted, known)
        elif at_rest:
            # Not for long enough, as far as we have watched: our own restart ends no idleness.
            state, reason = ConditionState.BETWEEN, "at rest, not for long"
        else:
            state, reason = ConditionState.OK, "it is in use" if uses else "nobody holds it any more"
        yield Condition(
            alert=_IDLE,
            subject=gpu_words.subject(gpu),
            severity=Severity.INFO,
            state=state,
            reason=reason,
            details=(gpu_words.affected(facts, gpu.uuid), gpu_words.identity(gpu)) if wasted else (),
        )

    def _at_rest(self, uses: Sequence[GpuUse], known: Mapping[str, Container], facts: Facts) -> list[GpuUse]:
        """Give the uses that keep others from the GPU and do not compute; of muted containers nothing is told."""
        # One that is seen for the first time has been idle for no time yet, and may be so all the same.
        idle = [use for use in uses if use.idle_for is not None and (use.idle_for or not use.sm_ratio)]
        nobody_computes = len(idle) == len(uses)
        return [
            use
            for use in idle
            if (nobody_computes or (use.memory_bytes or 0) >= self.held_bytes)
            and audible(known[use.container_id].name, known[use.container_id].labels, facts.ignore)
        ]

    def _orphan(self, gpu: Gpu, held: GpuHeld, facts: Facts) -> Iterator[Condition]:
        lost = held.unattributed_memory_bytes
        if lost is None:
            return
        if lost >= self.orphan_bytes:
            state = ConditionState.BAD
        else:
            state = ConditionState.OK if lost < self.orphan_bytes / 2 else ConditionState.BETWEEN
        yield Condition(
            alert=_ORPHAN,
            subject=gpu_words.subject(gpu),
            severity=Severity.WARNING,
            state=state,
            reason=f"{words.size(lost)} in use by no process that can be seen",
            details=_orphan_details(gpu, facts) if state is ConditionState.BAD else (),
            value=float(lost),
            limit=float(self.orphan_bytes),
        )


def _orphan_details(gpu: Gpu, facts: Facts) -> tuple[str, ...]:
    left = gpu_words.left_behind(facts, gpu.uuid)
    return gpu_words.affected(facts, gpu.uuid), *([left] if left else []), gpu_words.identity(gpu)


def _wasted_words(wasted: Sequence[GpuUse], known: Mapping[str, Container]) -> str:
    # In large units, so that an alert that stands does not change with every look.
    shortest = words.about(min(use.idle_for for use in wasted if use.idle_for is not None))
    names = sorted({known[use.container_id].name for use in wasted})
    who = f"{names[0]} has" if len(names) == 1 else f"{words.count(len(names), 'container')} have"
    return f"{who} computed nothing on it for {shortest}"
