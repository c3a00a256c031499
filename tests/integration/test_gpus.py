"""GPUs shared by real containers of a real engine, read by real bindings, and what a real Prometheus finds of it."""

from __future__ import annotations

import os
import signal
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboards import FILES, RECORDING, asks, assert_answered, choices, read
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.images import IDLE
from tests.lab.nvml import GPU_IS_LOST, FakeGpu, FakeMig, FakeNvml, FakeProcess
from tests.lab.nvml import uuid as gpu_uuid
from tests.lab.prometheus import Prometheus
from tests.lab.slack import FakeSlack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ASKS = tomllib.loads((Path(__file__).parent / "gpu_dashboards.toml").read_text())["ask"]
CONFIG = '[gpu]\ninterval = "1s"\n'
GIB = 1 << 30
MIG = "MIG-00000000-0000-0000-0000-000000000001"
HOLDS = {"by-flag": 5 * GIB, "by-cdi": 7 * GIB, "by-runtime": 2 * GIB, "on-mig": 3 * GIB, "uninvited": 1 * GIB}
"""What the container of each name holds of the GPU that it was given."""
BY_FLAG = {"Driver": "", "Count": 1, "Capabilities": [["gpu"]]}


@dataclass(frozen=True)
class Bonded:
    """An engine of whose bond a fake driver is part: what carries it finds the driver."""

    socket: Path
    bond: Mapping[str, str]


@dataclass(frozen=True)
class Scene:
    """A host whose two GPUs, and a third that is split, are shared by containers that ask for them in every way."""

    engine: PrivateEngine
    nvml: FakeNvml
    prometheus: Prometheus

    def wait(self, expression: str) -> None:
        """Wait until an expression that compares is true."""
        self.prometheus.wait_for(expression, 60)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("gpus")
    with (
        PrivateEngine(Suite.SID, arguments=["--add-runtime=nvidia=runc"], gpus=2) as engine,
        FakeSlack() as slack,
    ):
        start_users(engine)
        nvml = FakeNvml(folder / "driver", *gpus(engine))
        bonded = Bonded(engine.socket, {**engine.bond, **nvml.environment})
        with (
            DaemonUnderTest(folder, bonded, slack, CONFIG) as daemon,
            Prometheus(folder, daemon.address, engine.bond, rules=[RECORDING]) as prometheus,
        ):
            prometheus.wait_for("shipkeeper_container_gpu_processes > 0", 60)
            yield Scene(engine, nvml, prometheus)


