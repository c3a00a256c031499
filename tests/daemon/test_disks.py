from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collectors.cgroup import CgroupReader
from collectors.disk import Filesystems, Place
from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.families import render
from daemon.decide import decide
from daemon.disk_usage import UsageLane
from daemon.disks import Disks
from daemon.log_sizes import LogLane
from daemon.sampler import Sampler, Sources
from daemon.snapshot import Snapshot
from daemon.trends import Trends
from tests.collectors.test_disk_usage import LEGACY
from tests.fakes.cgroup_tree import a_container
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.fakes.engine_view import FakeEngineView
from tests.lab.scripted_engine import ScriptedEngine
from tests.policies.build import facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container

MINUTE = timedelta(minutes=1)


class Host:
    """The parts that know of the disks, on this machine and at a scripted engine."""

    def __init__(self, engine: ScriptedEngine, *containers: Container) -> None:
        self.engine = engine
        self.clock = FakeClock()
        view = FakeEngineView()
        places = [Place(role, Path("/")) for role in ("data-root", "volumes", "logs")]
        sources = Sources(Filesystems(lambda: places), CgroupReader(), list, lambda _: {})
        self.sampler = Sampler(sources, self.clock, lambda: None, a_crew(self.clock))
        world = facts(containers=containers)
        seen = Snapshot(facts=world, taken_at=0.0, decision=decide({}, world), alerts={}, counters={}, complete=True)
        self.disks = Disks(
            engine=lambda: view.engine,
            sampler=self.sampler,
            usage=UsageLane(self.connect, lambda: view.engine, self.clock),
            logs=LogLane(lambda: seen, self.clock),
            trends=Trends(lambda: self.sampler.latest, self.clock),
        )

    def connect(self) -> EngineApi:
        """Make a client."""
        return EngineApi.connect(Endpoint(host=self.engine.host), timedelta(seconds=5))

    def measure(self) -> None:
        """Let every lane run once."""
        self.sampler.sample_now()
        self.disks.usage.measure()
        self.disks.logs.measure()
        self.disks.trends.note()

    def page(self) -> str:
        """Render all families."""
        families = [*self.disks.filesystem_families(), *self.disks.usage_families(), *self.disks.log_families()]
        return render(families).decode()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        engine.disk_usage = LEGACY
        yield Host(engine)


def test_what_a_container_takes_is_its_layer_and_its_logs_and_unknown_while_either_is(
    host: Host, tmp_path: Path
) -> None:
    (tmp_path / "logs").mkdir()
    log = tmp_path / "logs" / "json.log"
    log.write_bytes(b"x" * 5000)
    one, other = a_container(1, id="a", log_path=str(log)), a_container(2, log_path=str(log))
    host = Host(host.engine, one, other)  # Docker tells of the layer of the first
    assert host.disks.layer_bytes() == {}
    host.disks.usage.measure()
    assert host.disks.layer_bytes()["a"] == 40
    assert host.disks.written_bytes() == {}
    host.disks.logs.measure()
    assert host.disks.written_bytes() == {"a": 40 + log.stat().st_blocks * 512}


def test_before_anything_was_measured_nothing_is_told(host: Host) -> None:
    assert host.page() == ""
    assert host.disks.uses() == ()


def test_what_was_measured_is_told_with_its_age(host: Host) -> None:
    host.measure()
    host.clock.advance(timedelta(seconds=30))
    assert 'shipkeeper_disk_usage_bytes{kind="images",mountpoint="/"} 1600\n' in host.page()
    at = (host.clock.now() - timedelta(seconds=30)).timestamp()
    assert f'shipkeeper_disk_usage_measured_timestamp_seconds{{kind="images"}} {at}\n' in host.page()


def test_a_kind_of_which_a_part_is_unknown_is_down_and_absent_and_so_is_the_rest(host: Host) -> None:
    host.engine.disk_usage = LEGACY | {"LayersSize": -1}
    host.measure()
    page = host.page()
    assert 'shipkeeper_disk_usage_up{kind="images"} 0\n' in page
    assert 'shipkeeper_disk_usage_up{kind="volumes"} 1\n' in page
    assert 'shipkeeper_disk_usage_bytes{kind="images"' not in page
    assert 'shipkeeper_disk_usage_bytes{kind="other"' not in page


def test_old_figures_are_down_and_absent(host: Host) -> None:
    host.measure()
    host.engine.statuses["/system/df"] = 500
    for _ in range(60):
        host.clock.advance(MINUTE)
        host.measure()
    page = host.page()
    assert 'shipkeeper_disk_usage_up{kind="images"} 0\n' in page
    assert 'shipkeeper_disk_usage_bytes{kind="images"' not in page
    assert 'shipkeeper_disk_usage_bytes{kind="container_logs"' in page


def test_logs_that_are_no_longer_measured_are_down_and_absent(host: Host) -> None:
    host.measure()
    host.clock.advance(10 * MINUTE)
    host.sampler.sample_now()
    page = host.page()
    assert 'shipkeeper_disk_usage_up{kind="container_logs"} 0\n' in page
    assert 'shipkeeper_disk_usage_bytes{kind="container_logs"' not in page


def test_growth_is_told_once_there_is_enough_to_tell(host: Host) -> None:
    host.measure()
    [disk] = host.sampler.sample_now().filesystems
    assert host.disks.growth(disk) == (None, None)
    for _ in range(31):
        host.clock.advance(MINUTE)
        host.measure()
    rate, _ = host.disks.growth(disk)
    assert rate is not None
    assert 'shipkeeper_filesystem_growth_bytes_per_second{mountpoint="/"}' in host.page()
