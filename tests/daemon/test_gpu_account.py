"""Idle times, charges, and what is forgotten when NVML falls silent."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.facts import Known, Unknown
from collectors.gpu_facts import GpuFault, GpuRequest, GpuRequestSource, Xid
from collectors.process_owner import ProcessOwners
from daemon.gpu_account import GpuAccount, GpuCharge, GpuLook
from daemon.gpu_seen import SeenGpus, bare
from daemon.store import Store
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.gpus import (
    DRIVER,
    GIB,
    FakeGpuEyes,
    a_gpu,
    a_lost_gpu,
    a_process,
    a_split_gpu,
    gpu_uuid,
    in_container,
    write_processes,
)
from tests.policies.build import container

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collectors.gpu_facts import Gpu, GpuUse

ALL = GpuRequest(source=GpuRequestSource.DEVICE_REQUEST, all=True)
TRAINER = container("trainer", pid=100, gpu_requests=(ALL,))
QUARTER = timedelta(seconds=15)


class Desk:
    """An account whose samples and processes a test sets, every 15 s."""

    def __init__(self, folder: Path, store: Store, clock: FakeClock) -> None:
        self.clock = clock
        self.store = store
        self.proc = folder / "proc"
        write_processes(self.proc, {7: in_container([TRAINER.id])})
        self.eyes = FakeGpuEyes(self.clock)
        self.containers = [TRAINER]
        self.account = GpuAccount(self.eyes, ProcessOwners(self.proc), SeenGpus(store, clock), clock)

    def look(self, *gpus: Gpu) -> GpuLook:
        """Take the next sample, if one is given, and look."""
        self.clock.advance(QUARTER)
        if gpus:
            self.eyes.show(*gpus)
        return self.account.look(self.containers, complete=True, idle_below=0.01)

    def use(self, *gpus: Gpu) -> GpuUse:
        """Give the one use that the next look finds."""
        [use] = self.look(*gpus).gpus.use
        return use

    def charge(self, *gpus: Gpu) -> GpuCharge:
        """Give the one charge of the next look."""
        [charge] = self.look(*gpus).charges
        return charge


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    clock = FakeClock()
    store = Store.open(tmp_path, clock)
    yield Desk(tmp_path, store, clock)
    store.close()


def working(ratio: float = 0.5) -> Gpu:
    return a_gpu(0, a_process(7, GIB, ratio))


def seconds(use: GpuUse) -> float | None:
    return None if use.idle_for is None else use.idle_for.total_seconds()


def test_who_does_nothing_has_been_idle_since_it_was_seen_or_last_worked(desk: Desk) -> None:
    idle = [seconds(desk.use(working(ratio))) for ratio in (0.0, 0.0, 0.5, 0.0, 0.0)]
    assert idle == [0, 15, 0, 15, 30]
    assert seconds(desk.use(a_gpu(0))) == 45, "no process is as idle as one that does nothing"


def test_who_does_next_to_nothing_is_idle_too(desk: Desk) -> None:
    idle = [seconds(desk.use(working(ratio))) for ratio in (0.5, 0.009, 0.009, 0.01)]
    assert idle == [0, 15, 30, 0]


def test_the_same_sample_makes_nobody_more_idle_and_charges_nobody_again(desk: Desk) -> None:
    desk.look(working(0.0))
    desk.look(working(0.0))
    again = desk.look()
    assert (seconds(again.gpus.use[0]), again.charges) == (15, ())


def test_no_sample_between_two_looks_is_passed_over(desk: Desk) -> None:
    desk.look(working(0.0))
    for ratio in (0.0, 0.8, 0.0):
        desk.clock.advance(QUARTER)
        desk.eyes.show(working(ratio))
    look = desk.account.look(desk.containers, complete=True, idle_below=0.01)
    assert seconds(look.gpus.use[0]) == 15, "it worked in the second of three"
    assert sum(charge.allocated_seconds for charge in look.charges) == 45
    assert sum(charge.sm_seconds or 0 for charge in look.charges) == 0.8 * 15


def test_a_process_that_ended_between_two_looks_is_charged_for_what_it_used(desk: Desk) -> None:
    desk.look(working(0.5))
    desk.clock.advance(QUARTER)
    desk.eyes.show(working(0.5))
    shutil.rmtree(desk.proc / "7")
    look = desk.look(working(0.0))
    assert sum(charge.sm_seconds or 0 for charge in look.charges) == 7.5
    assert (look.gpus.use[0].processes, look.gpus.held[0].unattributed_memory_bytes) == (0, 61 * GIB)


def test_another_run_of_the_container_begins_anew(desk: Desk) -> None:
    desk.look(a_gpu(0))
    desk.look(a_gpu(0))
    desk.containers = [container("trainer", pid=101, gpu_requests=(ALL,), started_at=NOW)]
    assert seconds(desk.use(a_gpu(0))) == 0


def test_where_multiprocessor_time_is_not_told_idleness_is_unknown(desk: Desk) -> None:
    split = a_split_gpu(0, a_process(7, GIB, None, instance=1))
    look = desk.look(split)
    assert {use.mig_uuid: seconds(use) for use in look.gpus.use} == {
        split.instances[0].uuid: None,
        split.instances[1].uuid: 0,
    }
    assert {charge.sm_seconds for charge in look.charges} == {None}
    assert {charge.profile for charge in look.charges} == {"3g.40gb"}


def test_a_container_is_charged_for_what_it_has_and_for_what_it_uses(desk: Desk) -> None:
    met = desk.charge(working())
    assert (met.allocated_seconds, met.sm_seconds) == (0, 0), "a counter begins at 0"
    then = desk.charge(working(0.2))
    assert (then.allocated_seconds, then.sm_seconds) == (15, 3)
    assert (then.gpu_uuid, then.profile, then.container) == (gpu_uuid(0), "", TRAINER)


def test_what_nobody_saw_is_not_charged(desk: Desk) -> None:
    desk.look(working(0.0))
    desk.look(working(0.0))
    desk.eyes.fail("the driver hangs")
    silent = desk.look()
    assert silent.source == Unknown("the driver hangs", NOW)
    assert (silent.gpus.devices, silent.gpus.seen, silent.charges) == ((), 1, ())
    back = desk.look(working(0.0))
    assert (back.charges[0].allocated_seconds, seconds(back.gpus.use[0])) == (0, 0)


def test_a_lost_gpu_is_not_charged(desk: Desk) -> None:
    desk.look(working())
    assert desk.look(a_lost_gpu(0)).charges == ()


def test_before_every_container_was_seen_nobody_holds_anything(desk: Desk) -> None:
    desk.eyes.show(working())
    look = desk.account.look([], complete=False, idle_below=0.01)
    assert (len(look.gpus.devices), look.gpus.use, look.gpus.held, look.gpus.attributable) == (1, (), (), True)
    assert isinstance(look.source, Known)
    assert look.gpus.driver_version == DRIVER


def test_in_a_pid_namespace_of_our_own_nothing_is_matched_which_is_said_once(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    write_processes(desk.proc, {}, namespace="pid:[4026532999]")
    desk.look(working())
    look = desk.look(working())
    assert caplog.text.count("--pid host") == 1
    assert not look.gpus.attributable
    assert (look.gpus.use[0].processes, look.gpus.held) == (None, ())


def test_on_a_host_without_gpus_there_is_nothing_to_tell(desk: Desk) -> None:
    look = desk.look()
    assert isinstance(look.source, Known)
    assert (look.gpus.devices, look.gpus.seen, look.gpus.attributable) == ((), 0, True)


def test_where_gpus_are_not_to_be_read_none_is_missed_and_where_they_cannot_be_all_are(desk: Desk) -> None:
    desk.look(a_gpu(0), a_gpu(1))
    desk.eyes.fail("the driver hangs")
    assert desk.look().gpus.seen == 2
    desk.eyes.source = Known(desk.clock.now())
    assert desk.look().gpus.seen == 0


def test_a_restart_remembers_which_there_were_and_a_boot_forgets(desk: Desk) -> None:
    desk.look(a_gpu(0), a_gpu(1))
    desk.look(a_gpu(0))
    seen = SeenGpus(desk.store, desk.clock)
    assert seen.count == 2
    assert list(seen.gpus.values()) == [bare(a_gpu(0)), bare(a_gpu(1))]
    desk.clock.boot = "another boot"
    assert (SeenGpus(desk.store, desk.clock).count, SeenGpus(desk.store, desk.clock).gpus) == (0, {})


def test_a_restart_remembers_the_xid_errors_also_those_of_a_lost_gpu(desk: Desk) -> None:
    well, lost = a_gpu(0), a_gpu(1)
    desk.look(well, lost)
    fell = Xid(xid=79, count=1, last_at=NOW)
    desk.look(well, replace(bare(lost), fault=GpuFault.LOST, xids=(fell,)))
    seen = SeenGpus(desk.store, desk.clock)
    assert [gpu.xids for gpu in seen.gpus.values()] == [(), (fell,)]
    assert seen.xids_until == desk.clock.monotonic()
    again = replace(fell, count=2, last_at=NOW + timedelta(hours=1))
    desk.look(replace(well, xids=(again,)), replace(bare(lost), fault=GpuFault.LOST, xids=(fell,)))
    assert [gpu.xids for gpu in SeenGpus(desk.store, desk.clock).gpus.values()] == [(again,), (fell,)]
    desk.clock.boot = "another boot"
    assert SeenGpus(desk.store, desk.clock).xids_until == 0


def test_a_record_of_an_earlier_build_is_left_out(desk: Desk) -> None:
    desk.look(a_gpu(0))
    desk.store.write(
        lambda connection: connection.execute(
            "UPDATE meta SET value = json_remove(value, '$.gpus') WHERE key = 'gpus_seen'"
        )
    )
    assert SeenGpus(desk.store, desk.clock).count == 0