def start_users(engine: PrivateEngine) -> None:
    """Start a container for each way to ask for a GPU, one that asks in vain, and one that was never asked."""
    visible = {"environment": {"NVIDIA_VISIBLE_DEVICES": "0", "TOKEN": "hunter2"}}
    engine.run(IDLE, name="by-flag", device_requests=[BY_FLAG])
    engine.run(IDLE, name="by-cdi", device_requests=[{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=1"]}])
    engine.run(IDLE, name="by-runtime", config=visible, runtime="nvidia")
    engine.run(
        IDLE, name="on-mig", device_requests=[{"Driver": "nvidia", "DeviceIDs": [MIG], "Capabilities": [["gpu"]]}]
    )
    engine.run(IDLE, name="in-vain", config=visible)
    engine.run(IDLE, name="uninvited")


def gpus(engine: PrivateEngine) -> list[FakeGpu]:
    """Give the GPUs on which the first processes of the containers work, and this very process, which is in none."""

    def process(name: str, **changes: Any) -> FakeProcess:
        return FakeProcess(engine.host_pid(name), HOLDS[name], **changes)

    return [
        FakeGpu(
            memory_used=20 * GIB,
            utilization=75,
            processes=[process("by-flag", sm=50), process("by-runtime"), FakeProcess(os.getpid(), 4 * GIB)],
        ),
        FakeGpu(memory_used=8 * GIB, processes=[process("by-cdi"), process("uninvited", kind="m", sm=25)]),
        FakeGpu(mig=1, processes=[process("on-mig", instance=1)], migs=[FakeMig(MIG, 1)]),
    ]


def test_the_memory_of_each_container_stands_under_its_name(scene: Scene) -> None:
    places = {"by-flag": 0, "by-cdi": 1, "by-runtime": 0, "on-mig": 2, "uninvited": 1}
    for name, held in HOLDS.items():
        of = f'{{name="{name}",gpu="{places[name]}",uuid="{gpu_uuid(places[name])}"}}'
        scene.wait(f"shipkeeper_container_gpu_memory_used_bytes{of} == {held}")
    scene.wait(f'shipkeeper_container_gpu_memory_used_bytes{{name="on-mig",mig_uuid="{MIG}"}} == {HOLDS["on-mig"]}')
    assert scene.prometheus.query('{__name__=~"shipkeeper_container_gpu_.*",name="in-vain"}') == []


def test_what_no_container_holds_stands_apart(scene: Scene) -> None:
    scene.wait(f'shipkeeper_gpu_host_memory_bytes{{gpu="0"}} == {4 * GIB}')
    scene.wait('shipkeeper_gpu_host_processes{gpu="0"} == 1')
    scene.wait(f'shipkeeper_gpu_unattributed_memory_bytes{{gpu="0"}} == {(20 - 5 - 2 - 4) * GIB}')
    scene.wait('shipkeeper_gpu_unattributed_memory_bytes{gpu="1"} == 0')
    scene.wait("shipkeeper_gpu_attribution_available == 1")


@pytest.mark.parametrize(
    ("name", "source", "gpu"),
    [
        ("by-flag", "device_request", 0),
        ("by-cdi", "cdi", 1),
        ("by-runtime", "environment", 0),
        ("on-mig", "device_request", 2),
    ],
)
def test_it_says_by_what_a_container_was_given_its_gpu(scene: Scene, name: str, source: str, gpu: int) -> None:
    scene.wait(f'shipkeeper_container_gpu_requested{{name="{name}",source="{source}",gpu="{gpu}"}} == 1')


def test_who_works_and_who_is_idle_is_told(scene: Scene) -> None:
    scene.engine.run(IDLE, name="late-comer")  # so the next cycle, with another sample, comes at once
    scene.wait('shipkeeper_container_gpu_sm_utilization_ratio{name="by-flag"} == 0.5')
    scene.wait('shipkeeper_container_gpu_idle_seconds{name="by-flag"} == 0')
    scene.wait('shipkeeper_container_gpu_idle_seconds{name="by-runtime"} > 0')
    assert scene.prometheus.query('shipkeeper_container_gpu_sm_utilization_ratio{name="on-mig"}') == []


@pytest.mark.parametrize("ask", ASKS, ids=[ask["who"] for ask in ASKS])
def test_nvidias_dashboard_finds_what_it_asks_for(scene: Scene, ask: dict[str, Any]) -> None:
    for series in scene.prometheus.wait_for(ask["query"]):
        assert set(ask["labels"]) <= set(series.labels), series


def test_our_dashboard_finds_what_it_asks_for(scene: Scene) -> None:
    dashboard = read(next(file for file in FILES if file.stem == "gpu"))
    assert_answered(scene.prometheus, asks(dashboard, choices(dashboard)))


def test_seconds_are_charged_and_shown_once_they_are_stored(scene: Scene) -> None:
    of = '{name="by-flag",profile=""}'
    scene.wait(f"shipkeeper_container_gpu_allocated_seconds_total{of} >= 0")
    os.kill(scene.engine.host_pid("uninvited"), signal.SIGKILL)  # an end is stored at once, and with it what is charged
    scene.wait(f"shipkeeper_container_gpu_allocated_seconds_total{of} > 0")
    used, had = (
        scene.prometheus.query(f"shipkeeper_container_gpu_{kind}_seconds_total{of}")[0].value
        for kind in ("sm", "allocated")
    )
    assert used == pytest.approx(had / 2, rel=0.01)


def test_a_lost_gpu_costs_its_own_series_and_they_come_back(scene: Scene) -> None:
    scene.nvml.gpus[1].fault = GPU_IS_LOST
    scene.nvml.write()
    scene.wait(f'shipkeeper_gpu_up{{gpu="1",uuid="{gpu_uuid(1)}"}} == 0')
    assert scene.prometheus.query('shipkeeper_container_gpu_memory_used_bytes{name="by-cdi"}') == []
    assert scene.prometheus.query('shipkeeper_container_gpu_requested{name="by-cdi"}')
    scene.wait('shipkeeper_gpu_up{gpu="0"} == 1')
    scene.nvml.gpus[1].fault = None
    scene.nvml.write()
    scene.wait('shipkeeper_container_gpu_memory_used_bytes{name="by-cdi"} > 0')
