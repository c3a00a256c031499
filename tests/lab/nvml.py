"""A stand-in for NVIDIA's driver: GPUs as plain values, shown by a fake libnvidia-ml.so.1 that is compiled here."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field, fields
from importlib.metadata import distribution
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.binaries import cache
from tests.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).with_name("fake_nvml.c")
_CACHE = cache() / "nvml"
MIB = 2**20

NOT_SUPPORTED = 3
NO_PERMISSION = 4
DRIVER_NOT_LOADED = 9
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
UNKNOWN = 999

DOUBLE, UNSIGNED_INT, UNSIGNED_LONG, UNSIGNED_LONG_LONG, SIGNED_LONG_LONG, SIGNED_INT = range(6)
"""NVML's types of field values."""
MEMORY_TEMPERATURE, RECOVERY_ACTION = 82, 230
THROTTLED = {"sw_power_cap": 74, "sync_boost": 76, "sw_thermal": 269, "hw_thermal": 270, "hw_power_brake": 271}
"""The ids of the fields that count throttled nanoseconds."""


@dataclass(slots=True)
class FakeProcess:
    """A process on a GPU: `kind` is c, g or m (MPS); `memory` in bytes, None if NVML does not tell; no `sm`: idle."""

    pid: int
    memory: int | None = 100 * MIB
    kind: str = "c"
    sm: int | None = None
    """Percent."""
    instance: int | None = None
    """The MIG GPU instance."""
    compute_instance: int = 0
    """The compute instance within it."""


@dataclass(slots=True)
class FakeMig:
    """A MIG device; its memory in bytes."""

    uuid: str
    instance: int
    name: str = "NVIDIA Fake MIG 1g.10gb"
    compute_instance: int = 0
    total: int = 9728 * MIB
    used: int = 0


@dataclass(slots=True, kw_only=True)
class FakeGpu:
    """A GPU in NVML's own units; None is what it does not support. The defaults are those of a healthy, idle one."""

    uuid: str = ""
    """Empty for one made of the slot."""
    name: str = "NVIDIA Fake"
    bus_id: str = ""
    minor: int | None = None
    """None for the number of the slot."""
    fault: int | None = None
    """What every call about it answers: `GPU_IS_LOST`, `RESET_REQUIRED`, `UNKNOWN`."""
    utilization: int | None = 0
    memory_utilization: int | None = 0
    encoder: int | None = 0
    decoder: int | None = 0
    memory_total: int | None = 81920 * MIB
    memory_used: int | None = 0
    memory_reserved: int | None = 400 * MIB
    temperature: int | None = 40
    slowdown: int | None = 90
    shutdown: int | None = 95
    margin: int | None = None
    """Degrees to the nearest slowdown."""
    power: int | None = 70_000
    """Milliwatts."""
    power_limit: int | None = 700_000
    energy: int | None = 1_000_000
    """Millijoules."""
    pcie_replays: int | None = 0
    clock_sm: int | None = 1980
    clock_memory: int | None = 2619
    clock_reasons: int | None = 1
    ecc_corrected_volatile: int | None = 0
    ecc_uncorrected_volatile: int | None = 0
    ecc_corrected_aggregate: int | None = 0
    ecc_uncorrected_aggregate: int | None = 0
    remapped_correctable: int | None = 0
    remapped_uncorrectable: int | None = 0
    remap_pending: int | None = 0
    remap_failure: int | None = 0
    retired_pending: int | None = None
    mig: int | None = 0
    processes: list[FakeProcess] = field(default_factory=list)
    migs: list[FakeMig] = field(default_factory=list)
    fields: dict[int, tuple[int, int]] = field(
        default_factory=lambda: {
            MEMORY_TEMPERATURE: (UNSIGNED_INT, 45),
            RECOVERY_ACTION: (UNSIGNED_INT, 0),
            **dict.fromkeys(THROTTLED.values(), (UNSIGNED_LONG_LONG, 0)),
        }
    )
    """By field id: type and value."""


_TEXTS = ("uuid", "name", "bus_id")
_LISTS = ("processes", "migs", "fields")
_VALUES = tuple(each.name for each in fields(FakeGpu) if each.name not in (*_TEXTS, *_LISTS))


