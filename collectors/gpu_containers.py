"""Metric families of what containers asked for, hold and use of GPUs."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from collectors.families import Family, label_block, with_label
from collectors.gpu_targets import targets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from collectors.facts import Container
    from collectors.gpu_facts import Gpus, GpuUse

_P: Final = "shipkeeper_container_gpu_"


def container_gpu_families(gpus: Gpus, containers: Iterable[Container]) -> Iterator[Family]:
    """Give the families of the containers that run; a series names its container, its GPU and its MIG device."""
    if not gpus.devices:
        return
    known = {container.id: container for container in containers}
    index = {gpu.uuid: gpu.index for gpu in gpus.devices}
    use = [
        (_block(use.container_id[:12], container.name, index[use.gpu_uuid], use.gpu_uuid, use.mig_uuid), use)
        for use in gpus.use
        if (container := known.get(use.container_id)) is not None
    ]
    yield Family(
        _P + "requested",
        "gauge",
        "A GPU that the container was given, by what; always 1.",
        list(_requests(gpus, known.values(), index)),
    )
    yield _family(
        "memory_used_bytes", "Memory of the GPU that its processes hold.", use, lambda each: each.memory_bytes
    )
    yield _family("processes", "Its processes on the GPU.", use, lambda each: each.processes)
    yield _family(
        "sm_utilization_ratio", "Share of the multiprocessors' time that it used.", use, lambda each: each.sm_ratio
    )
    yield _family(
        "idle_seconds",
        "How long it has used no multiprocessor time.",
        use,
        lambda each: None if each.idle_for is None else each.idle_for.total_seconds(),
    )


def _requests(gpus: Gpus, containers: Iterable[Container], index: dict[str, int]) -> Iterator[tuple[str, float]]:
    for container in containers:
        if container.pid and container.gpu_requests:
            for target in targets(container.gpu_requests, gpus.devices):
                block = _block(
                    container.id[:12], container.name, index[target.gpu_uuid], target.gpu_uuid, target.mig_uuid
                )
                yield _with_source(block, target.source), 1


@lru_cache(maxsize=4096)  # the same in every scrape, as long as the containers are
def _block(id_: str, name: str, index: int, uuid: str, mig_uuid: str) -> str:
    block = label_block(id=id_, name=name, gpu=str(index), uuid=uuid)
    return with_label(block, "mig_uuid", mig_uuid) if mig_uuid else block


@lru_cache(maxsize=4096)
def _with_source(block: str, source: str) -> str:
    return with_label(block, "source", source)


def _family(name: str, text: str, use: Sequence[tuple[str, GpuUse]], value: Callable[[GpuUse], float | None]) -> Family:
    samples = [(block, found) for block, each in use if (found := value(each)) is not None]
    return Family(_P + name, "gauge", text, samples)
