"""The same about GPUs under the names, units and labels of NVIDIA's dcgm-exporter."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from collectors.families import Family, label_block, with_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from collectors.families import Kind
    from collectors.gpu_facts import Gpu, GpuReadings, Gpus, MigInstance

_P: Final = "DCGM_FI_DEV_"
_MIB: Final = 1 << 20
_COMPUTE_SLICES: Final = re.compile(r"^[0-9]+c\.")
"""With which the profile of a compute instance begins that has a part of its GPU instance only: `1c.3g.20gb`."""


class _Figure(NamedTuple):
    """One family; `value` gives it in DCGM's unit."""

    name: str
    kind: Kind
    help: str
    value: Callable[[GpuReadings], float | None]


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else round(value * factor, 3)


def _mebibytes(value: int | None) -> int | None:
    return None if value is None else value // _MIB


def _nanoseconds(readings: GpuReadings, *reasons: str) -> float | None:
    found = [readings.throttled_seconds[reason] for reason in reasons if reason in readings.throttled_seconds]
    return round(sum(found) * 1e9) if found else None


_FIGURES: Final = (
    _Figure("SM_CLOCK", "gauge", "SM clock frequency (in MHz).", lambda r: _scaled(r.clock_hertz.get("sm"), 1e-6)),
    _Figure(
        "MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", lambda r: _scaled(r.clock_hertz.get("memory"), 1e-6)
    ),
    _Figure("GPU_TEMP", "gauge", "GPU temperature (in C).", lambda r: r.temperature_celsius.get("gpu")),
    _Figure("MEMORY_TEMP", "gauge", "Memory temperature (in C).", lambda r: r.temperature_celsius.get("memory")),
    _Figure("POWER_USAGE", "gauge", "Power draw (in W).", lambda r: r.power_watts),
    _Figure(
        "TOTAL_ENERGY_CONSUMPTION",
        "counter",
        "Total energy consumption since boot (in mJ).",
        lambda r: _scaled(r.energy_joules, 1e3),
    ),
    _Figure("PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", lambda r: r.pcie_replays),
    _Figure("GPU_UTIL", "gauge", "GPU utilization (in %).", lambda r: _scaled(r.utilization_ratio, 100)),
    _Figure("MEM_COPY_UTIL", "gauge", "Memory utilization (in %).", lambda r: _scaled(r.memory_controller_ratio, 100)),
    _Figure("ENC_UTIL", "gauge", "Encoder utilization (in %).", lambda r: _scaled(r.encoder_ratio, 100)),
    _Figure("DEC_UTIL", "gauge", "Decoder utilization (in %).", lambda r: _scaled(r.decoder_ratio, 100)),
    _Figure(
        "POWER_VIOLATION",
        "counter",
        "Throttling duration due to power constraints (in ns).",
        lambda r: _nanoseconds(r, "sw_power_cap"),
    ),
    _Figure(
        "THERMAL_VIOLATION",
        "counter",
        "Throttling duration due to thermal constraints (in ns).",
        lambda r: _nanoseconds(r, "sw_thermal", "hw_thermal"),
    ),
    *(
        _Figure(
            f"ECC_{short}_{kept[:3].upper()}_TOTAL",
            "counter",
            f"Total number of {bits}-bit {kept} ECC errors.",
            lambda r, key=(kind, kept): r.ecc_errors.get(key),  # type: ignore[misc]  # a default that binds the loop's value
        )
        for short, kind, bits in (("SBE", "corrected", "single"), ("DBE", "uncorrected", "double"))
        for kept in ("volatile", "aggregate")
    ),
    _Figure(
        "CORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Number of remapped rows for correctable errors.",
        lambda r: r.remapped_rows.get("correctable"),
    ),
    _Figure(
        "UNCORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Number of remapped rows for uncorrectable errors.",
        lambda r: r.remapped_rows.get("uncorrectable"),
    ),
    _Figure("ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed.", lambda r: r.remap_failure),
    _Figure("RETIRED_PENDING", "gauge", "Whether pages are pending retirement.", lambda r: r.retired_pages_pending),
)
_MEMORY: Final = (
    ("FB_FREE", "Framebuffer memory free (in MiB).", "memory_free_bytes"),
    ("FB_USED", "Framebuffer memory used (in MiB).", "memory_used_bytes"),
    ("FB_RESERVED", "Framebuffer memory reserved (in MiB).", "memory_reserved_bytes"),
    ("FB_TOTAL", "Framebuffer memory in all (in MiB).", "memory_total_bytes"),
)


def dcgm_families(gpus: Gpus, hostname: str, xid_words: Mapping[int, str]) -> Iterator[Family]:
    """
    Give the families of the GPUs: of one that is split the memory of its parts, of one that is lost its XID.

    `xid_words` says what an XID error means, by its number.
    """
    devices = [
        (_block(gpu.index, gpu.uuid, gpu.pci_bus_id, gpu.name, hostname, gpus.driver_version), gpu)
        for gpu in gpus.devices
    ]
    if not devices:
        return
    read = [(block, gpu.readings) for block, gpu in devices if gpu.readings is not None]
    for figure in _FIGURES:
        samples = [(block, value) for block, readings in read if (value := figure.value(readings)) is not None]
        yield Family(_P + figure.name, figure.kind, figure.help, samples)
    yield from _memory(devices)
    yield Family(
        _P + "XID_ERRORS",
        "gauge",
        "Value of the last XID error encountered.",
        [_last_xid(block, gpu, xid_words) for block, gpu in devices],
    )


def _memory(devices: Sequence[tuple[str, Gpu]]) -> Iterator[Family]:
    parts: list[tuple[str, GpuReadings | MigInstance]] = []
    for block, gpu in devices:
        if gpu.readings is not None and not gpu.instances:  # as there: of a split one the parts instead
            parts.append((block, gpu.readings))
        # Several compute instances may share the memory of one GPU instance: it is shown once, under its own profile.
        instances = {mig.gpu_instance_id: mig for mig in gpu.instances}
        parts += [
            (_of_instance(block, _COMPUTE_SLICES.sub("", mig.profile), id_), mig) for id_, mig in instances.items()
        ]
    for name, text, field in _MEMORY:
        samples = [
            (block, value) for block, part in parts if (value := _mebibytes(getattr(part, field, None))) is not None
        ]
        yield Family(_P + name, "gauge", text, samples)


def _last_xid(block: str, gpu: Gpu, words: Mapping[int, str]) -> tuple[str, float]:
    last = max(gpu.xids, key=lambda each: each.last_at, default=None)
    if last is None:
        return _with_error(block, 0, "No Error"), 0
    return _with_error(block, last.xid, words.get(last.xid, "Unknown Error")), last.xid


@lru_cache(maxsize=256)  # the same few in every scrape
def _block(index: int, uuid: str, pci_bus_id: str, name: str, hostname: str, driver: str) -> str:  # noqa: PLR0913, PLR0917  a cache's key
    return label_block(
        gpu=str(index),
        UUID=uuid,
        pci_bus_id=pci_bus_id,
        device=f"nvidia{index}",
        modelName=name,
        hostname=hostname,
        DCGM_FI_DRIVER_VERSION=driver,
    )


@lru_cache(maxsize=256)
def _with_error(block: str, code: int, message: str) -> str:
    return with_label(with_label(block, "err_code", str(code)), "err_msg", message)


@lru_cache(maxsize=256)
def _of_instance(block: str, profile: str, instance: int) -> str:
    return with_label(with_label(block, "GPU_I_PROFILE", profile), "GPU_I_ID", str(instance))
