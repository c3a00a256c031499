"""What a real Prometheus finds that scrapes the daemon on a host of twenty containers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboards import FILES, RECORDING, asks, assert_answered, choices, read
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.binaries import REPOSITORY, Suite
from tests.lab.engine import PrivateEngine
from tests.lab.images import IDLE
from tests.lab.prometheus import Prometheus
from tests.lab.slack import FakeSlack
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1 << 20
CONTAINERS = 20
ASKS = tomllib.loads((Path(__file__).parent / "dashboards.toml").read_text())["ask"]
LABELS = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "web",
    "com.docker.compose.project.working_dir": "/srv/shop",
    "org.label-schema.group": "monitoring",
}
METRICS = f'[metrics]\nlabels = {list(LABELS)}\n[policies.containers]\nexited_for = "1s"\n'
CGROUP_V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
NEEDED = {
    *("container_last_seen", "container_start_time_seconds", "container_health_state"),
    *(f"container_cpu_{mode}_seconds_total" for mode in ("usage", "user", "system")),
    *(f"container_cpu_cfs_{what}_total" for what in ("periods", "throttled_periods", "throttled_seconds")),
    *("container_spec_cpu_quota", "container_spec_cpu_period"),
    *("container_spec_memory_limit_bytes", "container_spec_memory_reservation_limit_bytes"),
    *("container_memory_usage_bytes", "container_memory_working_set_bytes"),
    *("container_memory_rss", "container_memory_cache"),
    *("container_network_receive_bytes_total", "container_network_transmit_bytes_total"),
    *("container_fs_usage_bytes", "container_fs_reads_bytes_total", "container_fs_writes_bytes_total"),
    *("container_fs_inodes_free", "container_fs_inodes_total"),
    *("container_oom_events_total", "machine_cpu_cores", "machine_memory_bytes"),
}
"""The names without which dashboards and rules for cAdvisor are empty."""
PRESSURE = "_pressure_"
PAGE_OF_V2 = REPOSITORY / "tests" / "golden" / "metrics-host-v2-systemd.txt"
"""What the virtual machine of `test_cgroup_v2.py` showed."""
"""What only cgroup v2 has."""
OURS = [file for file in FILES if file.stem != "gpu"]
BUSY = ["sh", "-c", "while :; do :; done"]
WRITER = ["sh", "-c", "dd if=/dev/zero of=/written bs=64k count=8 conv=fsync 2>/dev/null; sync; exec sleep 1000000"]


@dataclass(frozen=True)
class Scene:
    """A host of twenty containers, watched and scraped."""

    engine: PrivateEngine
    prometheus: Prometheus
    daemon: DaemonUnderTest

    def value(self, expression: str) -> float:
        """Give the one value of an expression, or -1 if there is not just one."""
        found = self.prometheus.query(expression)
        return found[0].value if len(found) == 1 else -1.0

    def wait(self, expression: str) -> None:
        """Wait until an expression that compares is true."""
        self.prometheus.wait_for(expression)

    def kill(self, container: str) -> None:
        """Kill its first process and wait for its end."""
        os.kill(self.engine.host_pid(container), signal.SIGKILL)
        self.engine.api.wait(container)

    def execute(self, container: str, *command: str) -> None:
        """Run a command in a container to its end."""
        begun = self.engine.api.exec_create(container, list(command))
        self.engine.api.exec_start(begun["Id"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Give a host whose containers are of every sort that a dashboard asks for."""
    folder = tmp_path_factory.mktemp("scene")
    with PrivateEngine(Suite.SID, data_root_image_mb=256) as engine, FakeSlack() as slack:
        sender = engine.run(IDLE, name="sender")
        receiver = engine.run(IDLE, name="receiver")
        join(engine.host_pid(sender), engine.host_pid(receiver))
        start_sorts(engine)
        for number in range(CONTAINERS - len(engine.api.containers(quiet=True))):
            engine.run(IDLE, name=f"plain-{number}")
        daemon = DaemonUnderTest(folder, engine, slack, METRICS)
        daemon.config.write_text(f'mode = "approve"\n{daemon.config.read_text()}')
        with daemon, Prometheus(folder, daemon.address, engine.bond, rules=[RECORDING]) as prometheus:
            prometheus.wait_for(f"count(container_last_seen) == {CONTAINERS}")
            scene = Scene(engine, prometheus, daemon)
            scene.kill("victim")  # one of the dashboards' rules asks for a container that was killed
            yield scene


