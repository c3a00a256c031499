"""What each container last held of GPUs: for the record of its end, and for a GPU that can no longer be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from collectors.facts import Known, SourceName
from collectors.gpu_facts import GpuHold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collectors.facts import Death, Facts
    from collectors.gpu_facts import Gpu, GpuUse

_Place: TypeAlias = tuple[str, str]
"""Container id and UUID of the GPU."""

LATELY = timedelta(minutes=1)
"""So long before its end what a container held counts as held until then: a few samples."""
KEPT = timedelta(minutes=5)
"""So long it is remembered of a container that is gone, whose end may be found only then."""
_EARLY = timedelta(seconds=2)
"""A sample may be dated so much after the end that it did not see yet."""


class GpuHolds:
    """Remembers one hold for each container and GPU; for the watch thread alone."""

    def __init__(self) -> None:
        self._holds: dict[_Place, GpuHold] = {}
        self._unread: frozenset[str] = frozenset()

    def note(self, facts: Facts) -> Facts:
        """Take over what these facts show, and give them with what was last held of GPUs that cannot be read now."""
        source = facts.sources.get(SourceName.GPU)
        if isinstance(source, Known):
            readable = {gpu.uuid: gpu for gpu in facts.gpus.devices if gpu.fault is None and gpu.processes is not None}
            self._unread = frozenset(gpu.uuid for gpu in facts.gpus.devices) - readable.keys()
            self._holds |= {
                (use.container_id, use.gpu_uuid): _hold(facts.gpus.use, use, readable[use.gpu_uuid], source)
                for use in facts.gpus.use
                if use.gpu_uuid in readable and use.processes
            }
        self._forget(facts)
        alive = {container.id for container in facts.containers if container.pid}
        last = tuple(
            hold for hold in self._holds.values() if hold.gpu_uuid in self._unread and hold.container_id in alive
        )
        return replace(facts, gpus=replace(facts.gpus, last_held=last)) if last else facts

    def add(self, deaths: Iterable[Death]) -> tuple[Death, ...]:
        """Give the deaths with what each container held until then."""
        return tuple(replace(death, gpus=held) if (held := self._until(death)) else death for death in deaths)

    def _until(self, death: Death) -> tuple[GpuHold, ...]:
        its = (hold for hold in self._holds.values() if hold.container_id == death.container_id)
        held = (
            hold
            for hold in its
            if hold.at <= death.finished_at + _EARLY
            and (death.finished_at - hold.at <= LATELY or hold.gpu_uuid in self._unread)
        )
        return tuple(sorted(held, key=lambda hold: hold.gpu_index))

    def _forget(self, facts: Facts) -> None:
        """Let go of what is old; of a GPU that cannot be read the old is the newest, while the container is there."""
        present = {container.id for container in facts.containers}
        self._holds = {
            place: hold
            for place, hold in self._holds.items()
            # abs(): of times to come too, which were stamped before the wall clock was set back.
            if abs(facts.now - hold.at) < KEPT or (hold.gpu_uuid in self._unread and hold.container_id in present)
        }


def _hold(uses: Iterable[GpuUse], use: GpuUse, gpu: Gpu, source: Known) -> GpuHold:
    """Sum what one container holds of one GPU, over its MIG devices."""
    sizes = [
        each.memory_bytes
        for each in uses
        if (each.container_id, each.gpu_uuid) == (use.container_id, use.gpu_uuid) and each.processes
    ]
    return GpuHold(
        container_id=use.container_id,
        gpu_uuid=use.gpu_uuid,
        gpu_index=gpu.index,
        memory_bytes=None if None in sizes else sum(size or 0 for size in sizes),
        at=source.at,
    )
