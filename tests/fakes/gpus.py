"""GPUs as a test wants them: samples without a driver, and processes without a kernel."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import Known, Unknown
from collectors.gpu_facts import (
    Gpu,
    GpuFault,
    GpuProcess,
    GpuProcessKind,
    GpuReadings,
    GpuSample,
    MigInstance,
    Xid,
)
from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from collectors.facts import Source
    from daemon.clock import Clock

GIB = 1 << 30
DRIVER = "580.65.06"
READINGS = GpuReadings(
    utilization_ratio=0.87,
    memory_controller_ratio=0.4,
    encoder_ratio=0.0,
    decoder_ratio=0.0,
    memory_total_bytes=80 * GIB,
    memory_used_bytes=61 * GIB,
    memory_free_bytes=18 * GIB,
    memory_reserved_bytes=1 * GIB,
    temperature_celsius={"gpu": 66.0, "memory": 78.0},
    slowdown_celsius=90.0,
    shutdown_celsius=95.0,
    power_watts=350.5,
    power_limit_watts=700.0,
    energy_joules=123456.789,
    pcie_replays=7,
    clock_hertz={"sm": 1.98e9, "memory": 2.619e9},
    throttle_reasons=frozenset({"sw_power_cap"}),
    throttled_seconds={"sw_power_cap": 12.5, "sw_thermal": 0.25, "hw_thermal": 0.5},
    ecc_errors={
        ("corrected", "volatile"): 3,
        ("corrected", "aggregate"): 8,
        ("uncorrected", "volatile"): 0,
        ("uncorrected", "aggregate"): 1,
    },
    remapped_rows={"correctable": 2, "uncorrectable": 0},
    remap_pending=False,
    remap_failure=False,
    retired_pages_pending=False,
    recovery_action="none",
)
"""What a busy H100 tells."""


def a_process(
    pid: int, memory_bytes: int | None = GIB, sm_ratio: float | None = 0.0, **changes: int | None
) -> GpuProcess:
    """Give a process that computes."""
    return GpuProcess(
        pid=pid,
        kind=GpuProcessKind.COMPUTE,
        memory_bytes=memory_bytes,
        sm_ratio=sm_ratio,
        gpu_instance_id=changes.get("instance"),
        compute_instance_id=changes.get("compute"),
    )


def gpu_uuid(index: int) -> str:
    """Give the UUID of the fake GPU of this index."""
    return f"GPU-{index:08x}-0000-4000-8000-{index:012x}"


def a_gpu(index: int = 0, *processes: GpuProcess, readings: GpuReadings | None = READINGS) -> Gpu:
    """Give a healthy GPU with these processes."""
    return Gpu(
        uuid=gpu_uuid(index),
        index=index,
        minor=index,
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id=f"00000000:{index + 1:02X}:00.0",
        readings=readings,
        processes=processes,
    )


def a_lost_gpu(index: int = 0) -> Gpu:
    """Give a GPU that fell off the bus after an XID 79."""
    return Gpu(
        uuid=gpu_uuid(index),
        index=index,
        minor=index,
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id=f"00000000:{index + 1:02X}:00.0",
        fault=GpuFault.LOST,
        xids=(Xid(xid=79, count=1, last_at=NOW - timedelta(minutes=3)),),
    )


def a_split_gpu(index: int = 0, *processes: GpuProcess) -> Gpu:
    """Give a GPU that MIG splits in two: of such one no utilization is told."""
    return Gpu(
        uuid=gpu_uuid(index),
        index=index,
        minor=index,
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id=f"00000000:{index + 1:02X}:00.0",
        readings=GpuReadings(
            memory_total_bytes=80 * GIB, memory_used_bytes=12 * GIB, memory_free_bytes=68 * GIB, power_watts=200.0
        ),
        mig=True,
        instances=tuple(
            MigInstance(
                uuid=f"MIG-{index:08x}-0000-4000-8000-{instance:012x}",
                gpu_instance_id=instance,
                compute_instance_id=0,
                profile="3g.40gb",
                memory_total_bytes=40 * GIB,
                memory_used_bytes=6 * GIB,
                memory_free_bytes=34 * GIB,
            )
            for instance in (1, 2)
        ),
        processes=processes,
    )


def a_sample(*gpus: Gpu, at: datetime = NOW) -> GpuSample:
    """Give a sample of these GPUs."""
    return GpuSample(at=at, driver_version=DRIVER, gpus=gpus)


class FakeGpuEyes:
    """NVML as a test wants it: at first of a host without GPUs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.recent: tuple[tuple[float, GpuSample], ...] = ()
        self.source: Source = Known(clock.now())

    def show(self, *gpus: Gpu) -> None:
        """Take another sample, of these GPUs."""
        now, taken = self._clock.now(), self._clock.monotonic()
        sample = replace(a_sample(*gpus, at=now), xids_until=taken)
        self.recent, self.source = (*self.recent, (taken, sample)), Known(now)

    def fail(self, why: str) -> None:
        """Be unable to tell of any GPU."""
        self.recent, self.source = (), Unknown(why, NOW)


def write_processes(proc: Path, paths: dict[int, str], *, namespace: str = "pid:[4026531836]") -> None:
    """Write a /proc in which these processes have these lines as their cgroup, and we live in this PID namespace."""
    own = proc / "self" / "ns"
    own.mkdir(parents=True, exist_ok=True)
    (own / "pid").unlink(missing_ok=True)
    (own / "pid").symlink_to(namespace)
    for pid, cgroup in ({1: "0::/init.scope\n"} | paths).items():
        write_process(proc, pid, cgroup)


def write_process(proc: Path, pid: int, cgroup: str, *, started: int = 1000) -> None:
    """Write one process; its name has brackets and spaces, as a kernel allows."""
    folder = proc / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    before = " ".join(["S", "1", *["0"] * 17])
    (folder / "stat").write_text(f"{pid} (python) (x)) {before} {started} 0 0\n")
    (folder / "cgroup").write_text(cgroup)


def in_container(ids: Sequence[str]) -> str:
    """Give the text of a v2 cgroup file of a process in these containers, one in the other."""
    return "0::" + "".join(f"/system.slice/docker-{id_}.scope" for id_ in ids) + "\n"
