"""Reads one GPU through NVML: its figures in base units, its MIG devices, its processes."""

from __future__ import annotations

from ctypes import c_ulonglong
from typing import TYPE_CHECKING, Any

import pynvml

from collectors.nvml_calls import GPU_FAULTS, GpuFailedError, ask, judge
from collectors.nvml_records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NO_INSTANCE = 0xFFFFFFFF
"""NVML's word for "in no MIG instance"."""
_PERCENT = 100
_MHZ = 1_000_000

_FIGURES: tuple[tuple[str, Callable[..., Any], tuple[int, ...], float], ...] = (
    ("power_watts", pynvml.nvmlDeviceGetPowerUsage, (), 0.001),
    ("power_limit_watts", pynvml.nvmlDeviceGetEnforcedPowerLimit, (), 0.001),
    ("energy_joules", pynvml.nvmlDeviceGetTotalEnergyConsumption, (), 0.001),
    ("slowdown_celsius", pynvml.nvmlDeviceGetTemperatureThreshold, (pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,), 1),
    ("shutdown_celsius", pynvml.nvmlDeviceGetTemperatureThreshold, (pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,), 1),
    ("pcie_replays", pynvml.nvmlDeviceGetPcieReplayCounter, (), 1),
)
"""What one call tells as one number: our name, the call, and by what its unit becomes ours."""

_CLOCKS = (("sm", pynvml.NVML_CLOCK_SM), ("memory", pynvml.NVML_CLOCK_MEM))
_ECC = (
    ("corrected_volatile", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, pynvml.NVML_VOLATILE_ECC),
    ("uncorrected_volatile", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC),
    ("corrected_aggregate", pynvml.NVML_MEMORY_ERROR_TYPE_CORRECTED, pynvml.NVML_AGGREGATE_ECC),
    ("uncorrected_aggregate", pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_AGGREGATE_ECC),
)
_MEMORY_TEMPERATURE = pynvml.NVML_FI_DEV_MEMORY_TEMP
_RECOVERY_ACTION = pynvml.NVML_FI_DEV_GET_GPU_RECOVERY_ACTION
_THROTTLED = {
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP: "sw_power_cap",
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SYNC_BOOST: "sync_boost",
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN: "sw_thermal",
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN: "hw_thermal",
    pynvml.NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN: "hw_power_brake",
}
"""Counters of nanoseconds, by the id of the field."""
_FIELDS = (_MEMORY_TEMPERATURE, _RECOVERY_ACTION, *_THROTTLED)
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Of the union that holds a field's value, by NVML's number of its type."""
_PROCESSES = tuple(
    # A process of MPS or with graphics may stand among those that compute, too: the first list that has it counts.
    (kind, Records(f"nvmlDeviceGet{name}RunningProcesses_v3", pynvml.c_nvmlProcessInfo_v3_t))
    for kind, name in (("mps", "MPSCompute"), ("compute", "Compute"), ("graphics", "Graphics"))
)
_NO_SIZE = pynvml.NVML_VALUE_NOT_AVAILABLE_ulonglong.value
"""NVML's word for memory that it does not tell."""
_SM_SAMPLES = Records("nvmlDeviceGetProcessUtilization", pynvml.c_nvmlProcessUtilizationSample_t, length_first=False)
_field_id, _field_type, _field_result, _field_value = (
    # Past the bindings' own reading of a member, which looks whether it is text, at three times the cost.
    getattr(pynvml.c_nvmlFieldValue_t, name).__get__
    for name in ("fieldId", "valueType", "nvmlReturn", "value")
)
_WRONG_PROCESSES = ((535, 43), (535, 86))
"""From the first to the last of these drivers the records of processes have another shape than NVIDIA's header says."""


def reach(index: int) -> tuple[Any, str]:
    """Give the handle and the UUID of a GPU. Raises `GpuFailedError` also where it is not for us."""
    handle = ask(pynvml.nvmlDeviceGetHandleByIndex, index)
    uuid = None if handle is None else ask(pynvml.nvmlDeviceGetUUID, handle)
    if uuid is None:
        raise GpuFailedError("unknown")
    return handle, uuid


