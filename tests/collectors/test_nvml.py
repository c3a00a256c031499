"""The NVML reader: a real process with the real bindings, at a library whose GPUs are plain values."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest

from collectors.gpu_facts import Gpu, GpuFault, GpuProcess, GpuProcessKind, GpuReadings, MigInstance
from collectors.nvml_lines import Refusal
from daemon.gpu_child import ChildEndedError
from tests.lab import nvml as fake
from tests.lab.gpu_reader import next_line, next_listing, one_listing, reader
from tests.lab.nvml import MIB, FakeGpu, FakeMig, FakeNvml, FakeProcess
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.nvml_lines import Listing

BUSY = FakeGpu(
    name="NVIDIA H100 80GB HBM3",
    utilization=87,
    memory_utilization=40,
    encoder=3,
    decoder=5,
    memory_used=20_000 * MIB,
    temperature=66,
    power=350_500,
    energy=123_456_789,
    pcie_replays=7,
    clock_sm=1755,
    clock_reasons=0x4 | 0x20,
    ecc_corrected_volatile=2,
    ecc_uncorrected_aggregate=1,
    remapped_correctable=4,
    remap_pending=1,
    fields={
        fake.MEMORY_TEMPERATURE: (fake.UNSIGNED_INT, 71),
        fake.RECOVERY_ACTION: (fake.UNSIGNED_INT, 3),
        fake.THROTTLED["sw_power_cap"]: (fake.UNSIGNED_LONG_LONG, 1_500_000_000),
    },
)
READINGS = GpuReadings(
    utilization_ratio=0.87,
    memory_controller_ratio=0.4,
    encoder_ratio=0.03,
    decoder_ratio=0.05,
    memory_total_bytes=81920 * MIB,
    memory_used_bytes=20_000 * MIB,
    memory_free_bytes=(81920 - 20_000 - 400) * MIB,
    memory_reserved_bytes=400 * MIB,
    temperature_celsius={"gpu": 66, "memory": 71},
    slowdown_celsius=90,
    shutdown_celsius=95,
    power_watts=350.5,
    power_limit_watts=700,
    energy_joules=123_456.789,
    pcie_replays=7,
    clock_hertz={"sm": 1.755e9, "memory": 2.619e9},
    throttle_reasons=frozenset({"sw_power_cap", "sw_thermal"}),
    throttled_seconds={"sw_power_cap": 1.5},
    ecc_errors={
        ("corrected", "volatile"): 2,
        ("uncorrected", "volatile"): 0,
        ("corrected", "aggregate"): 0,
        ("uncorrected", "aggregate"): 1,
    },
    remapped_rows={"correctable": 4, "uncorrectable": 0},
    remap_pending=True,
    remap_failure=False,
    recovery_action="drain_p2p",
)
PARENT = """
import os, sys, time
from datetime import timedelta
from daemon.gpu_child import NvmlChild
child = NvmlChild(timedelta(seconds=0.2), os.environ)
assert not os.environ["LINES"] or child.line(timedelta(seconds=30))
print(child.pid, flush=True)
sys.stdin.read()
"""


def readings_of(gpu: Gpu) -> GpuReadings:
    assert gpu.readings is not None
    return gpu.readings


def test_a_gpu_tells_what_it_is_and_every_figure_in_base_units(tmp_path: Path) -> None:
    listing = one_listing(FakeNvml(tmp_path, BUSY))
    assert listing.driver_version == "580.65.06"
    assert listing.gpus == (
        Gpu(
            uuid=fake.uuid(0),
            index=0,
            minor=0,
            name="NVIDIA H100 80GB HBM3",
            pci_bus_id="00000000:01:00.0",
            readings=READINGS,
            processes=(),
        ),
    )


def test_a_missing_symbol_costs_that_metric_alone(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, BUSY, without=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetFieldValues"))
    [gpu] = one_listing(nvml).gpus
    without = replace(
        READINGS,
        power_watts=None,
        temperature_celsius={"gpu": 66},
        throttled_seconds={},
        recovery_action=None,
    )
    assert gpu.readings == without


def test_what_one_gpu_does_not_support_costs_that_metric_of_that_gpu(tmp_path: Path) -> None:
    lesser = replace(BUSY, energy=None, encoder=None, ecc_corrected_volatile=None, remapped_correctable=None)
    first, second = one_listing(FakeNvml(tmp_path, BUSY, lesser)).gpus
    assert first.readings == READINGS
    assert second.readings == replace(
        READINGS,
        energy_joules=None,
        encoder_ratio=None,
        ecc_errors={kind: count for kind, count in READINGS.ecc_errors.items() if kind != ("corrected", "volatile")},
        remapped_rows={},
        remap_pending=None,
        remap_failure=None,
    )


def test_what_we_have_no_permission_for_costs_that_metric(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, BUSY)
    nvml.failing["nvmlDeviceGetPowerUsage", None] = fake.NO_PERMISSION
    nvml.write()
    [gpu] = one_listing(nvml).gpus
    assert gpu.readings == replace(READINGS, power_watts=None)


def test_an_old_driver_is_asked_by_the_old_names(tmp_path: Path) -> None:
    newer = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetMemoryInfo_v2")
    [gpu] = one_listing(FakeNvml(tmp_path, BUSY, without=newer)).gpus
    # The old call counts the driver's own share as used: what we cannot tell apart we do not tell.
    assert gpu.readings == replace(READINGS, memory_used_bytes=None, memory_reserved_bytes=None)


def test_a_gpu_from_before_ampere_tells_of_pages_instead_of_rows(tmp_path: Path) -> None:
    older = replace(BUSY, remapped_correctable=None, retired_pending=1)
    [gpu] = one_listing(FakeNvml(tmp_path, older)).gpus
    told = replace(READINGS, remapped_rows={}, remap_pending=None, remap_failure=None, retired_pages_pending=True)
    assert gpu.readings == told


@pytest.mark.parametrize(("margin", "limit"), [(24, 90), (None, None)])
def test_a_gpu_that_tells_only_how_far_its_limit_is_has_one(
    tmp_path: Path, margin: int | None, limit: int | None
) -> None:
    [gpu] = one_listing(FakeNvml(tmp_path, replace(BUSY, slowdown=None, margin=margin))).gpus
    assert gpu.readings == replace(READINGS, slowdown_celsius=limit)


def test_a_field_of_a_type_that_nobody_knows_costs_that_figure(tmp_path: Path) -> None:
    newer = replace(BUSY, fields={**BUSY.fields, fake.MEMORY_TEMPERATURE: (99, 71)})
    [gpu] = one_listing(FakeNvml(tmp_path, newer)).gpus
    assert gpu.readings == replace(READINGS, temperature_celsius={"gpu": 66})


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (fake.GPU_IS_LOST, GpuFault.LOST),
        (fake.RESET_REQUIRED, GpuFault.RESET_REQUIRED),
        (fake.UNKNOWN, GpuFault.UNKNOWN),
    ],
)
def test_a_gpu_that_fails_costs_that_gpu_alone(tmp_path: Path, answer: int, fault: GpuFault) -> None:
    nvml = FakeNvml(tmp_path, BUSY, FakeGpu())
    with reader(nvml) as child:
        assert all(gpu.fault is None for gpu in next_listing(child).gpus)
        nvml.gpus[1].fault = answer
        nvml.write()
        first, second = next_listing(child, lambda listing: listing.gpus[1].fault).gpus
    assert first.readings == READINGS
    assert (second.index, second.fault, second.readings, second.processes) == (1, fault, None, None)


def test_one_call_that_says_the_gpu_is_lost_is_enough(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu(), FakeGpu())
    nvml.failing["nvmlDeviceGetPowerUsage", 0] = fake.GPU_IS_LOST
    nvml.write()
    first, second = one_listing(nvml).gpus
    assert (first.uuid, first.fault) == (fake.uuid(0), GpuFault.LOST)
    assert second.fault is None


def test_processes_are_told_once_each_with_what_they_hold_and_use(tmp_path: Path) -> None:
    processes = [
        FakeProcess(11, 18_000 * MIB, sm=42),
        FakeProcess(12, None),
        FakeProcess(13, 5 * MIB, "g", sm=7),
        FakeProcess(14, 6 * MIB, "m"),
        FakeProcess(11, 18_000 * MIB, "g"),
    ]
    [gpu] = one_listing(FakeNvml(tmp_path, FakeGpu(processes=processes))).gpus
    assert sorted(gpu.processes or (), key=lambda process: process.pid) == [
        GpuProcess(pid=11, kind=GpuProcessKind.COMPUTE, memory_bytes=18_000 * MIB, sm_ratio=0.42),
        GpuProcess(pid=12, kind=GpuProcessKind.COMPUTE, memory_bytes=None, sm_ratio=0),
        GpuProcess(pid=13, kind=GpuProcessKind.GRAPHICS, memory_bytes=5 * MIB, sm_ratio=0.07),
        GpuProcess(pid=14, kind=GpuProcessKind.MPS, memory_bytes=6 * MIB, sm_ratio=0),
    ]


def test_without_the_utilisation_of_processes_nobody_is_called_idle(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu(processes=[FakeProcess(11)]), without=("nvmlDeviceGetProcessUtilization",))
    [gpu] = one_listing(nvml).gpus
    assert [process.sm_ratio for process in gpu.processes or ()] == [None]


def test_processes_that_nobody_lists_are_not_none_at_all(tmp_path: Path) -> None:
    lists = [f"nvmlDeviceGet{kind}RunningProcesses_v3" for kind in ("Compute", "Graphics", "MPSCompute")]
    [gpu] = one_listing(FakeNvml(tmp_path, FakeGpu(processes=[FakeProcess(11)]), without=tuple(lists))).gpus
    assert gpu.processes is None


@pytest.mark.parametrize(("version", "listed"), [("535.54.03", False), ("535.129.03", True), ("525.60", True)])
def test_drivers_that_write_processes_wrongly_are_not_believed(tmp_path: Path, version: str, *, listed: bool) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu(processes=[FakeProcess(11)]))
    nvml.upgrade(version)
    [gpu] = one_listing(nvml).gpus
    assert (gpu.processes is not None) is listed


def test_thousands_of_processes_are_one_long_line(tmp_path: Path) -> None:
    gpus = [FakeGpu(processes=[FakeProcess(10_000 * gpu + pid, sm=1) for pid in range(1, 1001)]) for gpu in range(4)]
    with reader(FakeNvml(tmp_path, *gpus)) as child:
        for _ in range(3):
            assert [len(gpu.processes or ()) for gpu in next_listing(child).gpus] == [1000] * 4


def test_every_list_of_processes_is_of_this_gpu_and_this_moment(tmp_path: Path) -> None:
    first = FakeGpu(processes=[FakeProcess(pid, sm=pid) for pid in range(10, 60)])
    second = FakeGpu(processes=[FakeProcess(70, 3 * MIB, "g")])
    nvml = FakeNvml(tmp_path, first, second)
    with reader(nvml) as child:
        assert pids_of(next_listing(child)) == [list(range(10, 60)), [70]]
        first.processes = [FakeProcess(11, sm=5)]
        nvml.write()
        assert pids_of(next_listing(child, lambda listing: len(listing.gpus[0].processes or ()) == 1)) == [[11], [70]]
        first.processes, second.processes = [], [FakeProcess(11, sm=6)]
        nvml.write()
        moved = next_listing(child, lambda listing: not listing.gpus[0].processes)
    assert pids_of(moved) == [[], [11]]
    assert [process.sm_ratio for process in moved.gpus[1].processes or ()] == [0.06]


def pids_of(listing: Listing) -> list[list[int]]:
    return [[process.pid for process in gpu.processes or ()] for gpu in listing.gpus]


def test_a_split_gpu_tells_its_instances_with_their_memory(tmp_path: Path) -> None:
    split = FakeGpu(
        mig=1,
        migs=[
            FakeMig("MIG-aaaa", 7, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", total=4864 * MIB, used=1000 * MIB),
            FakeMig("MIG-bbbb", 2, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", 1, total=19968 * MIB),
        ],
        processes=[FakeProcess(11, 900 * MIB, instance=7), FakeProcess(12, instance=2, compute_instance=1)],
    )
    [gpu] = one_listing(FakeNvml(tmp_path, split)).gpus
    assert gpu.mig
    assert gpu.instances == (
        MigInstance(
            uuid="MIG-aaaa",
            gpu_instance_id=7,
            compute_instance_id=0,
            profile="1g.5gb",
            memory_total_bytes=4864 * MIB,
            memory_used_bytes=1000 * MIB,
            memory_free_bytes=3864 * MIB,
        ),
        MigInstance(
            uuid="MIG-bbbb",
            gpu_instance_id=2,
            compute_instance_id=1,
            profile="3g.20gb",
            memory_total_bytes=19968 * MIB,
            memory_used_bytes=0,
            memory_free_bytes=19968 * MIB,
        ),
    )
    assert gpu.processes == (
        GpuProcess(
            pid=11,
            kind=GpuProcessKind.COMPUTE,
            memory_bytes=900 * MIB,
            sm_ratio=None,
            gpu_instance_id=7,
            compute_instance_id=0,
        ),
        GpuProcess(
            pid=12,
            kind=GpuProcessKind.COMPUTE,
            memory_bytes=100 * MIB,
            sm_ratio=None,
            gpu_instance_id=2,
            compute_instance_id=1,
        ),
    )
    assert readings_of(gpu).utilization_ratio is None
    assert readings_of(gpu).remapped_rows == {}


def test_an_xid_error_is_told_at_once(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu(), FakeGpu())
    with reader(nvml, timedelta(minutes=5)) as child:
        assert next_listing(child).listening_since is not None
        nvml.xid(1, 79)
        assert next_listing(child).xids == ((fake.uuid(1), 79),)


def test_xid_errors_of_a_gpu_that_is_gone_bear_its_name(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu(), FakeGpu())
    with reader(nvml) as child:
        next_listing(child)
        nvml.gpus[1].fault = fake.GPU_IS_LOST
        nvml.xid(1, 79)
        assert next_listing(child, lambda listing: listing.xids).xids == ((fake.uuid(1), 79),)


@pytest.mark.parametrize("function", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"])
def test_without_events_the_figures_come_all_the_same(tmp_path: Path, function: str) -> None:
    nvml = FakeNvml(tmp_path, BUSY)
    nvml.failing[function, None] = fake.NOT_SUPPORTED
    nvml.write()
    with reader(nvml) as child:
        next_listing(child)
        assert next_listing(child).gpus[0].readings == READINGS


@pytest.mark.parametrize("answer", [fake.NOT_SUPPORTED, fake.GPU_IS_LOST])
def test_who_cannot_hear_does_not_say_that_no_error_escapes(tmp_path: Path, answer: int) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu())
    with reader(nvml) as child:
        before = next_listing(child).listening_since
        assert before is not None
        nvml.failing["nvmlEventSetWait_v2", None] = answer
        nvml.write()
        next_listing(child, lambda listing: listing.listening_since is None)
        nvml.failing.clear()
        nvml.write()
        again = next_listing(child, lambda listing: listing.listening_since is not None)
    assert again.listening_since is not None
    assert again.listening_since > before


def test_a_machine_without_the_library_is_told_as_such(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path)
    nvml.remove()
    with reader(nvml) as child:
        assert next_line(child) == Refusal(12, "NVML Shared Library Not Found")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (fake.DRIVER_NOT_LOADED, "Driver Not Loaded"),
        (18, "RM has detected an NVML/RM version mismatch."),
        (fake.UNKNOWN, "Unknown Error"),
    ],
)
def test_a_library_that_cannot_be_initialised_is_told_with_its_words(tmp_path: Path, answer: int, words: str) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu())
    nvml.failing["nvmlInitWithFlags", None] = answer
    nvml.write()
    with reader(nvml) as child:
        assert next_line(child) == Refusal(answer, words)


@pytest.mark.parametrize("answer", [1, fake.DRIVER_NOT_LOADED, 18])
def test_a_library_that_is_lost_is_told_and_the_reader_ends(tmp_path: Path, answer: int) -> None:
    nvml = FakeNvml(tmp_path, FakeGpu(), FakeGpu())
    with reader(nvml) as child:
        next_listing(child)
        nvml.failing["nvmlDeviceGetUtilizationRates", 1] = answer
        nvml.write()
        while not isinstance(said := next_line(child), Refusal):
            pass
        assert said.code == answer
        with pytest.raises(ChildEndedError, match="ended with code 0"):
            next_line(child)


def test_it_holds_little_memory_and_nothing_of_the_daemon(tmp_path: Path) -> None:
    processes = [FakeProcess(pid, sm=1) for pid in range(1, 51)]
    nvml = FakeNvml(tmp_path, *(FakeGpu(processes=processes) for _ in range(8)))
    with reader(nvml) as child:
        for _ in range(5):
            next_listing(child)
        rollup = Path(f"/proc/{child.pid}/status").read_text()
    held = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("VmRSS:"))
    assert held < 25 * 1024
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", "import sys, collectors.nvml; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert not [name for name in loaded if name.partition(".")[0] in {"daemon", "policies", "docker", "pydantic"}]


@pytest.fixture
def killed_parent(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Give the PID of a reader whose parent was killed, while the reader had an answer or was stuck in a call."""
    nvml = FakeNvml(tmp_path, FakeGpu())
    if request.param == "stuck":
        nvml.delays["nvmlInitWithFlags", None] = 600_000
        nvml.write()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **nvml.environment, "LINES": "" if request.param == "stuck" else "1"},
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if request.param == "stuck":
            wait_until(lambda: "libnvidia-ml" in Path(f"/proc/{pid}/maps").read_text(), "the library to be loaded")
        parent.kill()
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, SIGKILL)


@pytest.mark.parametrize("killed_parent", ["answering", "stuck"], indirect=True)
def test_it_never_outlives_its_parent(killed_parent: int) -> None:
    wait_until(lambda: not running(killed_parent), "the end of the reader", 20)


def running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
