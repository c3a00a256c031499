"""Whether containers get the GPUs that are there."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Final

from collectors.facts import Facts, Known, SourceName
from collectors.gpu_facts import Gpus
from daemon.doctor import cures
from daemon.doctor.facts import Unseen
from daemon.doctor.finding import Finding, Level, ok, unseen
from daemon.doctor.seen import daemon_settings
from policies import words
from policies.gpu_containers import ContainerGpus
from policies.gpu_refused import GpuRefused
from policies.policy import ConditionState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Engine
    from collectors.gpu_facts import Gpu
    from daemon.doctor.facts import GpuHost, Host

_NONE_HERE: Final = "there is no NVIDIA GPU on this host"
_CDI: Final = "nvidia.com/gpu"
_ALWAYS_CDI: Final = (28, 3)
"""From here on an engine reads CDI specifications unless it is told not to."""
_FIRST_CDI: Final = (25, 0)
_INSTALL: Final = (
    "# with NVIDIA's package repository set up: https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/",
    "sudo apt-get install nvidia-container-toolkit",
)
_GENERATE: Final = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
_ALERTS: Final = {
    "container-gpu-refused": Level.WARNING,
    "container-gpu-lost": Level.WARNING,
    "container-gpu-missing": Level.NOTE,
}


def gpu_driver(host: Host) -> Iterator[Finding]:
    """Judge whether the driver shows all GPUs that are on the bus."""
    if isinstance(host.gpus, Unseen):
        yield unseen(host.gpus.why)
        return
    gpus = host.gpus
    if not gpus.count and not gpus.driver:
        yield unseen(gpus.devices.why) if isinstance(gpus.devices, Unseen) else ok(_NONE_HERE)
    elif not gpus.driver and (isinstance(gpus.devices, Unseen) or not gpus.devices):
        what = f"{words.count(gpus.on_pci_bus, 'NVIDIA GPU')} on the bus, and no driver of NVIDIA's is loaded"
        cure: tuple[str, ...] = (
            "sudo modprobe nvidia",
            "sudo apt-get install nvidia-driver   # if there is no such module; on Ubuntu: sudo ubuntu-drivers install",
            "# then reboot",
        )
        yield Finding(Level.WARNING, what, cure)
    elif isinstance(gpus.devices, Unseen):
        cure = ("nvidia-smi", "# a driver that was upgraded meanwhile needs: sudo reboot")
        yield Finding(Level.PROBLEM, f"the GPUs cannot be read: {gpus.devices.why}", cure)
    else:
        lost = [each for each in gpus.devices if each.fault]
        yield from [
            Finding(Level.PROBLEM, f"GPU {each.index} cannot be reached ({each.fault})", _reset(each)) for each in lost
        ] or [ok(f"{words.count(len(gpus.devices), 'GPU')}, driver {gpus.driver or 'loaded'}")]


def _reset(gpu: Gpu) -> tuple[str, ...]:
    which = quote(gpu.pci_bus_id or gpu.uuid or str(gpu.index))
    return (
        "sudo dmesg | grep -i xid | tail   # why",
        f"sudo nvidia-smi --gpu-reset -i {which}   # once nothing uses it",
        "# where that fails: sudo reboot",
    )


def gpu_runtime(host: Host) -> Iterator[Finding]:
    """Judge whether the engine can give containers the GPUs that are there."""
    if isinstance(host.gpus, Unseen):
        yield unseen(host.gpus.why)
    elif not host.gpus.count:
        devices = host.gpus.devices
        yield unseen(devices.why) if isinstance(devices, Unseen) else ok(_NONE_HERE)
    elif host.reach.engine is None:
        yield unseen("the engine does not answer")
    elif ways := _ways(host, host.gpus, host.reach.engine):
        yield ok(f"the engine gives containers GPUs by {ways}")
    else:
        count = words.count(host.gpus.count, "GPU")
        has_toolkit = bool(host.gpus.toolkit)
        yield Finding(
            Level.PROBLEM,
            f"this host has {count}, and the engine can give containers none"
            + ("" if has_toolkit else ": the NVIDIA Container Toolkit is not installed"),
            (
                *([] if has_toolkit else _INSTALL),
                "sudo nvidia-ctk runtime configure --runtime=docker",
                cures.restart(host),
                "docker run --rm --gpus all ubuntu nvidia-smi   # shows them",
            ),
        )


def _ways(host: Host, gpus: GpuHost, engine: Engine) -> str:
    ways = ["the runtime nvidia"] if any(name.startswith("nvidia") for name in engine.runtimes) else []
    if gpus.toolkit.endswith("-hook"):
        ways.append("NVIDIA's hook")
    if any(each.startswith(_CDI) for each in engine.cdi_devices) or (gpus.cdi_files and _reads_cdi(host)):
        ways.append("CDI")
    return " and ".join(ways)


def _reads_cdi(host: Host) -> bool:
    features = daemon_settings(host).get("features")
    said = features.get("cdi") if isinstance(features, dict) else None
    if isinstance(said, bool):
        return said
    return (host.reach.version or _ALWAYS_CDI) >= _ALWAYS_CDI


def cdi(host: Host) -> Iterator[Finding]:
    """Judge whether CDI specifications that are there are read."""
    if isinstance(host.gpus, Unseen):
        yield unseen(host.gpus.why)
        return
    if not host.gpus.cdi_files:
        yield ok("there is no CDI specification of NVIDIA's here")
        return
    version = host.reach.version
    if _reads_cdi(host) or version is None:
        yield ok(f"the engine reads {', '.join(host.gpus.cdi_files)}")
        return
    if version < _FIRST_CDI:
        what = "there is a CDI specification, and this engine is too old to read any"
        yield Finding(Level.NOTE, what, ("# install an engine from 25.0 on; up to then --gpus does the same",))
        return
    change = {"features": {"cdi": True}}
    yield Finding(
        Level.NOTE,
        "there is a CDI specification, and the engine does not read it: the feature cdi is off",
        (*cures.change_settings(host, change), cures.restart(host)),
    )


def gpu_containers(host: Host) -> Iterator[Finding]:
    """Judge which containers asked for GPUs and have none, and which images for GPUs run without one."""
    if isinstance(host.containers, Unseen):
        yield unseen(host.containers.why)
        return
    if host.reach.engine is None:
        yield unseen("the engine does not answer")
        return
    devices = host.gpus if isinstance(host.gpus, Unseen) else host.gpus.devices
    known = not isinstance(devices, Unseen)
    now = Known(host.clock.now)
    facts = Facts(
        now=host.clock.now,
        sources={SourceName.DOCKER: now, SourceName.GPU: now},
        engine=host.reach.engine,
        containers=host.containers,
        gpus=Gpus(devices=() if isinstance(devices, Unseen) else devices),
    )
    judged = [*GpuRefused().decide(facts), *(ContainerGpus().decide(facts) if known else ())]
    bad = [each for each in judged if each.state is ConditionState.BAD]
    yield from [
        Finding(_ALERTS[each.alert], f"{each.subject.name}: {each.reason}", _AGAIN, "; ".join(each.details))
        for each in bad
    ] or [ok("every container has the GPUs that it asked for")]


_AGAIN: Final = (
    "# make it anew with: docker run --gpus all …, or in compose: deploy.resources.reservations.devices, driver nvidia",
    f"{_GENERATE}   # where CDI names changed",
)