def identity(handle: Any) -> dict[str, object]:
    """Give what does not change as long as the driver is loaded."""
    pci = ask(pynvml.nvmlDeviceGetPciInfo, handle)
    found = {
        "name": ask(pynvml.nvmlDeviceGetName, handle),
        "minor": ask(pynvml.nvmlDeviceGetMinorNumber, handle),
        "pci_bus_id": pci and _text(pci.busId),
    }
    return {name: value for name, value in found.items() if value is not None}


def readings(handle: Any) -> dict[str, object]:
    """Give the figures of this moment under the names of `GpuReadings`; what is not known is left out."""
    found = {name: value for name, value in _readings(handle) if value is not None}
    celsius = found.pop("temperature_celsius", None)
    if celsius is not None and "slowdown_celsius" not in found:
        # Of Ada and later NVIDIA promises the distance to the limit only, no longer the limit itself.
        margin = ask(pynvml.nvmlDeviceGetMarginTemperature, handle)
        found |= {} if margin is None else {"slowdown_celsius": celsius + margin}
    return {**found, **_field_values(handle, celsius)}


def instances(handle: Any) -> list[dict[str, object]] | None:
    """Give the MIG devices of a GPU that is split; None for one that is not."""
    mode = ask(pynvml.nvmlDeviceGetMigMode, handle)
    if not mode or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return None
    slots = range(ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0)
    devices = (ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, slot) for slot in slots)
    return [instance for device in devices if device is not None and (instance := _instance(device))]


def processes(handle: Any, sm: dict[int, int] | None, driver: str) -> list[list[object]] | None:
    """
    Give the processes, None where nobody lists them.

    Each is pid, kind, bytes, percent of the multiprocessors, and under MIG its GPU and its compute instance.
    `sm` is what `sm_percent` gave: whoever is not in it was idle.
    """
    if _lists_wrongly(driver):
        return None
    found: dict[tuple[int, ...], list[object]] = {}
    listed = False
    for kind, records in _PROCESSES:
        answer = ask(records.ask, handle)
        listed = listed or answer is not None
        for pid, memory, *place in answer or ():
            key = pid, *place
            if key not in found:
                size = None if memory == _NO_SIZE else memory
                used = None if sm is None else sm.get(pid, 0)
                parts = [None if part == _NO_INSTANCE else part for part in place]
                found[key] = [pid, kind, size, used, *parts]
    return list(found.values()) if listed else None


def sm_percent(handle: Any, since_us: int) -> tuple[dict[int, int] | None, int]:
    """
    Give the use of the multiprocessors by pid since a time of the driver's, and the time to ask from next.

    A process that is idle is in nobody's answer, and without any that is busy the answer is an error: that is
    an empty one for us. None where it is not supported, as under MIG.
    """
    try:
        samples = _SM_SAMPLES.ask(handle, c_ulonglong(since_us))
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_NOT_FOUND:
            return {}, since_us
        judge(error)
        return None, since_us
    # Of a process that has ended while it was measured drivers tell thousands of percent.
    told = {pid: percent for pid, _, percent, *_ in samples if percent <= _PERCENT}
    return told, max((since_us, *(at for _, at, *_ in samples)))  # of none, too: some may end before they are told


def _readings(handle: Any) -> Iterator[tuple[str, Any]]:
    for name, function, arguments, factor in _FIGURES:
        value = ask(function, handle, *arguments)
        yield name, value if value is None else round(value * factor, 3)
    if rates := ask(pynvml.nvmlDeviceGetUtilizationRates, handle):
        yield "utilization_ratio", rates.gpu / _PERCENT
        yield "memory_controller_ratio", rates.memory / _PERCENT
    if encoder := ask(pynvml.nvmlDeviceGetEncoderUtilization, handle):
        yield "encoder_ratio", encoder[0] / _PERCENT
    if decoder := ask(pynvml.nvmlDeviceGetDecoderUtilization, handle):
        yield "decoder_ratio", decoder[0] / _PERCENT
    yield from _memory(handle)
    yield "temperature_celsius", _temperature(handle)
    clocks = {name: ask(pynvml.nvmlDeviceGetClockInfo, handle, clock) for name, clock in _CLOCKS}
    yield "clock_hertz", {name: value * _MHZ for name, value in clocks.items() if value is not None}
    yield "throttle_mask", _throttle_mask(handle)
    errors = {name: ask(pynvml.nvmlDeviceGetTotalEccErrors, handle, kind, span) for name, kind, span in _ECC}
    yield "ecc_errors", {name: value for name, value in errors.items() if value is not None}
    if rows := ask(pynvml.nvmlDeviceGetRemappedRows, handle):
        yield "remapped_rows", {"correctable": rows[0], "uncorrectable": rows[1]}
        yield "remap_pending", bool(rows[2])
        yield "remap_failure", bool(rows[3])
    retired = ask(pynvml.nvmlDeviceGetRetiredPagesPendingStatus, handle)
    yield "retired_pages_pending", None if retired is None else bool(retired)


