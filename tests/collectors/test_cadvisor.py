from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.cadvisor import SHOWN_FOR_SECONDS, DataRoot, Machine
from collectors.containers import ContainerCollector, View
from collectors.facts import ContainerState, Health, HealthStatus
from tests.collectors.page import shown
from tests.fakes.cgroup_tree import STARTED, CgroupTree, a_container

if TYPE_CHECKING:
    from pathlib import Path

    from collectors.facts import Container

NOW = (STARTED + timedelta(hours=1)).timestamp()
WEB = a_container()
BLOCK = f'{{id="/docker/{WEB.id}",image="shop/web:1.4",name="web-1"}}'


class Scraped:
    """A host that is scraped again and again."""

    def __init__(self, root: Path) -> None:
        self.tree = CgroupTree(root)
        self.view = View(cadvisor=True, now=NOW)
        self._collector = ContainerCollector(self.tree.reader, lambda: self.view)

    def see(self, *containers: Container, at: float = NOW) -> None:
        """Let these be the containers."""
        self.view = replace(self.view, containers=containers, now=at)

    def scrape(self) -> dict[str, dict[str, float]]:
        """Give all series by name of the family."""
        return {name: series for name, series in shown(self._collector.collect()).items() if series}


@pytest.fixture
def host(tmp_path: Path) -> Scraped:
    return Scraped(tmp_path)


def ended(after: timedelta) -> Container:
    return replace(WEB, pid=0, state=ContainerState.EXITED, finished_at=STARTED + after)


def test_the_id_is_the_path_of_the_cgroup(host: Scraped) -> None:
    host.tree.add_v2(f"system.slice/docker-{WEB.id}.scope")
    host.see(WEB)
    [block] = host.scrape()["container_memory_rss"]
    assert block.startswith(f'{{id="/system.slice/docker-{WEB.id}.scope",')


def test_cpu_usage_is_that_of_all_cpus(host: Scraped) -> None:
    host.tree.add_v2(f"docker/{WEB.id}")
    host.see(WEB)
    assert host.scrape()["container_cpu_usage_seconds_total"] == {f'{BLOCK[:-1]},cpu="total"}}': 12.5}


def test_what_is_not_limited_is_zero(host: Scraped) -> None:
    group = host.tree.add_v2(f"docker/{WEB.id}")
    for name in ("memory.max", "memory.swap.max", "pids.max"):
        (group / name).write_text("max\n")
    (group / "memory.low").write_text("0\n")
    (group / "cpu.max").write_text("max 100000\n")
    host.see(WEB)
    page = host.scrape()
    for name in ("memory_limit_bytes", "memory_swap_limit_bytes", "memory_reservation_limit_bytes"):
        assert page[f"container_spec_{name}"] == {BLOCK: 0}
    assert page["container_threads_max"] == {BLOCK: 0}
    assert page["container_spec_cpu_period"] == {BLOCK: 100_000}
    assert "container_spec_cpu_quota" not in page


def test_a_limit_that_cannot_be_read_is_absent_and_not_zero(host: Scraped) -> None:
    (host.tree.add_v2(f"docker/{WEB.id}") / "memory.max").unlink()
    host.see(WEB)
    assert "container_spec_memory_limit_bytes" not in host.scrape()


@pytest.mark.parametrize(
    ("health", "state"),
    [
        (None, -1),
        (Health(HealthStatus.STARTING, 0, ""), 0),
        (Health(HealthStatus.UNHEALTHY, 3, ""), 0),
        (Health(HealthStatus.HEALTHY, 0, ""), 1),
    ],
)
def test_health_is_a_number(host: Scraped, health: Health | None, state: int) -> None:
    host.see(replace(WEB, health=health))
    assert host.scrape()["container_health_state"] == {BLOCK: state}


def test_a_running_container_is_seen_now(host: Scraped) -> None:
    host.see(WEB)
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW}


