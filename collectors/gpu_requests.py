"""Reads from a container's inspect which GPUs it was given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from collectors.gpu_facts import GpuRequest, GpuRequestSource

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collectors.json_fields import Fields

_HOOK_DRIVERS: Final = frozenset({"", "nvidia", "nvidia.runtime-hook"})
_CDI_DRIVERS: Final = frozenset({"cdi", "nvidia.cdi"})
_CDI_KIND: Final = "nvidia.com/gpu="
_RAW: Final = re.compile(r"/dev/nvidia(\d{1,4})")
_VISIBLE: Final = "NVIDIA_VISIBLE_DEVICES"
_MADE_FOR: Final = (_VISIBLE, "NVIDIA_REQUIRE_CUDA")
_NO_DEVICES: Final = frozenset({"", "none", "void"})
_MOST_IDS: Final = 256


def gpu_requests(host: Fields, config: Fields) -> tuple[GpuRequest, ...]:
    """
    Read `HostConfig` and `Config`.

    The environment counts only under a runtime of NVIDIA's, for under any other nobody reads it. Where Docker
    names no runtime, it is given all the same: `effective` then knows better.
    """
    found = [request for item in host.children("DeviceRequests") for request in _requested(item)]
    raw = [match[1] for item in host.children("Devices") if (match := _RAW.fullmatch(item.text("PathOnHost")))]
    if raw:
        found.append(GpuRequest(source=GpuRequestSource.DEVICE, ids=tuple(raw[:_MOST_IDS])))
    runtime = host.text("Runtime")
    by_hook = any(request.source is GpuRequestSource.DEVICE_REQUEST for request in found)
    # `--gpus` overwrites the variable before the runtime reads it.
    if not by_hook and (not runtime or is_nvidia(runtime)):
        visible = _variable(config, _VISIBLE)
        found += [] if visible is None else _named(GpuRequestSource.ENVIRONMENT, visible.split(","))
    return tuple(found)


def made_for_gpus(config: Fields) -> bool:
    """Tell whether the environment, which no more is kept of, says that the image was made for NVIDIA GPUs."""
    values = [value for name in _MADE_FOR if (value := _variable(config, name)) is not None]
    return bool(values) and _variable(config, _VISIBLE) not in _NO_DEVICES


def is_nvidia(runtime: str) -> bool:
    """Tell whether a runtime is one that gives containers GPUs: nvidia, nvidia-cdi, nvidia-legacy."""
    return runtime.startswith("nvidia")


def effective(requests: tuple[GpuRequest, ...], runtime: str, default_runtime: str) -> tuple[GpuRequest, ...]:
    """Drop what was asked for by the environment, where the runtime that the engine takes does not read it."""
    if runtime or is_nvidia(default_runtime):
        return requests
    return tuple(request for request in requests if request.source is not GpuRequestSource.ENVIRONMENT)


def _requested(item: Fields) -> Iterator[GpuRequest]:
    """Read one entry of `DeviceRequests`; those for other devices than GPUs of NVIDIA's give nothing."""
    driver, ids = item.text("Driver"), item.texts("DeviceIDs")
    if driver in _CDI_DRIVERS:
        # Under the driver nvidia.cdi plain names are NVIDIA's.
        plain = driver != "cdi"
        yield from _named(GpuRequestSource.CDI, [id_ for id_ in ids if plain or id_.startswith(_CDI_KIND)])
        if ids or driver == "cdi":
            return
    elif driver not in _HOOK_DRIVERS or not any("gpu" in wanted for wanted in item.lists("Capabilities")):
        return
    source = GpuRequestSource.CDI if driver in _CDI_DRIVERS else GpuRequestSource.DEVICE_REQUEST
    count = item.number("Count")
    if ids:
        yield from _named(source, ids)
    elif count:
        yield GpuRequest(source=source, all=count < 0, count=max(count, 0))


def _named(source: GpuRequestSource, names: Iterable[str]) -> Iterator[GpuRequest]:
    ids = [name.strip().removeprefix(_CDI_KIND) for name in names]
    if "all" in ids:
        yield GpuRequest(source=source, all=True)
    elif wanted := tuple(id_ for id_ in ids if id_ not in _NO_DEVICES)[:_MOST_IDS]:
        yield GpuRequest(source=source, ids=wanted)


def _variable(config: Fields, name: str) -> str | None:
    """Give the value of one variable of the environment, the last one set; `None` if it is not there."""
    start = f"{name}="
    return next((text.removeprefix(start) for text in reversed(config.texts("Env")) if text.startswith(start)), None)
