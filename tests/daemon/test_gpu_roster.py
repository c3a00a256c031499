from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from collectors.gpu_facts import Gpu, GpuFault, GpuReadings, Xid
from collectors.nvml_lines import Listing
from daemon.gpu_roster import GpuRoster
from tests.fakes.clock import NOW


def a_gpu(number: int, index: int | None = None) -> Gpu:
    return Gpu(
        uuid=f"GPU-{number}",
        index=number if index is None else index,
        name="NVIDIA Fake",
        pci_bus_id=f"00000000:{number + 1:02X}:00.0",
        readings=GpuReadings(),
        processes=(),
    )


def listing(*gpus: Gpu) -> Listing:
    return Listing(driver_version="580", listening_since=None, gpus=gpus, xids=())


def shown(roster: GpuRoster, *gpus: Gpu) -> list[tuple[str, int, GpuFault | None]]:
    roster.meet(listing(*gpus))
    return [(gpu.uuid, gpu.index, gpu.fault) for gpu in roster.sample(listing(*gpus), NOW).gpus]


def test_a_gpu_that_cannot_be_read_keeps_the_name_it_had() -> None:
    roster = GpuRoster()
    shown(roster, a_gpu(0), a_gpu(1))
    assert shown(roster, a_gpu(0), Gpu(uuid="", index=1, fault=GpuFault.RESET_REQUIRED)) == [
        ("GPU-0", 0, None),
        ("GPU-1", 1, GpuFault.RESET_REQUIRED),
    ]


def test_a_gpu_that_is_not_listed_any_more_is_lost_also_when_the_others_move_up() -> None:
    roster = GpuRoster()
    shown(roster, a_gpu(0), a_gpu(1))
    assert shown(roster, a_gpu(1, index=0)) == [("GPU-0", 0, GpuFault.LOST), ("GPU-1", 0, None)]


def test_none_where_there_were_some_are_all_lost() -> None:
    roster = GpuRoster()
    shown(roster, a_gpu(0), a_gpu(1))
    assert [fault for _, _, fault in shown(roster)] == [GpuFault.LOST, GpuFault.LOST]


def test_a_gpu_that_was_never_read_has_no_name() -> None:
    assert shown(GpuRoster(), Gpu(uuid="", index=0, fault=GpuFault.LOST)) == [("", 0, GpuFault.LOST)]


def test_a_gpu_that_comes_back_is_well() -> None:
    roster = GpuRoster()
    shown(roster, a_gpu(0))
    shown(roster)
    assert shown(roster, a_gpu(0)) == [("GPU-0", 0, None)]


def test_of_a_gpu_that_is_lost_nothing_old_is_shown() -> None:
    roster = GpuRoster()
    shown(roster, a_gpu(0))
    [gpu] = roster.sample(listing(), NOW).gpus
    assert (gpu.name, gpu.readings, gpu.processes) == ("NVIDIA Fake", None, None)


def test_xid_errors_are_counted_by_number_with_the_time_of_the_last() -> None:
    roster = GpuRoster()
    roster.meet(listing(a_gpu(0), a_gpu(1)))
    roster.note_xid("GPU-1", 43, NOW)
    roster.note_xid("GPU-1", 43, NOW - timedelta(hours=1))  # the kernel's log is read later
    roster.note_xid("GPU-1", 79, NOW)
    first, second = roster.sample(listing(a_gpu(0), a_gpu(1)), NOW).gpus
    assert first.xids == ()
    assert second.xids == (Xid(xid=43, count=2, last_at=NOW), Xid(xid=79, count=1, last_at=NOW))


def test_errors_from_before_our_own_start_are_counted_on() -> None:
    before = Xid(xid=79, count=2, last_at=NOW - timedelta(hours=1))
    roster = GpuRoster([replace(a_gpu(0), xids=(before,))])
    assert [gpu.xids for gpu in roster.sample(listing(), NOW).gpus] == [(before,)]
    roster.note_xid("GPU-0", 79, NOW)
    assert [gpu.xids for gpu in roster.sample(listing(a_gpu(0)), NOW).gpus] == [(Xid(xid=79, count=3, last_at=NOW),)]


def test_a_gpu_is_found_by_its_address_on_the_bus() -> None:
    roster = GpuRoster()
    roster.meet(listing(a_gpu(0), a_gpu(1)))
    assert roster.by_address((0, 2, 0)) == "GPU-1"
    assert roster.by_address((0, 9, 0)) == ""
