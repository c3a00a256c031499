"""Lists of records out of memory that is used again: none may ever show what another answer left there."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest

from collectors.nvml_records import Records
from tests.lab import nvml as fake

Process = pynvml.c_nvmlProcessInfo_v3_t


@dataclass
class FakeList:
    """A function of NVML that fills a list of processes, of which it may count more than it writes."""

    pids: list[int] = field(default_factory=list)
    counted: int = 0
    answer: int = pynvml.NVML_SUCCESS
    rooms: list[int] = field(default_factory=list)

    def find(self, name: str) -> Any:
        """Give the function."""
        assert name == "nvmlDeviceGetComputeRunningProcesses_v3"
        return self._fill

    def _fill(self, _handle: object, length: Any, records: Any) -> int:
        count = length._obj
        self.rooms.append(count.value)
        room, count.value = count.value, max(len(self.pids), self.counted)
        if self.answer:
            return self.answer
        if count.value > room:
            return int(pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
        for place, pid in enumerate(self.pids):
            records[place] = Process(pid, pid * fake.MIB, 7, 0)
        return int(pynvml.NVML_SUCCESS)


def records_of(fills: FakeList) -> Records:
    return Records("nvmlDeviceGetComputeRunningProcesses_v3", Process, find=fills.find)


def test_records_are_tuples_in_the_order_of_the_structure() -> None:
    assert records_of(FakeList([11, 12])).ask(None) == [(11, 11 * fake.MIB, 7, 0), (12, 12 * fake.MIB, 7, 0)]


def test_an_answer_shows_nothing_of_the_one_before() -> None:
    fills = FakeList([11, 12, 13])
    records = records_of(fills)
    before = records.ask(None)
    fills.pids = [21]
    assert [pid for pid, *_ in records.ask(None)] == [21]
    fills.pids, fills.counted = [31], 3  # as drivers did that counted samples and did not write them
    assert records.ask(None) == [(31, 31 * fake.MIB, 7, 0), (0, 0, 0, 0), (0, 0, 0, 0)]
    assert [pid for pid, *_ in before] == [11, 12, 13], "an answer was a view of memory that is used again"


def test_a_list_that_grows_is_given_whole_and_asked_for_once_from_then_on() -> None:
    fills = FakeList()
    records = records_of(fills)
    assert records.ask(None) == []
    fills.pids = list(range(1, 1001))
    assert [pid for pid, *_ in records.ask(None)] == fills.pids
    fills.rooms.clear()
    assert [pid for pid, *_ in records.ask(None)] == fills.pids
    assert len(fills.rooms) == 1


def test_a_list_that_never_fits_is_an_error_and_no_endless_loop() -> None:
    fills = FakeList(answer=pynvml.NVML_ERROR_INSUFFICIENT_SIZE)
    with pytest.raises(pynvml.NVMLError) as raised:
        records_of(fills).ask(None)
    assert raised.value.value == pynvml.NVML_ERROR_INSUFFICIENT_SIZE


def test_a_length_that_no_list_has_takes_no_memory() -> None:
    fills = FakeList(counted=0xFFFFFFFF)
    with pytest.raises(pynvml.NVMLError):
        records_of(fills).ask(None)
    assert len(fills.rooms) == 1


def test_an_error_of_the_driver_is_the_bindings_own() -> None:
    with pytest.raises(pynvml.NVMLError) as raised:
        records_of(FakeList(answer=pynvml.NVML_ERROR_GPU_IS_LOST)).ask(None)
    assert raised.value.value == pynvml.NVML_ERROR_GPU_IS_LOST


def test_a_structure_with_a_member_that_cannot_be_unpacked_is_found_at_once() -> None:
    class Odd(ctypes.Structure):
        _fields_ = (("pid", ctypes.c_uint), ("name", ctypes.c_char * 8))

    with pytest.raises((AttributeError, TypeError)):
        Records("nvmlDeviceGetSomething", Odd)
