"""What a fake driver shows of GPUs with real containers on them, and what people are told of it, by one daemon."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.images import IDLE
from tests.lab.nvml import DRIVER_NOT_LOADED, GPU_IS_LOST, FakeGpu, FakeNvml, FakeProcess
from tests.lab.nvml import uuid as gpu_uuid
from tests.lab.slack import FakeSlack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

GIB = 1 << 30
PATIENCE = 40
"""Looks, a second and a half apart."""
CONFIG = """
[gpu]
interval = "1s"
[policies.gpu_usage]
idle_for = "1s"
"""
AT_ONCE = (
    "gpu-lost",
    "gpu-thermal",
    "gpu-memory-orphan",
    "nvml-unavailable",
    "container-gpu-lost",
    "container-gpu-missing",
)
RULES = "".join(f'[alerts.rules.{alert}]\nfor = "0s"\n' for alert in AT_ONCE)


@dataclass(frozen=True)
class Bonded:
    """An engine of whose bond a fake driver is part: what carries it finds the driver."""

    socket: Path
    bond: Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """Four GPUs: 0 computes for a trainer, 1 is held by a notebook, 2 has a doomed one, 3 is reserved by a service."""

    engine: PrivateEngine
    nvml: FakeNvml
    keeper: DaemonUnderTest

    def told(self, alert: str, words: str) -> str:
        """Give the message about this alert with these words, once it comes; the daemon is woken meanwhile."""
        for _ in range(PATIENCE):
            self.engine.sentinel()
            try:
                return self.keeper.wait_for(alert, words, 1.5)
            except TimeoutError:
                continue
        raise AssertionError(
            f"no {alert} with {words}: {self.keeper.headlines()}\n{self.keeper.log.read_text()[-3000:]}"
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("gpu-alerts")
    with PrivateEngine(Suite.SID, gpus=4) as engine, FakeSlack() as slack:
        labels = {"com.docker.compose.project": "nlp", "com.docker.compose.service": "trainer"}
        start(engine, "trainer", 0, {**labels, "shipkeeper.owner": "vision team"})
        for gpu, name in ((1, "notebook"), (2, "doomed"), (3, "service")):
            start(engine, name, gpu, {})
        nvml = FakeNvml(
            folder / "driver",
            FakeGpu(memory_used=5 * GIB, processes=[on(engine, "trainer", 5, sm=50)]),
            FakeGpu(memory_used=7 * GIB, processes=[on(engine, "notebook", 7)]),
            FakeGpu(memory_used=2 * GIB, processes=[on(engine, "doomed", 2, sm=5)]),
            FakeGpu(memory_used=3 * GIB, processes=[on(engine, "service", 3, sm=20)]),
        )
        bonded = Bonded(engine.socket, {**engine.bond, **nvml.environment})
        with DaemonUnderTest(folder, bonded, slack, CONFIG + RULES) as keeper:
            yield Scene(engine, nvml, keeper)


def start(engine: PrivateEngine, name: str, gpu: int, labels: Mapping[str, str]) -> None:
    """Start a container that asks for one GPU."""
    asked = {"Driver": "cdi", "DeviceIDs": [f"nvidia.com/gpu={gpu}"]}
    engine.run(IDLE, name=name, device_requests=[asked], config={"labels": dict(labels)})


def on(engine: PrivateEngine, name: str, size: int, sm: int | None = None) -> FakeProcess:
    """Give the process on a GPU that is the first one of a container."""
    return FakeProcess(engine.host_pid(name), size * GIB, sm=sm)


def test_memory_that_is_held_without_use_is_told_with_its_holder(scene: Scene) -> None:
    text = scene.told("gpu-idle", "GPU 1 is held without use")
    assert "notebook has computed nothing on it" in text
    assert "Containers on it: notebook (7.0 GiB)" in text


def test_an_xid_error_is_told_with_what_to_do_and_whom_it_hits_and_45_never(scene: Scene) -> None:
    for _ in range(3):
        scene.nvml.xid(0, 45)
    scene.nvml.xid(0, 48)
    text = scene.told("gpu-xid", "XID 48")
    assert "Containers on it: trainer (5.0 GiB, compose project nlp, owner vision team)" in text
    assert "NVIDIA's advice: take work off the GPU" in text
    assert "XID 48, a double-bit ECC error (ROBUST_CHANNEL_GPU_ECC_DBE)" in text
    assert not any("XID 45" in str(post.payload) for post in scene.keeper.slack.posts)


def test_an_error_of_a_program_is_an_alert_of_its_own(scene: Scene) -> None:
    scene.nvml.xid(3, 31)
    assert "Containers on it: service (3.0 GiB)" in scene.told("gpu-xid-app", "XID 31")


def test_the_end_of_a_container_says_which_gpu_it_held_and_what_is_left_there_is_an_orphan(scene: Scene) -> None:
    scene.told("gpu-idle", "GPU 1")  # by now a cycle has seen all of them
    os.kill(scene.engine.host_pid("doomed"), signal.SIGKILL)
    assert "It held GPU 2 (2.0 GiB) until then." in scene.told("container-crashed", "doomed")
    assert "held GPU 2 (2.0 GiB)" in scene.keeper.log.read_text()
    assert "2.0 GiB in use by no process that can be seen" in scene.told("gpu-memory-orphan", "GPU 2")


def test_heat_and_failing_memory_are_told(scene: Scene) -> None:
    gpu = scene.nvml.gpus[2]
    gpu.temperature, gpu.remap_pending = 87, 1
    scene.nvml.write()
    assert "87 °C, 3 °C below its slowdown limit" in scene.told("gpu-thermal", "GPU 2")
    assert "rows wait for a reset to be remapped" in scene.told("gpu-ecc", "GPU 2")


def test_a_lost_gpu_is_told_and_so_is_who_lost_it_and_its_return(scene: Scene) -> None:
    scene.told("gpu-idle", "GPU 1")
    scene.nvml.gpus[3].fault = GPU_IS_LOST
    scene.nvml.write()
    text = scene.told("gpu-lost", "GPU 3 is lost: the driver cannot reach it any more")
    assert "Containers on it: service (had 3.0 GiB)" in text
    assert gpu_uuid(3) in text
    assert "GPU 3 cannot be reached" in scene.told("container-gpu-lost", "service lost its GPU")


def test_an_image_for_gpus_without_one_is_told(scene: Scene) -> None:
    scene.engine.run(IDLE, name="in-vain", config={"environment": {"NVIDIA_VISIBLE_DEVICES": "all"}})
    assert "started without --gpus" in scene.told("container-gpu-missing", "in-vain runs without a GPU")


def test_a_gpu_that_the_engine_cannot_give_is_told_by_one_alert_with_the_engines_words(scene: Scene) -> None:
    asked = {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=9"]}
    container = scene.engine.create(IDLE, name="greedy", device_requests=[asked])
    with pytest.raises(Exception, match="CDI"):
        scene.engine.api.start(container)
    text = scene.told("container-gpu-refused", "greedy got no GPU")
    assert "this host has no CDI device of that name" in text
    assert "unresolvable CDI devices nvidia.com/gpu=9" in text
    assert "container-start-failed" not in scene.keeper.alerts_told()


def test_gpus_that_cannot_be_read_at_all_are_told_with_who_asked_for_them(scene: Scene) -> None:
    scene.nvml.failing["*", None] = DRIVER_NOT_LOADED
    scene.nvml.write()
    text = scene.told("nvml-unavailable", "NVML does not answer")
    assert "Containers that asked for a GPU: " in text
    assert "trainer (compose project nlp, owner vision team)" in text
