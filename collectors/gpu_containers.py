"""Metric families of what containers asked for, hold and use of GPUs."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from collectors.families import Family, as_lines, label_block, with_label
from collectors.gpu_targets import slots, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from collectors.facts import Container
    from collectors.gpu_facts import GpuRequest, Gpus
    from collectors.gpu_targets import Slots

_P: Final = "shipkeeper_container_gpu_"


def container_gpu_families(gpus: Gpus, containers: Iterable[Container]) -> Iterator[Family]:
    """Give the families of the containers that run; a series names its container, its GPU and its MIG device."""
    if not gpus.devices:
        return
    known = {container.id: container for container in containers}
    index = {gpu.uuid: gpu.index for gpu in gpus.devices}
    use = [
        (_block(use.container_id, container.name, index[use.gpu_uuid], use.gpu_uuid, use.mig_uuid), use)
        for use in gpus.use
        if (container := known.get(use.container_id)) is not None
    ]
    there = slots(gpus.devices)
    yield Family(
        _P + "requested",
        "gauge",
        "A GPU that the container was given, by what; always 1.",
        lines=[
            line
            for container in known.values()
            if container.pid and container.gpu_requests
            for line in _requested(container.id, container.name, container.gpu_requests, there)
        ],
    )
    yield _family(
        "memory_used_bytes",
        "Memory of the GPU that its processes hold.",
        [(block, each.memory_bytes) for block, each in use if each.memory_bytes is not None],
    )
    yield _family(
        "processes",
        "Its processes on the GPU.",
        [(block, each.processes) for block, each in use if each.processes is not None],
    )
    yield _family(
        "sm_utilization_ratio",
        "Share of the multiprocessors' time that it used.",
        [(block, each.sm_ratio) for block, each in use if each.sm_ratio is not None],
    )
    yield _family(
        "idle_seconds",
        "How long it has used no multiprocessor time.",
        [(block, each.idle_for.total_seconds()) for block, each in use if each.idle_for is not None],
    )


@lru_cache(maxsize=4096)  # the same in every scrape, as long as the containers and the GPUs are
def _requested(id_: str, name: str, requests: tuple[GpuRequest, ...], there: Slots) -> tuple[str, ...]:
    index = {slot.uuid: slot.number for slot in there}
    blocks = (
        (_block(id_, name, index[target.gpu_uuid], target.gpu_uuid, target.mig_uuid), target.source)
        for target in targets(requests, there)
    )
    return as_lines((with_label(block, "source", source), 1) for block, source in blocks)


@lru_cache(maxsize=4096)
def _block(id_: str, name: str, index: int, uuid: str, mig_uuid: str) -> str:
    block = label_block(id=id_[:12], name=name, gpu=str(index), uuid=uuid)
    return with_label(block, "mig_uuid", mig_uuid) if mig_uuid else block


def _family(name: str, text: str, samples: Sequence[tuple[str, float]]) -> Family:
    return Family(_P + name, "gauge", text, samples)