def test_the_last_sight_of_one_that_ended_stands_still_for_ten_minutes(host: Scraped) -> None:
    host.see(WEB)
    host.scrape()
    end = STARTED + timedelta(hours=1, seconds=5)
    host.see(ended(end - STARTED), at=NOW + 60)
    assert host.scrape()["container_last_seen"] == {BLOCK: end.timestamp()}
    host.see(ended(end - STARTED), at=end.timestamp() + SHOWN_FOR_SECONDS)
    assert host.scrape()["container_last_seen"] == {BLOCK: end.timestamp()}
    host.see(ended(end - STARTED), at=end.timestamp() + SHOWN_FOR_SECONDS + 1)
    assert "container_last_seen" not in host.scrape()


def test_so_does_that_of_one_that_was_removed(host: Scraped) -> None:
    host.see(WEB)
    host.scrape()
    host.see(at=NOW + 300)
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW}
    host.see(at=NOW + SHOWN_FOR_SECONDS + 1)
    assert "container_last_seen" not in host.scrape()


def test_while_docker_cannot_be_asked_nobody_is_told_to_have_ended(host: Scraped) -> None:
    host.see(WEB)
    host.scrape()
    known = host.view
    host.view = replace(known, containers=(), known=False, now=NOW + 60)
    assert host.scrape() == {}
    host.view = replace(known, containers=(), now=NOW + 120)
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW}, "it ended meanwhile"


def test_one_that_ended_shortly_before_our_start_is_told_of(host: Scraped) -> None:
    host.see(ended(timedelta(minutes=55)))
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW - 300}


def test_one_that_is_started_again_is_seen_again(host: Scraped) -> None:
    host.see(ended(timedelta(minutes=55)))
    host.scrape()
    host.see(WEB)
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW}


def test_memory_kills_are_those_counted_under_its_name(host: Scraped) -> None:
    host.see(WEB)
    lasting = '{name="web-1",compose_project="",compose_service=""}'
    host.view = replace(host.view, oom_kills={lasting: 4, "another": 5})
    assert host.scrape()["container_oom_events_total"] == {BLOCK: 4}


def test_the_data_roots_inodes_are_told_for_each_container(host: Scraped) -> None:
    host.see(WEB)
    host.view = replace(host.view, data_root=DataRoot(device="/dev/sda1", inodes=100, inodes_free=40))
    page = host.scrape()
    assert page["container_fs_inodes_total"] == {f'{BLOCK[:-1]},device="/dev/sda1"}}': 100}
    assert page["container_fs_inodes_free"] == {f'{BLOCK[:-1]},device="/dev/sda1"}}': 40}
    assert "container_fs_usage_bytes" not in page


def test_what_a_container_takes_is_told_once_it_was_measured(host: Scraped) -> None:
    host.see(WEB)
    root = DataRoot(device="/dev/sda1", inodes=100, inodes_free=40)
    host.view = replace(host.view, data_root=root, written_bytes={WEB.id: 8192, "another": 5})
    assert host.scrape()["container_fs_usage_bytes"] == {f'{BLOCK[:-1]},device="/dev/sda1"}}': 8192}


def test_the_machine_is_told_of_once(host: Scraped) -> None:
    host.view = replace(host.view, machine=Machine(cpus=4, memory_bytes=None))
    assert host.scrape() == {"machine_cpu_cores": {"": 4}}


def test_switched_off_it_says_nothing(host: Scraped) -> None:
    host.tree.add_v2(f"docker/{WEB.id}")
    host.see(WEB)
    host.view = replace(host.view, cadvisor=False, machine=Machine(cpus=4))
    assert not [name for name in host.scrape() if not name.startswith("shipkeeper_")]


@pytest.mark.parametrize("state", [ContainerState.RUNNING, ContainerState.PAUSED])
def test_one_that_runs_and_cannot_be_inspected_did_not_end(host: Scraped, state: ContainerState) -> None:
    host.see(WEB)
    host.scrape()
    unread = replace(WEB, pid=0, state=state, inspected=False, started_at=None)
    host.see(unread, at=NOW + 300)
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW + 300}
    host.see(at=NOW + 360)
    assert host.scrape()["container_last_seen"] == {BLOCK: NOW + 300}
