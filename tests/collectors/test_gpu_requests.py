"""What an inspect says about GPUs, as engines write it."""

from __future__ import annotations

from typing import Any

import pytest

from collectors import engine_parse
from collectors.gpu_facts import GpuRequest, GpuRequestSource
from collectors.gpu_requests import effective
from tests.lab.scripted_engine import ScriptedContainer

HOOK, CDI = GpuRequestSource.DEVICE_REQUEST, GpuRequestSource.CDI
ENVIRONMENT, DEVICE = GpuRequestSource.ENVIRONMENT, GpuRequestSource.DEVICE
GPU = [["gpu"]]
EVERYTHING = GpuRequest(source=ENVIRONMENT, all=True)


def inspect(env: list[str] | None = None, **host: Any) -> dict[str, Any]:
    said = ScriptedContainer(id="c" * 64, name="web").inspected()
    return said | {
        "HostConfig": said["HostConfig"] | {"Runtime": "runc"} | host,
        "Config": said["Config"] | {"Env": env},
    }


def requests(env: list[str] | None = None, **host: Any) -> tuple[GpuRequest, ...]:
    return engine_parse.container(inspect(env, **host)).gpu_requests


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"Driver": "", "Count": -1, "DeviceIDs": None, "Capabilities": GPU}, GpuRequest(source=HOOK, all=True)),
        ({"Driver": "", "Count": 2, "DeviceIDs": None, "Capabilities": GPU}, GpuRequest(source=HOOK, count=2)),
        (
            {"Driver": "nvidia", "Count": 0, "DeviceIDs": ["0", "MIG-1"], "Capabilities": [["compute", "gpu"]]},
            GpuRequest(source=HOOK, ids=("0", "MIG-1")),
        ),
        (
            {"Driver": "nvidia.runtime-hook", "Count": 0, "DeviceIDs": ["1:0"], "Capabilities": GPU},
            GpuRequest(source=HOOK, ids=("1:0",)),
        ),
        (
            {"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=0", "acme.com/fpga=0"], "Capabilities": None},
            GpuRequest(source=CDI, ids=("0",)),
        ),
        ({"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}, GpuRequest(source=CDI, all=True)),
        ({"Driver": "nvidia.cdi", "Count": -1, "Capabilities": GPU}, GpuRequest(source=CDI, all=True)),
        ({"Driver": "nvidia.cdi", "DeviceIDs": ["GPU-1"], "Capabilities": GPU}, GpuRequest(source=CDI, ids=("GPU-1",))),
    ],
)
def test_a_device_request_is_read(written: dict[str, Any], meant: GpuRequest) -> None:
    assert requests(DeviceRequests=[written]) == (meant,)


@pytest.mark.parametrize(
    "written",
    [
        {"Driver": "", "Count": -1, "Capabilities": [["tpu"]]},
        {"Driver": "amd", "Count": -1, "Capabilities": GPU},
        {"Driver": "cdi", "DeviceIDs": ["acme.com/fpga=all"]},
        {"Driver": "", "Count": 0, "Capabilities": GPU},
    ],
)
def test_what_is_no_gpu_of_nvidias_is_no_request(written: dict[str, Any]) -> None:
    assert requests(DeviceRequests=[written]) == ()


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("all", (EVERYTHING,)),
        ("0,GPU-1", (GpuRequest(source=ENVIRONMENT, ids=("0", "GPU-1")),)),
        ("nvidia.com/gpu=0", (GpuRequest(source=ENVIRONMENT, ids=("0",)),)),
        ("none", ()),
        ("void", ()),
        ("", ()),
    ],
)
def test_the_environment_counts_under_the_runtime_nvidia(value: str, meant: tuple[GpuRequest, ...]) -> None:
    env = ["PATH=/bin", f"NVIDIA_VISIBLE_DEVICES={value}"]
    assert requests(env, Runtime="nvidia") == meant
    assert requests(env, Runtime="nvidia-cdi") == meant
    assert requests(env, Runtime="runc") == ()


def test_where_docker_names_no_runtime_the_engines_default_decides() -> None:
    asked = requests(["NVIDIA_VISIBLE_DEVICES=all"], Runtime="")
    assert effective(asked, "", "nvidia") == (EVERYTHING,)
    assert effective(asked, "", "runc") == ()
    assert effective((GpuRequest(source=HOOK, all=True),), "", "runc") == (GpuRequest(source=HOOK, all=True),)


def test_a_request_by_flag_overwrites_the_environment_of_the_image() -> None:
    flag = {"Driver": "", "Count": 1, "Capabilities": GPU}
    asked = requests(["NVIDIA_VISIBLE_DEVICES=all"], Runtime="nvidia", DeviceRequests=[flag])
    assert asked == (GpuRequest(source=HOOK, count=1),)


def test_raw_devices_are_told_by_their_minor_number() -> None:
    devices = [{"PathOnHost": path} for path in ("/dev/nvidia3", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/kvm")]
    assert requests(Devices=devices) == (GpuRequest(source=DEVICE, ids=("3",)),)


@pytest.mark.parametrize(
    ("env", "made_for_gpus"),
    [
        (["NVIDIA_VISIBLE_DEVICES=all"], True),
        (["NVIDIA_REQUIRE_CUDA=cuda>=12.4"], True),
        (["NVIDIA_REQUIRE_CUDA=cuda>=12.4", "NVIDIA_VISIBLE_DEVICES=void"], False),
        (["PATH=/bin"], False),
        (None, False),
    ],
)
def test_an_image_for_gpus_is_known_by_its_environment(env: list[str] | None, *, made_for_gpus: bool) -> None:
    assert engine_parse.container(inspect(env)).gpu_image is made_for_gpus


def test_no_other_variable_is_kept() -> None:
    env = ["TOKEN=hunter2", "NVIDIA_VISIBLE_DEVICES=0", "NVIDIA_DRIVER_CAPABILITIES=hunter2"]
    assert "hunter2" not in repr(engine_parse.container(inspect(env, Runtime="nvidia", Privileged=True)))


def test_the_engine_tells_its_runtimes_and_its_cdi_devices() -> None:
    versions = engine_parse.versions({"Version": "28.5.2", "ApiVersion": "1.51"})
    info = {
        "Runtimes": {"runc": {}, "nvidia": {}},
        "DefaultRuntime": "nvidia",
        "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}, {"Source": "other", "ID": "x"}],
    }
    engine = engine_parse.engine(info, versions, engine_parse._FIRST_IMAGES)
    assert engine.runtimes == ("runc", "nvidia")
    assert (engine.default_runtime, engine.cdi_devices) == ("nvidia", ("nvidia.com/gpu=0",))