class FakeNvml:
    """
    A driver with GPUs, for programs that are started with `environment`.

    Whatever is changed in it shows once `write` is called, also to a program that runs.
    """

    def __init__(self, folder: Path, *gpus: FakeGpu, without: tuple[str, ...] = ()) -> None:
        """Build the library in a folder of its own; `without` some functions, as an old driver lacks them."""
        self.folder = folder
        self.gpus: dict[int, FakeGpu] = dict(enumerate(gpus))
        """By slot; one that is taken out has vanished."""
        self.library = self.kernel = "580.65.06"
        """The version of the library on the disk and that of the driver in the kernel."""
        self.failing: dict[tuple[str, int | None], int] = {}
        """What a function answers, by its name (`*` is all) and slot (None is all)."""
        self.delays: dict[tuple[str, int | None], int] = {}
        """Milliseconds, likewise."""
        self.crashing: set[str] = set()
        """The functions that end the process with SIGSEGV."""
        self._xids: list[tuple[int, int, int, int]] = []  # number, slot, XID, instance
        self._written = count(1)
        folder.mkdir(parents=True, exist_ok=True)
        build(folder / "libnvidia-ml.so.1", without)
        self.write()

    @property
    def environment(self) -> dict[str, str]:
        """Give the variable by which a program finds this library, to be set before it starts."""
        return {"LD_LIBRARY_PATH": str(self.folder)}

    def xid(self, slot: int, xid: int, instance: int | None = None) -> None:
        """Report an XID error to everyone who listens."""
        self._xids.append((len(self._xids) + 1, slot, xid, _number(instance)))
        self.write()

    def upgrade(self, version: str) -> None:
        """Exchange driver and library, as an upgrade does: whoever has the old library loaded keeps it."""
        self.library = self.kernel = version
        self.write()

    def remove(self) -> None:
        """Take the library off the machine."""
        (self.folder / "libnvidia-ml.so.1").unlink()

    def write(self) -> None:
        """Show everything as it is now."""
        new = self.folder / "state.new"
        new.write_text("".join(f"{line}\n" for line in self._lines()))
        # the library looks at this time: two writes within one tick of the kernel have to differ
        os.utime(new, ns=(0, next(self._written)))
        new.rename(self.folder / "state")

    def _lines(self) -> Iterator[str]:
        yield f"library {self.library}"
        yield f"kernel {self.kernel}"
        for slot, gpu in sorted(self.gpus.items()):
            yield from _gpu_lines(slot, gpu)
        for (function, where), result in self.failing.items():
            yield f"fail {function} {result} {_number(where)}"
        for (function, where), milliseconds in self.delays.items():
            yield f"delay {function} {milliseconds} {_number(where)}"
        for function in self.crashing:
            yield f"crash {function}"
        for number, slot, xid, instance in self._xids:
            yield f"xid {number} {slot} {xid} {instance}"


def uuid(slot: int) -> str:
    """Give the UUID of a fake GPU that has none of its own."""
    return f"GPU-00000000-0000-0000-0000-{slot:012}"


def build(library: Path, without: tuple[str, ...] = ()) -> None:
    """Put the fake library there, compiled first if need be. Raises `LabError` with the compiler's words."""
    header = _header()
    made_of = SOURCE.read_bytes(), str(header.stat().st_size).encode(), " ".join(sorted(without)).encode()
    compiled = _CACHE / hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]
    if not compiled.exists():
        compiled.parent.mkdir(parents=True, exist_ok=True)
        _compile(header, compiled, without)
    shutil.copy(compiled, library)


def _compile(header: Path, to: Path, without: tuple[str, ...]) -> None:
    if shutil.which("gcc") is None:
        raise LabError("the fake GPUs are compiled here, and there is no gcc\n  cure: apt-get install gcc libc6-dev")
    with tempfile.TemporaryDirectory(dir=to.parent) as temporary:
        hidden, new = Path(temporary) / "hidden.map", Path(temporary) / "library.so"
        hidden.write_text("{ local: " + "".join(f"{name}; " for name in without) + "};")
        done = subprocess.run(
            ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-isystem", str(header.parent), "-o", str(new)]
            + ([f"-Wl,--version-script={hidden}"] if without else [])
            + ["-Wl,-soname,libnvidia-ml.so.1", str(SOURCE)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LabError(f"could not compile {SOURCE.name}\n{done.stderr.strip()}")
        new.rename(to)  # whoever finds it finds it whole


def _header() -> Path:
    """Give NVIDIA's nvml.h, which comes with a locked package: its licence keeps it out of the repository."""
    for file in distribution("nvidia-nvml-dev").files or ():
        if file.name == "nvml.h":
            return Path(str(file.locate()))
    raise LabError("the package nvidia-nvml-dev holds no nvml.h\n  cure: lock the version that it was tried with")


def _gpu_lines(slot: int, gpu: FakeGpu) -> Iterator[str]:
    yield f"gpu {slot} uuid {gpu.uuid or uuid(slot)}"
    yield f"gpu {slot} name {gpu.name}"
    yield f"gpu {slot} bus_id {gpu.bus_id or f'00000000:{slot + 1:02X}:00.0'}"
    for name in _VALUES:
        value = slot if name == "minor" and gpu.minor is None else getattr(gpu, name)
        if value is not None:
            yield f"gpu {slot} {name} {value}"
    for process in gpu.processes:
        told = _number(process.memory), _number(process.sm), _number(process.instance)
        yield "process {} {} {} {} {} {} {}".format(slot, process.pid, process.kind, *told, process.compute_instance)
    for mig in gpu.migs:
        yield f"mig {slot} {mig.instance} {mig.compute_instance} {mig.total} {mig.used} {mig.uuid} {mig.name}"
    for id_, (type_, value) in gpu.fields.items():
        yield f"field {slot} {id_} {type_} {value}"


def _number(value: int | None) -> int:
    return -1 if value is None else value
