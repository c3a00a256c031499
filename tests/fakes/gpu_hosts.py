"""Hosts with GPUs that golden pages and measurements show: as the daemon would know them after a sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.dcgm import dcgm_families
from collectors.facts import COMPOSE_PROJECT, COMPOSE_SERVICE
from collectors.gpu_containers import container_gpu_families
from collectors.gpu_facts import GpuRequest, GpuRequestSource, Gpus
from collectors.gpu_families import gpu_families
from collectors.gpu_use import share
from daemon.gpu_account import GpuCharge
from policies.xids import XID_WORDS
from tests.fakes.gpus import DRIVER, GIB, a_gpu, a_lost_gpu, a_process, a_sample, a_split_gpu, gpu_uuid
from tests.policies.build import container

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from collectors.facts import Container
    from collectors.families import Family
    from collectors.gpu_facts import Gpu
    from collectors.process_owner import Named

EVERYTHING = GpuRequest(source=GpuRequestSource.DEVICE_REQUEST, all=True)


@dataclass(frozen=True)
class GpuHost:
    """GPUs with their use, and the containers that run there."""

    gpus: Gpus
    containers: tuple[Container, ...]


def gpu_page(host: GpuHost) -> Iterator[Family]:
    """Give all families about the GPUs of a host."""
    yield from gpu_families(host.gpus)
    yield from container_gpu_families(host.gpus, host.containers)
    yield from dcgm_families(host.gpus, "gpu-host-2", XID_WORDS)


def known(gpus: Sequence[Gpu], containers: Sequence[Container], owners: Mapping[int, Named]) -> GpuHost:
    """Give a host as the daemon knows it; who does nothing has done nothing for a quarter of an hour."""
    shares = share(a_sample(*gpus), owners, containers)
    idle = timedelta(minutes=15)
    use = tuple(replace(each, idle_for=idle if each.sm_ratio == 0 else None) for each in shares.use)
    told = Gpus(driver_version=DRIVER, devices=tuple(gpus), use=use, held=shares.held, seen=len(gpus))
    return GpuHost(told, tuple(containers))


def a_gpu_host(fleet: Sequence[Container]) -> GpuHost:
    """Give a host with a GPU that two containers of a fleet use, one that is split, and one that is lost."""
    first = replace(fleet[0], gpu_requests=(EVERYTHING,))
    gpus = [
        a_gpu(0, a_process(1, 40 * GIB, 0.8), a_process(2, 2 * GIB), a_process(3, 3 * GIB)),
        a_split_gpu(1, a_process(4, 5 * GIB, None, instance=1)),
        a_lost_gpu(2),
    ]
    ids = fleet[0].id, fleet[1].id
    return known(gpus, [first, *fleet[1:]], {1: ids[:1], 2: ids[1:], 3: (), 4: ids[:1]})


def some_charges(fleet: Sequence[Container]) -> Sequence[GpuCharge]:
    """Give what a container of a fleet has had of the first GPU: nothing yet."""
    return [GpuCharge(container=fleet[0], gpu_uuid=gpu_uuid(0), profile="", allocated_seconds=0.0, sm_seconds=0.0)]


def eight_gpus(*, containers: int) -> GpuHost:
    """Give 8 GPUs with 20 processes on each, those of so many containers and one of the host."""
    fleet = tuple(
        container(
            f"team-{number}",
            pid=100 + number,
            gpu_requests=(replace(EVERYTHING, all=False, count=1 + number % 8),),
            labels={COMPOSE_PROJECT: f"team-{number}", COMPOSE_SERVICE: "train"},
        )
        for number in range(containers)
    )
    owners: dict[int, Named] = {}
    gpus = []
    for index in range(8):
        processes = [a_process(1000 * (index + 1) + number, GIB, number / 100) for number in range(20)]
        owners |= {
            process.pid: (fleet[number % containers].id,) if number else () for number, process in enumerate(processes)
        }
        gpus.append(a_gpu(index, *processes))
    return known(gpus, fleet, owners)


def a_split_one() -> GpuHost:
    """Give a GPU that MIG splits in two, each half with a container that asked for it in its own way."""
    first, second = (
        container(name, pid=pid, gpu_requests=(GpuRequest(source=source, ids=(id_,)),))
        for name, pid, source, id_ in (
            ("notebook", 10, GpuRequestSource.DEVICE_REQUEST, "0:0"),
            ("serving", 20, GpuRequestSource.CDI, a_split_gpu(0).instances[1].uuid),
        )
    )
    gpu = a_split_gpu(0, a_process(1, 5 * GIB, None, instance=1))
    return known([gpu], [first, second], {1: (first.id,)})


def one_lost_of_two() -> GpuHost:
    """Give two GPUs of which the second is lost, and a container that asked for both."""
    trainer = container("trainer", pid=10, gpu_requests=(EVERYTHING,))
    return known([a_gpu(0, a_process(1, 40 * GIB, 0.9)), a_lost_gpu(1)], [trainer], {1: (trainer.id,)})