def _memory(handle: Any) -> Iterator[tuple[str, int]]:
    if memory := ask(pynvml.nvmlDeviceGetMemoryInfo, handle, pynvml.nvmlMemory_v2):
        yield "memory_used_bytes", memory.used
        yield "memory_reserved_bytes", memory.reserved
    else:  # a driver before 510: its "used" holds what the driver keeps for itself, and is none of ours
        memory = ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    if memory:
        yield "memory_total_bytes", memory.total
        yield "memory_free_bytes", memory.free


def _temperature(handle: Any) -> int | None:
    value: int | None = ask(pynvml.nvmlDeviceGetTemperatureV, handle, pynvml.NVML_TEMPERATURE_GPU)
    if value is None:  # a driver before 570
        value = ask(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    return value


def _throttle_mask(handle: Any) -> int | None:
    mask: int | None = ask(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if mask is None:  # a driver before 535
        mask = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return mask


def _field_values(handle: Any, gpu_celsius: object) -> dict[str, object]:
    """Give what only fields tell, which one call asks for; each has an error of its own."""
    told: dict[int, int] = {}
    for value in ask(pynvml.nvmlDeviceGetFieldValues, handle, _FIELDS) or ():
        result, type_ = _field_result(value), _field_type(value)
        if fault := GPU_FAULTS.get(result):
            raise GpuFailedError(fault)
        if result == pynvml.NVML_SUCCESS and type_ < len(_MEMBERS):
            told[_field_id(value)] = int(getattr(_field_value(value), _MEMBERS[type_]))
    celsius = {"gpu": gpu_celsius, "memory": told.get(_MEMORY_TEMPERATURE)}
    found: dict[str, object] = {
        "temperature_celsius": {sensor: value for sensor, value in celsius.items() if value is not None},
        "throttled_seconds": {name: told[id_] / 1e9 for id_, name in _THROTTLED.items() if id_ in told},
    }
    if _RECOVERY_ACTION in told:
        found["recovery_action"] = told[_RECOVERY_ACTION]
    return found


def _instance(device: Any) -> dict[str, object] | None:
    name = ask(pynvml.nvmlDeviceGetName, device)
    found = {
        "uuid": ask(pynvml.nvmlDeviceGetUUID, device),
        "gpu_instance_id": ask(pynvml.nvmlDeviceGetGpuInstanceId, device),
        "compute_instance_id": ask(pynvml.nvmlDeviceGetComputeInstanceId, device),
    }
    if None in found.values():
        return None  # it went away while it was looked at
    memory = ask(pynvml.nvmlDeviceGetMemoryInfo, device, pynvml.nvmlMemory_v2)
    if memory:
        found |= {
            "memory_total_bytes": memory.total,
            "memory_used_bytes": memory.used,
            "memory_free_bytes": memory.free,
        }
    return {**found, "profile": name.rpartition("MIG ")[2] if name and "MIG " in name else ""}


def _lists_wrongly(driver: str) -> bool:
    parts = driver.split(".")
    if len(parts) < len(_WRONG_PROCESSES[0]) or not all(part.isdigit() for part in parts):
        return False
    first, last = _WRONG_PROCESSES
    return first <= (int(parts[0]), int(parts[1])) <= last


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
