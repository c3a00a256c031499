"""Measures the process that reads NVML, at eight GPUs with fifty processes each and a sample in every second."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from collectors.nvml_lines import read_line
from tests.bench.figures import Chapter, Figure, quantile
from tests.lab.gpu_reader import PATIENCE, reader
from tests.lab.nvml import FakeGpu, FakeNvml, FakeProcess

_GPUS = 8
_PROCESSES = 50
_INTERVAL = timedelta(seconds=1)
_SAMPLES = 20
_AIM_PERCENT = 1.0
_AIM_MIB = 25.0


def measure() -> Chapter:
    """Let it read a fake driver, which answers at once: the time that a real one takes in the kernel is not in it."""
    gpus = [
        FakeGpu(processes=[FakeProcess(1000 * gpu + number, sm=number) for number in range(1, _PROCESSES + 1)])
        for gpu in range(_GPUS)
    ]
    parsed: list[float] = []
    line = b""
    with TemporaryDirectory() as folder, reader(FakeNvml(Path(folder), *gpus), _INTERVAL) as child:
        child.line(PATIENCE)
        began, before = time.monotonic(), _cpu_seconds(child.pid)
        for _ in range(_SAMPLES):
            line = child.line(PATIENCE) or b""
            spent = time.thread_time()
            read_line(line)
            parsed.append((time.thread_time() - spent) * 1000)
        share = (_cpu_seconds(child.pid) - before) / (time.monotonic() - began)
        resident, proportional = _mib(child.pid, "Rss"), _mib(child.pid, "Pss")
    return Chapter(
        f"the NVML reader at {_GPUS} GPUs with {_PROCESSES} processes each",
        f"{_SAMPLES} samples, one in {_INTERVAL.total_seconds():g} s, of a fake driver",
        (
            Figure("CPU of the reader, of one core", share * 100, "%", _AIM_PERCENT),
            Figure("its RSS", resident, "MiB", _AIM_MIB),
            Figure("of it its own (PSS)", proportional, "MiB"),
            Figure("a line", len(line) / 1024, "KiB"),
            Figure("to read a line, CPU of the daemon", quantile(parsed, 0.5), "ms"),
        ),
    )


def _cpu_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _mib(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))
