"""Lays processes, requests and containers over a sample of GPUs: who holds how much of which."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from collectors.gpu_facts import GpuHeld, GpuUse
from collectors.gpu_targets import slots, targets
from collectors.process_owner import owner

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from collectors.facts import Container
    from collectors.gpu_facts import Gpu, GpuProcess, GpuSample
    from collectors.process_owner import Named

Place: TypeAlias = tuple[str, str, str]
"""Container id, UUID of the GPU, UUID of the MIG device or an empty string."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Who holds the GPUs of one sample; `idle_for` is nowhere told yet, for one sample does not show it."""

    use: tuple[GpuUse, ...]
    held: tuple[GpuHeld, ...]


def share(sample: GpuSample, owners: Mapping[int, Named] | None, containers: Iterable[Container]) -> Shares:
    """
    Give who asked for, and who holds, how much of each GPU.

    `owners` is what the cgroups of the living processes name; `None` where PIDs cannot be matched: then only
    requests are known. Of `containers` only those that run have what they asked for.
    """
    known = {container.id: container for container in containers}
    there = slots(sample.gpus)
    requested = {
        (id_, target.gpu_uuid, target.mig_uuid)
        for id_, container in known.items()
        if container.pid and container.gpu_requests
        for target in targets(container.gpu_requests, there)
    }
    use: list[GpuUse] = []
    held: list[GpuHeld] = []
    for gpu in sample.gpus:
        asked = {place for place in requested if place[1] == gpu.uuid}
        if gpu.processes is None or owners is None:
            use += [_unknown(place) for place in asked]
            continue
        by_place, of_host = _sorted_out(gpu, owners, known.keys())
        places = asked | by_place.keys()
        use += [_used(place, by_place.get(place, ()), requested=place in asked) for place in places]
        held.append(_held(gpu, [each for found in by_place.values() for each in found], of_host))
    return Shares(tuple(sorted(use, key=_place)), tuple(held))


def _place(use: GpuUse) -> Place:
    return use.container_id, use.gpu_uuid, use.mig_uuid


def _sorted_out(
    gpu: Gpu, owners: Mapping[int, Named], known: Collection[str]
) -> tuple[Mapping[Place, Sequence[GpuProcess]], Sequence[GpuProcess]]:
    """Give the living processes by the container and MIG device that they are in, and those of the host."""
    by_place: defaultdict[Place, list[GpuProcess]] = defaultdict(list)
    of_host: list[GpuProcess] = []
    for process in _distinct(gpu.processes or ()):
        named = owners.get(process.pid)
        if named is None:
            continue  # it is gone: what it held, if it holds it still, is nobody's
        if id_ := owner(named, known):
            by_place[id_, gpu.uuid, _mig(gpu, process)].append(process)
        else:
            of_host.append(process)
    return by_place, of_host


def _distinct(processes: Iterable[GpuProcess]) -> Iterable[GpuProcess]:
    """Give each process once: one that computes and draws stands in two lists, with the same memory in both."""
    found: dict[tuple[int, int | None, int | None], GpuProcess] = {}
    for process in processes:
        key = process.pid, process.gpu_instance_id, process.compute_instance_id
        known = found.get(key)
        if known is None or (known.memory_bytes or 0) < (process.memory_bytes or 0):
            found[key] = process
    return found.values()


def _mig(gpu: Gpu, process: GpuProcess) -> str:
    """Give the MIG device of a process, empty where it may be one or another."""
    within = [mig for mig in gpu.instances if mig.gpu_instance_id == process.gpu_instance_id]
    # A GPU instance that is split further is several devices; a driver that does not tell which can mean the only one.
    if process.compute_instance_id is None:
        return within[0].uuid if len(within) == 1 else ""
    return next((mig.uuid for mig in within if mig.compute_instance_id == process.compute_instance_id), "")


def _unknown(place: Place) -> GpuUse:
    container_id, gpu_uuid, mig_uuid = place
    return GpuUse(
        container_id=container_id,
        gpu_uuid=gpu_uuid,
        mig_uuid=mig_uuid,
        requested=True,
        processes=None,
        memory_bytes=None,
        sm_ratio=None,
        idle_for=None,
    )


def _used(place: Place, processes: Sequence[GpuProcess], *, requested: bool) -> GpuUse:
    container_id, gpu_uuid, mig_uuid = place
    ratio = _sum([process.sm_ratio for process in processes])
    return GpuUse(
        container_id=container_id,
        gpu_uuid=gpu_uuid,
        mig_uuid=mig_uuid,
        requested=requested,
        processes=len(processes),
        memory_bytes=_whole(_sum([process.memory_bytes for process in processes])),
        sm_ratio=None if ratio is None else min(float(ratio), 1.0),
        idle_for=None,
    )


def _held(gpu: Gpu, of_containers: Sequence[GpuProcess], of_host: Sequence[GpuProcess]) -> GpuHeld:
    used = gpu.readings.memory_used_bytes if gpu.readings else None
    explained = _sum([process.memory_bytes for process in (*of_containers, *of_host)])
    return GpuHeld(
        gpu_uuid=gpu.uuid,
        host_memory_bytes=_whole(_sum([process.memory_bytes for process in of_host])),
        host_processes=len(of_host),
        unattributed_memory_bytes=None if used is None or explained is None else max(used - int(explained), 0),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """Add; one value that nobody knows makes the sum unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
