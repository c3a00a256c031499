"""Small builders of facts about GPUs: a test names only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from collectors.gpu_facts import (
    RECOVERY_ACTIONS,
    Gpu,
    GpuFault,
    GpuHeld,
    GpuHold,
    GpuReadings,
    GpuRequest,
    GpuRequestSource,
    Gpus,
    GpuUse,
    MigInstance,
    Xid,
)
from tests.policies.build import GIB, HOUR, MINUTE, NOW, object_id

if TYPE_CHECKING:
    from collectors.facts import Container

ALL_GPUS = GpuRequest(source=GpuRequestSource.DEVICE_REQUEST, all=True)


def uuid(index: int) -> str:
    """Give the UUID of the GPU of this number."""
    return f"GPU-0000000{index}-aaaa-bbbb-cccc-000000000000"


def gpu(index: int = 2, **readings: Any) -> Gpu:
    """Give a GPU that is well, with readings."""
    return Gpu(
        uuid=uuid(index),
        index=index,
        minor=index,
        name="NVIDIA H100 80GB HBM3",
        pci_bus_id=f"00000000:6{index}:00.0",
        readings=GpuReadings(**readings),
        processes=(),
    )


def nameless(index: int = 2) -> Gpu:
    """Give a GPU that could not be read since anybody knows of it."""
    return Gpu(uuid="", index=index, fault=GpuFault.LOST)


def faulty(index: int = 2, fault: GpuFault = GpuFault.LOST, **changes: Any) -> Gpu:
    """Give a GPU that cannot be read."""
    return replace(gpu(index), fault=fault, readings=None, processes=None, **changes)


def xid(code: int, *, ago: timedelta = MINUTE, count: int = 1) -> Xid:
    """Give an XID error, counted so often, the last time so long ago."""
    return Xid(xid=code, count=count, last_at=NOW - ago)


def use(container: Container, index: int = 2, **changes: Any) -> GpuUse:
    """Give a container's use of a GPU: one process that holds 20 GiB, and computes."""
    plain = GpuUse(
        container_id=container.id,
        gpu_uuid=uuid(index),
        requested=True,
        processes=1,
        memory_bytes=20 * GIB,
        sm_ratio=0.7,
        idle_for=timedelta(0),
    )
    return replace(plain, **changes)


def idle(container: Container, index: int = 2, *, since: timedelta = 3 * HOUR, **changes: Any) -> GpuUse:
    """Give a use that computes nothing, for so long."""
    return use(container, index, **{"sm_ratio": 0.0, "idle_for": since, **changes})


def reserved(container: Container, index: int = 2, *, since: timedelta = 3 * HOUR) -> GpuUse:
    """Give a reservation without a process."""
    return idle(container, index, since=since, processes=0, memory_bytes=0)


def hold(container: Container, index: int = 2, *, size: int | None = 20 * GIB, ago: timedelta = MINUTE) -> GpuHold:
    """Give what a container was last seen to hold of a GPU."""
    return GpuHold(container_id=container.id, gpu_uuid=uuid(index), gpu_index=index, memory_bytes=size, at=NOW - ago)


def gpus(*devices: Gpu, **changes: Any) -> Gpus:
    """Give these GPUs, none of which is missing."""
    return replace(Gpus(devices=devices, seen=len(devices)), **changes)


_ids = st.sampled_from([object_id(name) for name in ("c0", "c1", "gone")])
_ratios = st.none() | st.floats(0, 1)
_sizes = st.none() | st.integers(0, 80 * GIB)
_uses = st.builds(
    GpuUse,
    container_id=_ids,
    gpu_uuid=st.sampled_from([uuid(0), uuid(1)]),
    mig_uuid=st.sampled_from(["", "MIG-1", "MIG-2"]),
    requested=st.booleans(),
    processes=st.integers(0, 3),
    memory_bytes=_sizes,
    sm_ratio=_ratios,
    idle_for=st.none() | st.timedeltas(timedelta(0), timedelta(days=3)),
)
_celsius = st.none() | st.floats(-10, 120)
_flags = st.none() | st.booleans()
_readings = st.builds(
    GpuReadings,
    temperature_celsius=st.just({}) | st.fixed_dictionaries({"gpu": st.floats(0, 120)}),
    slowdown_celsius=_celsius,
    shutdown_celsius=_celsius,
    throttle_reasons=st.none() | st.frozensets(st.sampled_from(["idle", "hw_thermal"])),
    ecc_errors=st.just({}) | st.fixed_dictionaries({("uncorrected", "volatile"): st.integers(0, 3)}),
    remap_pending=_flags,
    remap_failure=_flags,
    retired_pages_pending=_flags,
    recovery_action=st.none() | st.sampled_from(RECOVERY_ACTIONS),
)
_xids = st.builds(
    Xid,
    xid=st.sampled_from([13, 31, 43, 45, 48, 79, 94, 154, 999]),
    count=st.integers(1, 9),
    last_at=st.timedeltas(timedelta(0), timedelta(days=2)).map(lambda ago: NOW - ago),
)


@st.composite
def any_gpus(draw: st.DrawFn) -> Gpus:
    """Draw GPUs of any kind, with anybody on them."""
    devices = []
    for index in range(draw(st.integers(0, 2))):
        fault = draw(st.none() | st.sampled_from(GpuFault))
        device = faulty(index, fault) if fault else replace(gpu(index), readings=draw(_readings))
        seen = draw(st.lists(_xids, max_size=3, unique_by=lambda each: each.xid))
        instances = draw(
            st.sampled_from(
                [(), (MigInstance(uuid="MIG-1", gpu_instance_id=1, compute_instance_id=0, profile="1g.10gb"),)]
            )
        )
        devices.append(replace(device, xids=tuple(seen), instances=instances))
    here = {device.uuid for device in devices}
    uses = draw(st.lists(_uses, max_size=4, unique_by=lambda each: (each.container_id, each.gpu_uuid, each.mig_uuid)))
    held = [
        GpuHeld(gpu_uuid=each, host_memory_bytes=0, host_processes=0, unattributed_memory_bytes=draw(_sizes))
        for each in sorted(here)
    ]
    return Gpus(
        devices=tuple(devices),
        use=tuple(each for each in uses if each.gpu_uuid in here),
        held=tuple(held),
        attributable=draw(st.booleans()),
        seen=len(devices) + draw(st.sampled_from([0, 0, 1])),
    )
