"""Who holds what: processes of containers, of the host, and memory that nobody explains."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from collectors.gpu_facts import GpuHeld, GpuProcessKind, GpuRequest, GpuRequestSource, GpuUse
from collectors.gpu_use import Shares, share
from tests.fakes.gpus import GIB, a_gpu, a_lost_gpu, a_process, a_sample, a_split_gpu, gpu_uuid
from tests.policies.build import container

if TYPE_CHECKING:
    from collectors.facts import Container
    from collectors.gpu_facts import Gpu
    from collectors.process_owner import Named

ALL = GpuRequest(source=GpuRequestSource.DEVICE_REQUEST, all=True)
TRAINER = container("trainer", pid=100, gpu_requests=(ALL,))
GUEST = container("guest", pid=200)
ZERO = gpu_uuid(0)


def shares(*gpus: Gpu, owners: dict[int, Named] | None, containers: tuple[Container, ...] = (TRAINER, GUEST)) -> Shares:
    return share(a_sample(*gpus), owners, containers)


def by_name(found: Shares) -> dict[str, GpuUse]:
    names = {TRAINER.id: "trainer", GUEST.id: "guest"}
    return {names[use.container_id]: use for use in found.use}


def test_processes_of_a_container_are_summed_and_those_of_the_host_stand_apart() -> None:
    gpu = a_gpu(
        0, a_process(1, 20 * GIB, 0.5), a_process(2, 10 * GIB, 0.25), a_process(3, 4 * GIB), a_process(4, 2 * GIB)
    )
    found = shares(gpu, owners={1: (TRAINER.id,), 2: (TRAINER.id,), 3: (GUEST.id,), 4: ()})
    trainer, guest = by_name(found)["trainer"], by_name(found)["guest"]
    assert (trainer.requested, trainer.processes, trainer.memory_bytes, trainer.sm_ratio) == (True, 2, 30 * GIB, 0.75)
    assert (guest.requested, guest.processes, guest.memory_bytes, guest.sm_ratio) == (False, 1, 4 * GIB, 0.0)
    held = GpuHeld(
        gpu_uuid=ZERO, host_memory_bytes=2 * GIB, host_processes=1, unattributed_memory_bytes=(61 - 36) * GIB
    )
    assert found.held == (held,)


def test_who_asked_and_has_no_process_holds_nothing() -> None:
    trainer = by_name(shares(a_gpu(0), owners={}))["trainer"]
    assert (trainer.requested, trainer.processes, trainer.memory_bytes, trainer.sm_ratio) == (True, 0, 0, 0)


def test_who_asked_and_does_not_run_has_nothing() -> None:
    assert shares(a_gpu(0), owners={}, containers=(dataclasses.replace(TRAINER, pid=0),)).use == ()


def test_what_a_process_that_is_gone_held_is_unattributed() -> None:
    [held] = shares(a_gpu(0, a_process(1, 60 * GIB)), owners={}).held
    assert held.unattributed_memory_bytes == 61 * GIB


def test_a_process_in_two_lists_counts_once() -> None:
    draws = dataclasses.replace(a_process(1, 3 * GIB), kind=GpuProcessKind.GRAPHICS)
    guest = by_name(shares(a_gpu(0, a_process(1, 3 * GIB), draws), owners={1: (GUEST.id,)}))["guest"]
    assert (guest.processes, guest.memory_bytes) == (1, 3 * GIB)


def test_one_process_whose_memory_is_not_told_makes_the_sums_unknown() -> None:
    gpu = a_gpu(0, a_process(1, 3 * GIB), a_process(2, None, None), a_process(3, None))
    found = shares(gpu, owners={1: (GUEST.id,), 2: (GUEST.id,), 3: ()})
    guest, [held] = by_name(found)["guest"], found.held
    assert (guest.processes, guest.memory_bytes, guest.sm_ratio) == (2, None, None)
    assert (held.host_processes, held.host_memory_bytes, held.unattributed_memory_bytes) == (1, None, None)


def test_of_a_split_gpu_each_part_has_its_own_users() -> None:
    split = a_split_gpu(0, a_process(1, GIB, None, instance=1), a_process(2, 2 * GIB, None, instance=2))
    first, second = (mig.uuid for mig in split.instances)
    asks = container("trainer", pid=100, gpu_requests=(dataclasses.replace(ALL, all=False, ids=("0:0",)),))
    found = shares(split, owners={1: (TRAINER.id,), 2: (GUEST.id,)}, containers=(asks, GUEST))
    assert {(use.mig_uuid, use.requested, use.memory_bytes) for use in found.use} == {
        (first, True, GIB),
        (second, False, 2 * GIB),
    }


def test_compute_instances_of_one_gpu_instance_have_users_of_their_own() -> None:
    split = a_split_gpu(
        0, a_process(1, GIB, None, instance=1, compute=0), a_process(2, 2 * GIB, None, instance=1, compute=1)
    )
    first = split.instances[0]
    second = dataclasses.replace(first, uuid="MIG-another", compute_instance_id=1)
    split = dataclasses.replace(split, instances=(first, second))
    asks = container("trainer", pid=100, gpu_requests=(dataclasses.replace(ALL, all=False, ids=("0:1",)),))
    found = shares(split, owners={1: (GUEST.id,), 2: (TRAINER.id,)}, containers=(asks, GUEST))
    assert {(use.mig_uuid, use.requested, use.memory_bytes) for use in found.use} == {
        (first.uuid, False, GIB),
        (second.uuid, True, 2 * GIB),
    }


def test_which_compute_instance_a_process_is_in_is_not_guessed() -> None:
    split = a_split_gpu(0, a_process(1, GIB, None, instance=1), a_process(2, GIB, None, instance=2))
    first, alone = split.instances
    second = dataclasses.replace(first, uuid="MIG-another", compute_instance_id=1)
    found = shares(
        dataclasses.replace(split, instances=(first, second, alone)),
        owners={1: (GUEST.id,), 2: (GUEST.id,)},
        containers=(GUEST,),
    )
    assert {use.mig_uuid for use in found.use} == {"", alone.uuid}


def test_of_a_lost_gpu_only_the_requests_are_known() -> None:
    found = shares(a_lost_gpu(0), owners={})
    trainer = by_name(found)["trainer"]
    assert (trainer.processes, trainer.memory_bytes, trainer.sm_ratio) == (None, None, None)
    assert found.held == ()


def test_where_pids_cannot_be_matched_there_are_no_zeros() -> None:
    found = shares(a_gpu(0, a_process(1)), owners=None)
    assert [(use.processes, use.memory_bytes, use.sm_ratio) for use in found.use] == [(None, None, None)]
    assert found.held == ()
