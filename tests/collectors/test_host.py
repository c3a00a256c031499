from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.host import Host
from collectors.own_facts import HostMemory
from tests.fakes.cgroup_tree import CgroupTree

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def told(host: Host) -> Mapping[str, float]:
    return {
        family.name.removeprefix("shipkeeper_host_"): family.samples[0][1]
        for family in host.collect()
        if family.samples
    }


def test_memory_is_told_in_bytes(tmp_path: Path) -> None:
    host = Host(CgroupTree(tmp_path).proc)
    assert told(host) == {
        "memory_total_bytes": 8 << 30,
        "memory_available_bytes": 4 << 30,
        "memory_free_bytes": 1 << 30,
        "swap_total_bytes": 2 << 30,
        "swap_free_bytes": (2 << 30) - (4 << 20),
        "oom_kills_total": 3,
    }
    assert host.memory_bytes == 8 << 30


def test_what_the_kernel_does_not_tell_is_absent(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert told(host) == {}
    assert host.memory_bytes is None


def test_garbage_is_absent(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: many kB\nMemFree:\nMemAvailable: -1 kB\nSwapTotal: 7 MB\n")
    assert told(Host(tmp_path)) == {}


def test_this_machine_has_memory() -> None:
    found = told(Host())
    assert 0 < found["memory_available_bytes"] <= found["memory_total_bytes"]


def test_how_much_is_available_is_told_with_how_much_there_is(tmp_path: Path) -> None:
    assert Host(CgroupTree(tmp_path).proc).memory() == HostMemory(total_bytes=8 << 30, available_bytes=4 << 30)
    assert Host(tmp_path / "none").memory() is None
