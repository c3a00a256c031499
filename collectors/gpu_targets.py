"""Says which GPUs of a host, or MIG devices, a container's requests mean."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from collectors.gpu_facts import GpuRequestSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from collectors.gpu_facts import Gpu, GpuRequest

_LONGEST_NUMBER = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuTarget:
    """One GPU, or one MIG device of it, that a container was given."""

    gpu_uuid: str
    mig_uuid: str = ""
    source: GpuRequestSource


class Slot(NamedTuple):
    """What a request can go by to name a GPU."""

    number: int
    """NVML's index."""
    uuid: str
    minor: int | None
    migs: tuple[str, ...]
    """The UUIDs of its MIG devices."""


Slots: TypeAlias = tuple[Slot, ...]


def slots(gpus: Iterable[Gpu]) -> Slots:
    """Give where the GPUs are, in NVML's order: the same for each sample until one of them is another."""
    return tuple(
        sorted(
            (Slot(gpu.index, gpu.uuid, gpu.minor, tuple(mig.uuid for mig in gpu.instances)) for gpu in gpus),
            key=lambda slot: slot.number,
        )
    )


@lru_cache(maxsize=4096)  # asked of every container that has requests, in every sample and scrape
def targets(requests: tuple[GpuRequest, ...], gpus: Slots) -> tuple[GpuTarget, ...]:
    """Give what the requests mean, each once; what fits nothing on this host is left out."""
    found: dict[tuple[str, str], GpuTarget] = {}
    for request in requests:
        for gpu_uuid, mig_uuid in _meant(request, gpus):
            target = GpuTarget(gpu_uuid=gpu_uuid, mig_uuid=mig_uuid, source=request.source)
            found.setdefault((gpu_uuid, mig_uuid), target)
    return tuple(found.values())


def _meant(request: GpuRequest, gpus: Sequence[Slot]) -> Iterator[tuple[str, str]]:
    if request.all or request.count:
        # `--gpus 2` are always the first two, whoever else has them.
        for gpu in gpus if request.all else gpus[: request.count]:
            yield from _whole(gpu)
        return
    for id_ in request.ids:
        if request.source is GpuRequestSource.DEVICE:
            yield from (each for gpu in gpus if str(gpu.minor) == id_ for each in _whole(gpu))
        else:
            yield from _by_id(id_, gpus)


def _by_id(id_: str, gpus: Sequence[Slot]) -> Iterator[tuple[str, str]]:
    first, colon, second = id_.partition(":")
    if colon:  # a GPU and the number of a MIG device on it
        number = _number(second)
        for gpu in _one(first, gpus):
            if number is not None and number < len(gpu.migs):
                yield gpu.uuid, gpu.migs[number]
    elif id_.startswith("MIG-"):
        found = [(gpu.uuid, mig) for gpu in gpus for mig in gpu.migs if mig.startswith(id_)]
        yield from found if len(found) == 1 else ()
    else:
        for gpu in _one(id_, gpus):
            yield from _whole(gpu)


def _one(id_: str, gpus: Sequence[Slot]) -> Sequence[Slot]:
    """Give the GPU of an index, of a UUID or of the beginning of one; none if several have that."""
    number = _number(id_)
    if number is not None:
        return [gpu for gpu in gpus if gpu.number == number]
    found = [gpu for gpu in gpus if id_.startswith("GPU-") and gpu.uuid.startswith(id_)]
    return found if len(found) == 1 else []


def _whole(gpu: Slot) -> Iterator[tuple[str, str]]:
    """Give a GPU as a container gets it that asks for it: of one that is split, all MIG devices."""
    if gpu.uuid and not gpu.migs:  # one that never told its UUID cannot be told apart
        yield gpu.uuid, ""
    for mig in gpu.migs:
        yield gpu.uuid, mig


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER else None
