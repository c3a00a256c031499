"""Reads this machine's GPUs once and prints our figures beside those of nvidia-smi: `make gpu-check`."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.nvml_lines import LineError, Refusal, read_line
from daemon.gpu_child import ChildEndedError, NvmlChild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from collectors.gpu_facts import Gpu, GpuReadings
    from collectors.nvml_lines import Listing

_PATIENCE = timedelta(minutes=1)
_MIB, _MHZ, _PERCENT = 2**20, 1e6, 100
_NONE = "-"
_CURE = "  cure: run it where NVIDIA's driver is loaded and `nvidia-smi -L` lists GPUs"

_FIGURES: tuple[tuple[str, Callable[[GpuReadings], object]], ...] = (
    ("utilization.gpu", lambda r: _scaled(r.utilization_ratio, _PERCENT)),
    ("utilization.memory", lambda r: _scaled(r.memory_controller_ratio, _PERCENT)),
    ("memory.total", lambda r: _scaled(r.memory_total_bytes, 1 / _MIB)),
    ("memory.reserved", lambda r: _scaled(r.memory_reserved_bytes, 1 / _MIB)),
    ("memory.used", lambda r: _scaled(r.memory_used_bytes, 1 / _MIB)),
    ("memory.free", lambda r: _scaled(r.memory_free_bytes, 1 / _MIB)),
    ("temperature.gpu", lambda r: r.temperature_celsius.get("gpu")),
    ("temperature.memory", lambda r: r.temperature_celsius.get("memory")),
    ("power.draw", lambda r: r.power_watts),
    ("enforced.power.limit", lambda r: r.power_limit_watts),
    ("clocks.sm", lambda r: _scaled(r.clock_hertz.get("sm"), 1 / _MHZ)),
    ("clocks.mem", lambda r: _scaled(r.clock_hertz.get("memory"), 1 / _MHZ)),
    ("ecc.errors.corrected.volatile.total", lambda r: r.ecc_errors.get(("corrected", "volatile"))),
    ("ecc.errors.uncorrected.aggregate.total", lambda r: r.ecc_errors.get(("uncorrected", "aggregate"))),
)
"""By the name that `nvidia-smi --query-gpu` knows, and in its units: our figure."""
_OURS_ALONE: tuple[tuple[str, Callable[[GpuReadings], object]], ...] = (
    ("encoder, %", lambda r: _scaled(r.encoder_ratio, _PERCENT)),
    ("decoder, %", lambda r: _scaled(r.decoder_ratio, _PERCENT)),
    ("slowdown at", lambda r: r.slowdown_celsius),
    ("shutdown at", lambda r: r.shutdown_celsius),
    ("energy, J", lambda r: r.energy_joules),
    ("PCIe replays", lambda r: r.pcie_replays),
    ("throttled by", lambda r: None if r.throttle_reasons is None else " ".join(sorted(r.throttle_reasons)) or "none"),
    ("throttled, s", lambda r: dict(r.throttled_seconds) or None),
    ("remapped rows", lambda r: dict(r.remapped_rows) or None),
    ("remap pending", lambda r: r.remap_pending),
    ("retired pages pending", lambda r: r.retired_pages_pending),
    ("recovery action", lambda r: r.recovery_action),
)


def main() -> int:
    """Print the comparison; 0 if there are GPUs and all of them could be read, else 1 with the reason."""
    try:
        listing = _ours()
    except (ChildEndedError, LineError, OSError, TimeoutError, ValueError) as error:
        print(f"gpu-check: {error}\n{_CURE}", file=sys.stderr)
        return 1
    events = "heard" if listing.listening_since is not None else "not told by this driver, or to us"
    print(f"driver {listing.driver_version}, {len(listing.gpus)} GPUs; XID errors are {events}")
    theirs = _nvidia_smi("gpu", ["index", *(name for name, _ in _FIGURES)])
    by_index = {row[0]: row[1:] for row in theirs}
    for gpu in listing.gpus:
        print("\n".join(_gpu_lines(gpu, by_index.get(str(gpu.index), []))))
    print("\nprocesses as nvidia-smi lists them")
    for row in _nvidia_smi("compute-apps", ["gpu_uuid", "pid", "used_memory"]):
        print(f"  {' '.join(row)} MiB")
    return 0 if listing.gpus and all(gpu.fault is None for gpu in listing.gpus) else 1


def _ours() -> Listing:
    child = NvmlChild(timedelta(seconds=1), os.environ)
    try:
        _next(child)
        return _next(child)  # this one tells who was at work since the first
    finally:
        child.end()


def _next(child: NvmlChild) -> Listing:
    line = child.line(_PATIENCE)
    if line is None:
        raise TimeoutError(f"the driver did not answer in {_PATIENCE.total_seconds():g} s")
    said = read_line(line)
    if isinstance(said, Refusal):
        raise ValueError(f"NVML says: {said.why}")  # noqa: TRY004  it is not our mistake
    return said


def _nvidia_smi(what: str, fields: list[str]) -> list[list[str]]:
    query = ["nvidia-smi", f"--query-{what}={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, check=False, capture_output=True, text=True, timeout=_PATIENCE.total_seconds())
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"gpu-check: nvidia-smi cannot be asked: {error}", file=sys.stderr)
        return []
    if done.returncode:
        print(f"gpu-check: nvidia-smi says: {(done.stdout + done.stderr).strip()}", file=sys.stderr)
        return []
    return [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def _gpu_lines(gpu: Gpu, theirs: list[str]) -> Iterator[str]:
    yield f"\nGPU {gpu.index}  {gpu.uuid or 'without a name'}  {gpu.name}  {gpu.pci_bus_id}"
    if gpu.readings is None:
        yield f"  cannot be read: {gpu.fault}"
        return
    yield f"  {'':40} {'Shipkeeper':>14} {'nvidia-smi':>14}"
    for number, (name, figure) in enumerate(_FIGURES):
        told = theirs[number] if number < len(theirs) else _NONE
        yield f"  {name:40} {_word(figure(gpu.readings)):>14} {told:>14}"
    for name, figure in _OURS_ALONE:
        yield f"  {name:40} {_word(figure(gpu.readings))}"
    for instance in gpu.instances:
        used, total = _scaled(instance.memory_used_bytes, 1 / _MIB), _scaled(instance.memory_total_bytes, 1 / _MIB)
        yield f"  {instance.uuid}  {instance.profile}  {_word(used)} of {_word(total)} MiB"
    for process in gpu.processes or ():
        held, busy = _scaled(process.memory_bytes, 1 / _MIB), _scaled(process.sm_ratio, _PERCENT)
        yield f"  pid {process.pid}  {process.kind}  {_word(held)} MiB  {_word(busy)} % of the multiprocessors"
    if gpu.processes is None:
        yield "  processes are not told by this driver"


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 2)


def _word(value: object) -> str:
    return _NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
