from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.lab.nvml import MIB, FakeGpu, FakeNvml, FakeProcess

if TYPE_CHECKING:
    from pathlib import Path

SMI = """\
#!/bin/sh
case $1 in
--query-gpu=*) echo "0, 87, 40, 81920, 400, 20000, 61520, 40, 45, 70.00, 700.00, 1980, 2619, 0, 0" ;;
*) echo "GPU-00000000-0000-0000-0000-000000000000, 4242, 18000" ;;
esac
"""


def check(nvml: FakeNvml) -> subprocess.CompletedProcess[str]:
    """Run the check with this driver and an nvidia-smi that tells the same of it."""
    smi = nvml.folder / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "tests.lab.gpu_check"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **nvml.environment, "PATH": f"{nvml.folder}:{os.environ['PATH']}"},
    )


def test_the_figures_stand_beside_those_of_nvidia_smi(tmp_path: Path) -> None:
    gpu = FakeGpu(utilization=87, memory_used=20_000 * MIB, processes=[FakeProcess(4242, 18_000 * MIB, sm=12)])
    done = check(FakeNvml(tmp_path, gpu))
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "utilization.gpu 87 87" in lines
    assert "memory.used 20000 20000" in lines
    assert "power.draw 70 70.00" in lines
    assert "pid 4242 compute 18000 MiB 12 % of the multiprocessors" in lines


def test_without_gpus_it_says_so(tmp_path: Path) -> None:
    nvml = FakeNvml(tmp_path)
    nvml.remove()
    done = check(nvml)
    assert done.returncode == 1
    assert done.stderr == (
        "gpu-check: NVML says: NVML Shared Library Not Found\n"
        "  cure: run it where NVIDIA's driver is loaded and `nvidia-smi -L` lists GPUs\n"
    )
