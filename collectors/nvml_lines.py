"""Reads the lines that the NVML reader writes, strictly: it is of the same build, so whatever is odd is an error."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import starmap
from typing import TYPE_CHECKING, Any, TypeAlias

from collectors.gpu_facts import (
    RECOVERY_ACTIONS,
    THROTTLE_REASONS,
    Gpu,
    GpuFault,
    GpuProcess,
    GpuProcessKind,
    GpuReadings,
    MigInstance,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_LINE = 4 * 2**20
"""Bytes: some 80,000 processes."""
_PERCENT = 100
_KINDS: Mapping[str, GpuProcessKind] = {kind.value: kind for kind in GpuProcessKind}


class LineError(ValueError):
    """A line that no reader of this build writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One sample of the reader; a GPU that could not be read may have an empty UUID."""

    driver_version: str
    listening_since: float | None
    """Since when, in the machine's monotonic time, no XID error escapes the reader; `None` if it hears none."""
    gpus: tuple[Gpu, ...]
    xids: tuple[tuple[str, int], ...]
    """UUID and number of each error since the last sample."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the library answers nothing: an `nvmlReturn_t`, and NVML's words for it."""

    code: int
    why: str


Line: TypeAlias = Listing | Refusal


def read_line(line: bytes) -> Line:
    """Give what one line says. Raises `LineError`."""
    try:
        value = json.loads(line)
        if "error" in value:
            return Refusal(_int(value["error"]), _text(value["why"]))
        return _listing(value)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise LineError(
            f"the NVML reader wrote a line that makes no sense ({type(error).__name__}: {error})"
        ) from error


def _listing(value: Mapping[str, Any]) -> Listing:
    since = value["listening_since"]
    return Listing(
        driver_version=_text(value["driver_version"]),
        listening_since=None if since is None else _number(since),
        gpus=tuple(map(_gpu, value["gpus"])),
        xids=tuple((_text(uuid), _int(xid)) for uuid, xid in value["xids"]),
    )


def _gpu(value: Mapping[str, Any]) -> Gpu:
    fault = GpuFault(value["fault"]) if "fault" in value else None
    processes = value.get("processes")
    return Gpu(
        uuid=_text(value.get("uuid", "")),
        index=_int(value["index"]),
        minor=_int(value["minor"]) if "minor" in value else None,
        name=_text(value.get("name", "")),
        pci_bus_id=_text(value.get("pci_bus_id", "")),
        fault=fault,
        readings=_readings(value["readings"]) if fault is None else None,
        mig=_flag(value.get("mig", False)),
        instances=tuple(map(_instance, value.get("instances", ()))),
        processes=tuple(starmap(_process, processes)) if processes is not None and fault is None else None,
    )


def _instance(value: Mapping[str, Any]) -> MigInstance:
    sizes = {name: _int(value[name]) for name in _SIZES if name in value}
    return MigInstance(
        uuid=_text(value["uuid"]),
        gpu_instance_id=_int(value["gpu_instance_id"]),
        compute_instance_id=_int(value["compute_instance_id"]),
        profile=_text(value["profile"]),
        **sizes,
    )


@lru_cache(maxsize=4096, typed=True)  # most are in the next sample as they were; typed, for 1 is no True here
def _process(  # noqa: PLR0913, PLR0917  as they stand in the line
    pid: object, kind: str, memory: object, percent: object, instance: object, compute: object
) -> GpuProcess:
    return GpuProcess(
        pid=_int(pid),
        kind=_KINDS[kind],
        memory_bytes=None if memory is None else _int(memory),
        sm_ratio=None if percent is None else _int(percent) / _PERCENT,
        gpu_instance_id=None if instance is None else _int(instance),
        compute_instance_id=None if compute is None else _int(compute),
    )


def _readings(value: Mapping[str, Any]) -> GpuReadings:
    found = dict(value)
    mask = found.pop("throttle_mask", None)
    action = found.pop("recovery_action", None)
    read: dict[str, Any] = {name: _READ[name](given) for name, given in found.items()}
    if mask is not None:
        read["throttle_reasons"] = _reasons(_int(mask))
    if action is not None and 0 <= _int(action) < len(RECOVERY_ACTIONS):  # a newer driver may know more of them
        read["recovery_action"] = RECOVERY_ACTIONS[action]
    return GpuReadings(**read)


def _reasons(mask: int) -> frozenset[str]:
    return frozenset(name for bit, name in enumerate(THROTTLE_REASONS) if mask >> bit & 1)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    # JSON can write half a surrogate pair; no page and no message could hold it.
    return value if value.isascii() else value.encode(errors="replace").decode()


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is neither true nor false")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is no whole number")
    return value


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{value!r:.40} is no number")
    return float(value)


def _numbers(value: Mapping[str, object]) -> dict[str, float]:
    return {_text(key): _number(each) for key, each in value.items()}


def _counts(value: Mapping[str, object]) -> dict[str, int]:
    return {_text(key): _int(each) for key, each in value.items()}


def _ecc(value: Mapping[str, object]) -> dict[tuple[str, str], int]:
    found = {}
    for key, count in value.items():
        kind, persistence = key.split("_")
        found[kind, persistence] = _int(count)
    return found


_SIZES = ("memory_total_bytes", "memory_used_bytes", "memory_free_bytes")
_READ: Mapping[str, Callable[[Any], object]] = {
    **dict.fromkeys((*_SIZES, "memory_reserved_bytes"), _int),
    **dict.fromkeys(("utilization_ratio", "memory_controller_ratio", "encoder_ratio", "decoder_ratio"), _number),
    **dict.fromkeys(("power_watts", "power_limit_watts", "energy_joules"), _number),
    **dict.fromkeys(("slowdown_celsius", "shutdown_celsius"), _number),
    **dict.fromkeys(("temperature_celsius", "clock_hertz", "throttled_seconds"), _numbers),
    **dict.fromkeys(("remap_pending", "remap_failure", "retired_pages_pending"), _flag),
    "pcie_replays": _int,
    "remapped_rows": _counts,
    "ecc_errors": _ecc,
}
"""How each figure is read; a name that is not here is an error."""