def start_sorts(engine: PrivateEngine) -> None:
    """Start a container for each sort of figure."""
    settings: dict[str, Any] = {"mem_limit": 64 * MIB, "mem_reservation": 32 * MIB}
    engine.run(IDLE, name="shop-web-1", config={"labels": LABELS}, **settings)
    engine.run(BUSY, name="throttled", cpu_period=100_000, cpu_quota=3_000)
    checked = {"test": ["CMD-SHELL", "true"], "interval": 3600 * 10**9}
    engine.run(IDLE, name="starting", config={"healthcheck": checked})
    # Under cgroup v1 this kernel counts the I/O of a device only where a limit is set.
    limited = [{"Path": device_of(engine.data_root), "Rate": 1 << 30}]
    engine.run(WRITER, name="writer", device_write_bps=limited, device_read_bps=limited)
    engine.run(IDLE, name="hog", mem_limit=16 * MIB)
    for name in ("victim", "crasher", "recreated"):
        engine.run(IDLE, name=name)


def device_of(folder: Path) -> str:
    """Give the block device under a folder, `/dev/loop0`."""
    number = folder.stat().st_dev
    return f"/dev/{Path(f'/sys/dev/block/{os.major(number)}:{os.minor(number)}').readlink().name}"


def join(one: int, other: int) -> None:
    """Lay a cable between the network namespaces of two processes; it goes with either of them."""
    made = f"ip link add name eth0 netns {one} type veth peer name eth0 netns {other}"
    subprocess.run(made.split(), check=True)
    for pid, address in ((one, "192.0.2.1/30"), (other, "192.0.2.2/30")):
        for command in (f"ip address add {address} dev eth0", "ip link set eth0 up"):
            subprocess.run(["nsenter", "--target", str(pid), "--net", *command.split()], check=True)


def test_what_is_killed_is_seen(scene: Scene) -> None:
    scene.wait('time() - container_last_seen{name="victim"} > 2')


@pytest.mark.parametrize("ask", ASKS, ids=[ask["who"] for ask in ASKS])
def test_dashboards_and_rules_find_what_they_ask_for(scene: Scene, ask: dict[str, Any]) -> None:
    for series in scene.prometheus.wait_for(ask["query"]):
        assert set(ask["labels"]) <= set(series.labels), series


def test_every_name_that_dashboards_and_rules_need_is_asked_for() -> None:
    asked = {name for ask in ASKS for name in re.findall(r"(?:container|machine)_\w+", ask["query"])}
    assert asked >= NEEDED


def test_traffic_between_two_containers_is_counted_at_both_ends(scene: Scene) -> None:
    scene.execute("sender", "busybox", "ping", "-c", "3", "-s", "1000", "192.0.2.2")
    for name, way in (("sender", "transmit"), ("receiver", "receive")):
        of = f'{{name="{name}",interface="eth0"}}'
        scene.wait(f"shipkeeper_container_network_{way}_bytes_total{of} > 3000")
        scene.wait(f"container_network_{way}_bytes_total{of} > 3000")
        scene.wait(f"shipkeeper_container_network_{way}_packets_total{of} >= 3")
    assert scene.prometheus.query('container_network_receive_bytes_total{name="plain-0"}') == []


