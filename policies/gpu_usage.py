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
    from collections.abc import Iterator, Sequence

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
    """Idle is who has used no multiprocessor time for so long,"""
    below_percent: float = 1.0
    """or less than this share of it."""
    held_bytes: int = _GIB
    """Whoever holds so much memory and is idle keeps others from it, even where others compute."""
    orphan_bytes: int = _GIB
    """Memory in use that no process explains; below half of it all is well again."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(idle_for=self.idle_for)
        if not 0 <= self.below_percent <= 100:  # noqa: PLR2004  a share
            raise ValueError("below_percent must be between 0 and 100")
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

    def _idle(self, gpu: Gpu, uses: Sequence[GpuUse], known: dict[str, Container], facts: Facts) -> Iterator[Condition]:
        wasted = self._wasted(uses, known, facts)
        if not wasted and any(use.idle_for is None and not self._computes(use) for use in uses):
            return  # where the driver does not tell who computes (MIG), nobody is called idle, and nobody busy
        owners = {use.container_id: known[use.container_id] for use in wasted}
        yield Condition(
            alert=_IDLE,
            subject=gpu_words.subject(gpu),
            severity=Severity.INFO,
            state=ConditionState.BAD if wasted else ConditionState.OK,
            reason=_wasted_words(wasted, owners) if wasted else _used_words(uses),
            details=(gpu_words.affected(facts, gpu.uuid), gpu_words.identity(gpu)) if wasted else (),
        )

    def _wasted(self, uses: Sequence[GpuUse], known: dict[str, Container], facts: Facts) -> list[GpuUse]:
        """Give the uses that keep others from the GPU for nothing; of muted containers the owner hears nothing."""
        idle = [use for use in uses if use.idle_for is not None and use.idle_for >= self.idle_for]
        idle = [use for use in idle if not self._computes(use)]
        nobody_computes = len(idle) == len(uses)
        return [
            use
            for use in idle
            if (nobody_computes or (use.memory_bytes or 0) >= self.held_bytes)
            and audible(known[use.container_id].name, known[use.container_id].labels, facts.ignore)
        ]

    def _computes(self, use: GpuUse) -> bool:
        return use.sm_ratio is not None and use.sm_ratio > 0 and use.sm_ratio * 100 >= self.below_percent

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
            details=(gpu_words.affected(facts, gpu.uuid), gpu_words.identity(gpu))
            if state is ConditionState.BAD
            else (),
            value=float(lost),
            limit=float(self.orphan_bytes),
        )


def _wasted_words(wasted: Sequence[GpuUse], owners: dict[str, Container]) -> str:
    # In large units, so that an alert that stands does not change with every look.
    shortest = words.about(min(use.idle_for for use in wasted if use.idle_for is not None))
    names = sorted(container.name for container in owners.values())
    who = names[0] if len(names) == 1 else words.count(len(names), "container")
    have = "has" if len(names) == 1 else "have"
    return f"{who} {have} computed nothing on it for {shortest}"


def _used_words(uses: Sequence[GpuUse]) -> str:
    return "it is in use" if uses else "nobody holds it any more"
