"""Metric families of GPUs under our own names, in base units."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from collectors.families import Family, as_lines, label_block, with_label
from collectors.gpu_facts import THROTTLE_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from collectors.families import Kind
    from collectors.gpu_facts import Gpu, GpuReadings, Gpus, Xid

_P: Final = "shipkeeper_gpu_"

_Sample: TypeAlias = tuple[str, float]


class _Figure(NamedTuple):
    """One family that shows one field of the readings; `label` names the keys of a field that has several values."""

    name: str
    kind: Kind
    help: str
    field: str
    label: str = ""


_FIGURES: Final = (
    _Figure("utilization_ratio", "gauge", "Share of time in which a kernel ran.", "utilization_ratio"),
    _Figure(
        "memory_controller_ratio", "gauge", "Share of time in which memory was accessed.", "memory_controller_ratio"
    ),
    _Figure("encoder_ratio", "gauge", "Use of the video encoder.", "encoder_ratio"),
    _Figure("decoder_ratio", "gauge", "Use of the video decoder.", "decoder_ratio"),
    _Figure("memory_total_bytes", "gauge", "Memory of the GPU.", "memory_total_bytes"),
    _Figure("memory_used_bytes", "gauge", "Memory in use, without what the driver reserves.", "memory_used_bytes"),
    _Figure("memory_free_bytes", "gauge", "Memory not in use.", "memory_free_bytes"),
    _Figure("memory_reserved_bytes", "gauge", "Memory that the driver keeps for itself.", "memory_reserved_bytes"),
    _Figure("temperature_celsius", "gauge", "Temperature.", "temperature_celsius", "sensor"),
    _Figure(
        "slowdown_temperature_celsius", "gauge", "Temperature at which the hardware slows down.", "slowdown_celsius"
    ),
    _Figure(
        "shutdown_temperature_celsius", "gauge", "Temperature at which the hardware shuts down.", "shutdown_celsius"
    ),
    _Figure("power_watts", "gauge", "Power drawn.", "power_watts"),
    _Figure("power_limit_watts", "gauge", "Power limit in force.", "power_limit_watts"),
    _Figure("energy_joules_total", "counter", "Energy used since the driver was loaded.", "energy_joules"),
    _Figure(
        "pcie_replays_total",
        "counter",
        "Transfers over PCIe that had to be repeated: a bad slot or riser.",
        "pcie_replays",
    ),
    _Figure("clock_hertz", "gauge", "Clock frequency.", "clock_hertz", "clock"),
    _Figure(
        "throttled_seconds_total",
        "counter",
        "Time with slowed clocks since the driver was loaded.",
        "throttled_seconds",
        "reason",
    ),
    _Figure("remapped_rows", "gauge", "Rows of memory that were replaced by spare ones.", "remapped_rows", "cause"),
    _Figure("remap_pending", "gauge", "1 if rows will be replaced at the next reset.", "remap_pending"),
    _Figure("remap_failure", "gauge", "1 if rows could not be replaced.", "remap_failure"),
    _Figure(
        "retired_pages_pending", "gauge", "1 if pages will be retired at the next reboot.", "retired_pages_pending"
    ),
)
_WELL_KNOWN_XIDS: Final = (13, 31, 43, 45, 48, 62, 63, 64, 74, 79, 92, 94, 95, 119, 120)
"""Shown at 0 before the first one: `increase()` does not see a counter that is born at 1."""


def gpu_families(gpus: Gpus) -> Iterator[Family]:
    """Give the families of all GPUs; what a GPU or its driver does not tell is an absent series."""
    if not gpus.devices:
        return
    devices = [(gpu_block(gpu.index, gpu.uuid), gpu) for gpu in gpus.devices]
    read = [(block, gpu.readings) for block, gpu in devices if gpu.readings is not None]
    yield _family("up", "1 while the GPU can be read.", [(block, gpu.fault is None) for block, gpu in devices])
    yield _family("info", "What a GPU is; always 1.", [(_info(gpu, gpus.driver_version), 1) for gpu in gpus.devices])
    for figure in _FIGURES:
        yield Family(_P + figure.name, figure.kind, figure.help, list(_samples(figure, read)))
    yield from _further(read)
    yield from _xids(devices)
    yield from _instances(devices)
    yield from _shares(gpus)


@lru_cache(maxsize=256)  # the same few in every scrape
def gpu_block(index: int, uuid: str) -> str:
    """Render the labels that name a GPU: its index, as nvidia-smi counts, and its UUID."""
    return label_block(gpu=str(index), uuid=uuid)


@lru_cache(maxsize=4096)
def _more(block: str, label: str, value: str) -> str:
    return with_label(block, label, value)


@lru_cache(maxsize=256)
def _info_block(block: str, *rest: str) -> str:
    for label, value in zip(("name", "driver", "pci_bus_id", "minor"), rest, strict=True):
        block = with_label(block, label, value)
    return block


def _info(gpu: Gpu, driver: str) -> str:
    minor = "" if gpu.minor is None else str(gpu.minor)
    return _info_block(gpu_block(gpu.index, gpu.uuid), gpu.name, driver, gpu.pci_bus_id, minor)


def _samples(figure: _Figure, read: Iterable[tuple[str, GpuReadings]]) -> Iterator[_Sample]:
    for block, readings in read:
        value = getattr(readings, figure.field)
        if figure.label:
            for key, each in value.items():
                yield _more(block, figure.label, key), each
        elif value is not None:
            yield block, value


def _further(read: Sequence[tuple[str, GpuReadings]]) -> Iterator[Family]:
    """Give what is neither one value nor one for each key."""
    yield Family(
        _P + "clocks_event_active",
        "gauge",
        "1 while the clocks are held down for this reason.",
        lines=[
            line
            for block, readings in read
            if readings.throttle_reasons is not None
            for line in _throttled(block, readings.throttle_reasons)
        ],
    )
    yield Family(
        _P + "ecc_errors_total",
        "counter",
        "Memory errors: volatile ones since the driver was loaded, aggregate ones in the GPU's life.",
        [(_of_errors(block, *kind), count) for block, readings in read for kind, count in readings.ecc_errors.items()],
    )
    yield _family(
        "recovery_action",
        "What the driver asks for to recover the GPU; always 1.",
        [(_more(block, "action", action), 1) for block, readings in read if (action := readings.recovery_action)],
    )


@lru_cache(maxsize=256)  # they seldom change from scrape to scrape
def _throttled(block: str, reasons: frozenset[str]) -> tuple[str, ...]:
    return as_lines((_more(block, "reason", reason), reason in reasons) for reason in THROTTLE_REASONS)


@lru_cache(maxsize=1024)
def _of_errors(block: str, kind: str, persistence: str) -> str:
    return with_label(with_label(block, "kind", kind), "persistence", persistence)


def _xids(devices: Iterable[tuple[str, Gpu]]) -> Iterator[Family]:
    counts: list[str] = []
    moments: list[_Sample] = []
    for block, gpu in devices:
        counts += _xid_counts(block, gpu.xids)
        moments += [(_more(block, "xid", str(each.xid)), each.last_at.timestamp()) for each in gpu.xids]
    yield Family(_P + "xid_errors_total", "counter", "XID errors that the driver reported, by number.", lines=counts)
    yield _family("xid_last_timestamp_seconds", "When the driver last reported an XID error of this number.", moments)


@lru_cache(maxsize=256)  # most GPUs never have any
def _xid_counts(block: str, xids: tuple[Xid, ...]) -> tuple[str, ...]:
    counted = dict.fromkeys(_WELL_KNOWN_XIDS, 0) | {each.xid: each.count for each in xids}
    return as_lines((_more(block, "xid", str(xid)), count) for xid, count in counted.items())


def _instances(devices: Iterable[tuple[str, Gpu]]) -> Iterator[Family]:
    instances = [
        (
            _more(
                _more(_more(block, "mig_uuid", mig.uuid), "profile", mig.profile), "instance", str(mig.gpu_instance_id)
            ),
            mig,
        )
        for block, gpu in devices
        for mig in gpu.instances
    ]
    for kind, text in (("total", "Memory"), ("used", "Memory in use"), ("free", "Memory not in use")):
        field = f"memory_{kind}_bytes"
        found = [(block, value) for block, mig in instances if (value := getattr(mig, field)) is not None]
        yield _family(f"mig_{field}", f"{text} of the GPU instance that a MIG device belongs to.", found)


def _shares(gpus: Gpus) -> Iterator[Family]:
    """Give what no container holds."""
    yield _family("attribution_available", "1 if processes can be matched with containers.", [("", gpus.attributable)])
    index = {gpu.uuid: gpu.index for gpu in gpus.devices}
    held = [(gpu_block(index[each.gpu_uuid], each.gpu_uuid), each) for each in gpus.held]
    yield _family(
        "host_memory_bytes",
        "Memory held by processes that are in no container.",
        [(block, each.host_memory_bytes) for block, each in held if each.host_memory_bytes is not None],
    )
    yield _family(
        "host_processes",
        "Processes on the GPU that are in no container.",
        [(block, each.host_processes) for block, each in held],
    )
    yield _family(
        "unattributed_memory_bytes",
        "Memory in use that no living process explains.",
        [(block, each.unattributed_memory_bytes) for block, each in held if each.unattributed_memory_bytes is not None],
    )


def _family(name: str, text: str, samples: Sequence[_Sample]) -> Family:
    return Family(_P + name, "gauge", text, samples)
