"""Looks for NVIDIA's hardware and software on this host."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, Final

from collectors.nvml_lines import Refusal, read_line
from daemon.doctor.facts import GpuHost, Unseen
from daemon.gpu_child import ChildEndedError, NvmlChild

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collectors.gpu_facts import Gpu
    from daemon.doctor.facts import Seen
    from daemon.doctor.world import World

_VENDOR: Final = "0x10de"
_DISPLAY: Final = "0x03"
"""The PCI class of what draws or computes."""
_VERSION: Final = re.compile(r"\s(\d{3,4}\.\d+(?:\.\d+)?)\s")
_TOOLS: Final = ("nvidia-container-runtime-hook", "nvidia-ctk", "nvidia-container-runtime")
_CDI_FOLDERS: Final = ("etc/cdi", "var/run/cdi")
_CDI_KIND: Final = "nvidia.com/gpu"
_CDI_BYTES: Final = 1 << 16
_BURYING_SECONDS: Final = 1.0
_STEP_SECONDS: Final = 0.02
_SAMPLE: Final = timedelta(seconds=5)
_NOTHING_THERE: Final = frozenset({9, 12})
"""NVML_ERROR_DRIVER_NOT_LOADED, which the bus and the kernel tell better, and NVML_ERROR_LIBRARY_NOT_FOUND."""


def gpus(world: World) -> GpuHost:
    """Look at the bus, the kernel module, the library and the container toolkit."""
    return GpuHost(
        on_pci_bus=sum(_ours_to_use(device) for device in _listed(world.root / "sys/bus/pci/devices")),
        driver=_driver(world.root),
        devices=_devices(world),
        toolkit=next((path for name in _TOOLS if (path := shutil.which(name, path=_path(world)))), ""),
        cdi_files=tuple(_cdi_files(world.root)),
    )


def _listed(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _ours_to_use(device: Path) -> bool:
    """Tell whether a device on the bus is a GPU of NVIDIA's that was not handed to a virtual machine."""
    with suppress(OSError):
        if (device / "vendor").read_text().strip() == _VENDOR and (device / "class").read_text().startswith(_DISPLAY):
            driver = device / "driver"
            return not (driver.exists() and driver.resolve().name == "vfio-pci")
    return False


def _driver(root: Path) -> str:
    with suppress(OSError):
        found = _VERSION.search((root / "proc/driver/nvidia/version").read_text(errors="replace"))
        return found[1] if found else "unknown"
    return ""


def _devices(world: World) -> Seen[tuple[Gpu, ...]]:
    """Take one sample by NVML, in a process of its own; without library or driver it shows none."""
    child = NvmlChild(timedelta(minutes=1), world.environ)
    try:
        line = child.line(_SAMPLE)
        if line is None:
            return Unseen(f"NVML does not answer within {_SAMPLE.total_seconds():.0f} s")
        said = read_line(line)
    except (ChildEndedError, ValueError) as error:
        return Unseen(str(error))
    finally:
        child.end()
        _bury(child)
    if isinstance(said, Refusal):
        return () if said.code in _NOTHING_THERE else Unseen(f"NVML: {said.why}")
    return said.gpus


def _bury(child: NvmlChild) -> None:
    """Wait for its end, though not for one that the driver holds in the kernel."""
    never, ends_at = Event(), time.monotonic() + _BURYING_SECONDS
    while not child.gone() and time.monotonic() < ends_at:
        never.wait(_STEP_SECONDS)


def _path(world: World) -> str:
    return os.pathsep.join((world.environ.get("PATH", os.defpath), "/usr/local/bin", "/usr/bin", "/usr/sbin"))


def _cdi_files(root: Path) -> Iterator[str]:
    for folder in _CDI_FOLDERS:
        for file in _listed(root / folder):
            with suppress(OSError), file.open(encoding="utf-8", errors="replace") as stream:
                if _CDI_KIND in stream.read(_CDI_BYTES):
                    yield f"/{folder}/{file.name}"
