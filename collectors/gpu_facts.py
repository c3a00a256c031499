"""The frozen records about GPUs: what the hardware shows, who asked for it, who holds it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime  # noqa: TC003  pydantic reads the annotation of a hold at run time
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

_NOTHING: Mapping[str, float] = MappingProxyType({})


class GpuFault(StrEnum):
    """Why a GPU that is there, or was, cannot be read."""

    LOST = "lost"
    """It fell off the bus, or the driver gave it up (`NVML_ERROR_GPU_IS_LOST`), or it is no longer listed."""
    RESET_REQUIRED = "reset_required"
    UNKNOWN = "unknown"
    """The driver answers with `NVML_ERROR_UNKNOWN`."""


class GpuProcessKind(StrEnum):
    """By which of NVML's lists a process was found."""

    COMPUTE = "compute"
    GRAPHICS = "graphics"
    MPS = "mps"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProcess:
    """One process that holds a context on a GPU; `pid` counts in the PID namespace of the driver's caller."""

    pid: int
    kind: GpuProcessKind
    memory_bytes: int | None
    """`None` where the driver does not tell (some MIG modes, no permission)."""
    sm_ratio: float | None = None
    """Share of the multiprocessors' time since the last sample, 0 to 1; `None` where unsupported (MIG)."""
    gpu_instance_id: int | None = None
    """The MIG GPU instance it runs in."""
    compute_instance_id: int | None = None
    """The compute instance within that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MigInstance:
    """One MIG device; its memory belongs to the GPU instance."""

    uuid: str
    gpu_instance_id: int
    compute_instance_id: int
    profile: str
    """Such as "1g.10gb"; empty where the driver does not tell."""
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Xid:
    """How often the driver reported one XID error for a GPU in this boot, as far as that is known, and when last."""

    xid: int
    count: int
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuReadings:
    """What NVML told of one GPU, in base units; `None`, or no key, is what this GPU or driver does not tell."""

    utilization_ratio: float | None = None
    memory_controller_ratio: float | None = None
    encoder_ratio: float | None = None
    decoder_ratio: float | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    """Without what the driver reserves for itself."""
    memory_free_bytes: int | None = None
    memory_reserved_bytes: int | None = None
    temperature_celsius: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    """By sensor: gpu, memory."""
    slowdown_celsius: float | None = None
    """The device's own limit, at which the hardware slows down."""
    shutdown_celsius: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    energy_joules: float | None = None
    """Since the driver was loaded."""
    pcie_replays: int | None = None
    """What was sent once more over PCIe, since the GPU was reset."""
    clock_hertz: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    """By clock: sm, memory."""
    throttle_reasons: frozenset[str] | None = None
    """Those active now, of `THROTTLE_REASONS`."""
    throttled_seconds: Mapping[str, float] = field(default_factory=lambda: _NOTHING)
    """By reason, since the driver was loaded."""
    ecc_errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By kind (corrected, uncorrected) and persistence (volatile, aggregate)."""
    remapped_rows: Mapping[str, int] = field(default_factory=dict)
    """By cause: correctable, uncorrectable."""
    remap_pending: bool | None = None
    remap_failure: bool | None = None
    retired_pages_pending: bool | None = None
    recovery_action: str | None = None
    """One of `RECOVERY_ACTIONS`."""


THROTTLE_REASONS = (
    "idle",
    "applications_clocks",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clock",
)
"""NVML's clocks event reasons, in the order of their bits."""
RECOVERY_ACTIONS = (
    "none",
    "reset",
    "reboot",
    "drain_p2p",
    "drain_and_reset",
    "imex",
    "bus_reset",
    "system_reboot",
)
"""What NVML asks for, in the order of its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU: remembered by its UUID also when it can no longer be read."""

    uuid: str
    index: int
    """NVML's order, by PCI bus: not CUDA's."""
    minor: int | None = None
    """The number in /dev/nvidiaN."""
    name: str = ""
    pci_bus_id: str = ""
    fault: GpuFault | None = None
    """`None` while it can be read."""
    readings: GpuReadings | None = None
    """`None` while it cannot be read."""
    mig: bool = False
    instances: tuple[MigInstance, ...] = ()
    processes: tuple[GpuProcess, ...] | None = None
    """`None` where the driver did not list them."""
    xids: tuple[Xid, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSample:
    """All GPUs of the host as NVML showed them at `at`."""

    at: datetime
    driver_version: str
    gpus: tuple[Gpu, ...]
    xids_until: float = 0.0
    """Up to then, by the monotonic clock, XID errors are counted."""


class GpuRequestSource(StrEnum):
    """By what a container was given GPUs."""

    DEVICE_REQUEST = "device_request"
    """`--gpus`."""
    CDI = "cdi"
    ENVIRONMENT = "environment"
    """`NVIDIA_VISIBLE_DEVICES` under the runtime nvidia."""
    DEVICE = "device"
    """A raw /dev/nvidiaN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRequest:
    """
    What a container asked for: all GPUs, the first `count`, or named ones.

    `ids` are as written: an index, a GPU's UUID, a MIG UUID, `gpu:mig`; of raw devices the minor number.
    """

    source: GpuRequestSource
    all: bool = False
    count: int = 0
    ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUse:
    """What one container holds of one GPU (of one MIG device, where it is split), or reserved and does not use."""

    container_id: str
    gpu_uuid: str
    mig_uuid: str = ""
    requested: bool
    """False for one that uses what it did not ask for (privileged)."""
    processes: int | None
    """`None` where they cannot be known: the GPU cannot be read, or PIDs cannot be matched with containers."""
    memory_bytes: int | None
    """`None` where the driver does not tell it of a process, or nobody can know."""
    sm_ratio: float | None
    idle_for: timedelta | None
    """How long it has used no multiprocessor time; `None` where that cannot be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHeld:
    """Memory of one GPU that is held by no container: by host processes, or by nobody who can be seen."""

    gpu_uuid: str
    host_memory_bytes: int | None
    """By processes of the host; `None` where the driver does not tell it of one."""
    host_processes: int
    unattributed_memory_bytes: int | None
    """In use, and explained by no process that lives; `None` where that cannot be known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHold:
    """What processes of one container held of one GPU when that was last seen, at `at`."""

    container_id: str
    gpu_uuid: str
    gpu_index: int
    memory_bytes: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """The GPUs of the host, and who has what of them."""

    driver_version: str = ""
    devices: tuple[Gpu, ...] = ()
    use: tuple[GpuUse, ...] = ()
    held: tuple[GpuHeld, ...] = ()
    last_held: tuple[GpuHold, ...] = ()
    """What containers held of GPUs that cannot be read now, by the last sample that could."""
    attributable: bool = True
    """False where PIDs cannot be matched with containers, because we run in a PID namespace of our own."""
    seen: int = 0
    """The most GPUs that were seen since the machine started: fewer now is a fault."""