def test_a_death_is_seen_as_an_increase(scene: Scene) -> None:
    deaths = 'shipkeeper_container_deaths_total{name="crasher",reason="signal"}'
    assert scene.value(deaths) == 0
    scene.kill("crasher")
    scene.wait(f"increase({deaths}[5m]) > 0")
    assert scene.value(deaths) == 1
    scene.engine.api.start("crasher")
    scene.wait('increase(shipkeeper_container_restarts_total{name="crasher",trigger="start"}[5m]) > 0')


def test_a_kill_for_memory_that_the_container_survives_is_seen_as_an_increase(scene: Scene) -> None:
    for family in ("shipkeeper_container_oom_kills_total", "container_oom_events_total"):
        assert scene.value(f'{family}{{name="hog"}}') == 0
    scene.execute("hog", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    for family in ("shipkeeper_container_oom_kills_total", "container_oom_events_total"):
        scene.wait(f'increase({family}{{name="hog"}}[5m]) > 0')
    scene.wait('container_memory_failcnt{name="hog"} > 0')
    scene.wait('shipkeeper_container_memory_limit_hits_total{name="hog"} > 0')
    scene.wait(f'container_memory_max_usage_bytes{{name="hog"}} > {8 * MIB}')


def test_counters_go_on_when_a_container_is_recreated(scene: Scene) -> None:
    deaths = 'shipkeeper_container_deaths_total{name="recreated",reason="signal"}'
    scene.kill("recreated")
    scene.wait(f"{deaths} == 1")
    scene.engine.api.remove_container("recreated")
    scene.engine.run(IDLE, name="recreated")
    wait_until(lambda: scene.value('container_start_time_seconds{name="recreated"}') > 0, "the new one")
    scene.kill("recreated")
    scene.wait(f"{deaths} == 2")
    scene.wait(f"increase({deaths}[5m]) >= 2")


@pytest.fixture(scope="module")
def cleaned(scene: Scene) -> Scene:
    """Give the scene once a container was removed and an image lies unused: a dashboard shows these, too."""
    scene.engine.api.commit("plain-0", repository="unused")
    job = scene.engine.run(["true"], name="old-job")
    scene.engine.api.wait(job)
    plan = wait_until(lambda: with_removal_of(job, scene.daemon.ask("/plan")), "a plan to remove it", 30)
    scene.daemon.may_remove = {job}
    scene.daemon.ask(f"/apply?plan={plan['plan_id']}", "POST")
    scene.wait('shipkeeper_removals_total{outcome="removed"} == 1')
    return scene


def with_removal_of(container: str, plan: Any) -> Any:
    """Give the plan if it holds this removal and no other, else nothing."""
    return plan if [removal["id"] for removal in plan["removals"]] == [container] else None


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.stem)
def test_our_dashboards_find_what_they_ask_for(cleaned: Scene, file: Path) -> None:
    dashboard = read(file)
    asked = [ask for ask in asks(dashboard, choices(dashboard)) if PRESSURE not in ask.query or CGROUP_V2]
    assert_answered(cleaned.prometheus, asked)


def test_panels_about_pressure_find_it_on_the_page_of_a_host_with_cgroup_v2(tmp_path: Path) -> None:
    asked = [ask for file in OURS for ask in asks(read(file), choices(read(file))) if PRESSURE in ask.query]
    assert asked
    with page_served(PAGE_OF_V2.read_bytes()) as address, Prometheus(tmp_path, address, {}) as prometheus:
        assert_answered(prometheus, asked)


@contextmanager
def page_served(page: bytes) -> Iterator[str]:
    """Serve one page on loopback for as long as the context lasts, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_chosen_project_leaves_its_containers_alone_on_the_dashboard(scene: Scene) -> None:
    dashboard = read(next(file for file in FILES if file.stem == "containers"))
    chosen = choices(dashboard) | {"project": "shop"}
    (used,) = (ask.query for ask in asks(dashboard, chosen) if ask.who == "Memory in use A")
    (one,) = scene.prometheus.wait_for(used)
    assert one.labels["name"] == "shop-web-1"
