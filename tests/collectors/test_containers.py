from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.containers import ContainerCollector, View
from collectors.engine_families import engine_families
from collectors.facts import ContainerState, Engine, EngineState, Health, HealthStatus
from collectors.reading import MemoryMarks, Reading
from tests.collectors.page import shown
from tests.fakes.cgroup_tree import STARTED, CgroupTree, a_container
from tests.fakes.clock import NOW
from tests.policies.build import compose

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from collectors.facts import Container
    from collectors.families import Family


@pytest.fixture
def tree(tmp_path: Path) -> CgroupTree:
    return CgroupTree(tmp_path)


def series(families: Iterable[Family], name: str) -> dict[str, float]:
    return shown(families)[f"shipkeeper_{name}"]


def of(tree: CgroupTree, container: Container, name: str) -> dict[str, float]:
    return series(collector_of(tree, [container]).collect(), f"container_{name}")


def collector_of(tree: CgroupTree, containers: list[Container]) -> ContainerCollector:
    return ContainerCollector(tree.reader, lambda: View(containers=tuple(containers)))


def test_a_running_container_has_its_figures(tree: CgroupTree) -> None:
    web = a_container()
    tree.add_v2(f"docker/{web.id}")
    assert of(tree, web, "memory_usage_bytes") == {'{id="000000000001",name="web-1"}': 100 << 20}


def test_a_container_whose_cgroup_is_gone_has_a_state_and_no_figures(tree: CgroupTree) -> None:
    web = a_container()
    assert of(tree, web, "memory_usage_bytes") == {}
    assert of(tree, web, "state") == {'{id="000000000001",name="web-1",state="running"}': 1}


def test_the_restart_policy_of_one_that_cannot_be_inspected_is_left_open(tree: CgroupTree) -> None:
    [read] = of(tree, a_container(), "info")
    assert 'restart_policy="no"' in read
    [unread] = of(tree, a_container(inspected=False), "info")
    assert 'restart_policy=""' in unread


def test_a_cgroup_that_vanishes_between_two_scrapes_costs_its_figures(tree: CgroupTree) -> None:
    web = a_container()
    directory = tree.add_v2(f"docker/{web.id}")
    collector = collector_of(tree, [web])
    assert series(collector.collect(), "container_pids")
    shutil.rmtree(directory)
    assert not series(collector.collect(), "container_pids")


def test_an_unlimited_container_has_no_limit_series(tree: CgroupTree) -> None:
    web = a_container()
    (tree.add_v2(f"docker/{web.id}") / "memory.max").write_text("max\n")
    assert of(tree, web, "memory_limit_bytes") == {}


def test_only_a_container_that_ended_has_an_exit_code(tree: CgroupTree) -> None:
    running = a_container(finished_at=STARTED)
    ended = a_container(state=ContainerState.EXITED, pid=0, exit_code=7, finished_at=STARTED + timedelta(hours=1))
    assert of(tree, running, "exit_code") == {}
    assert list(of(tree, ended, "exit_code").values()) == [7]
    assert list(of(tree, ended, "finished_timestamp_seconds").values()) == [(STARTED + timedelta(hours=1)).timestamp()]


def test_a_new_inspect_gives_new_labels(tree: CgroupTree) -> None:
    current = [a_container(health=Health(HealthStatus.STARTING, 0, ""))]
    collector = collector_of(tree, current)
    assert list(series(collector.collect(), "container_health")) == [
        '{id="000000000001",name="web-1",status="starting"}'
    ]
    current[0] = replace(current[0], name="renamed", health=None)
    assert list(series(collector.collect(), "container_health")) == ['{id="000000000001",name="renamed",status="none"}']


def test_the_engine_is_up_only_when_it_is_up() -> None:
    up = Engine(state=EngineState.UP, since=NOW, version="28.5.1", api_version="1.51", storage_driver="overlay2")
    assert series(engine_families(up), "docker_up") == {"": 1}
    for state in set(EngineState) - {EngineState.UP}:
        assert series(engine_families(replace(up, state=state)), "docker_up") == {"": 0}


def test_an_engine_never_reached_has_no_info() -> None:
    never = Engine(state=EngineState.STARTING, since=NOW)
    assert [family.name for family in engine_families(never)] == ["shipkeeper_docker_up"]


def test_where_the_cgroup_is_out_of_reach_dockers_statistics_are_shown(tree: CgroupTree) -> None:
    web = a_container()
    view = View(containers=(web,), stats={web.id: Reading(pids=7)})
    families = list(ContainerCollector(tree.reader, lambda: view).collect())
    assert list(series(families, "container_pids").values()) == [7]
    assert series(families, "container_memory_rss_bytes") == {}


def test_who_keeps_restarting_is_told_under_the_labels_that_outlive_it(tree: CgroupTree) -> None:
    web, other = a_container(labels=compose("shop", "web")), a_container(2, inspected=False)
    view = View(containers=(web, other), looping={"shop/web/1"})
    name = "container_restart_looping"
    assert series(ContainerCollector(tree.reader, lambda: view).collect(), name) == {
        '{name="web-1",compose_project="shop",compose_service="web"}': 1
    }
    calm, unknown = View(containers=(web,), looping=()), View(containers=(web,))
    assert list(series(ContainerCollector(tree.reader, lambda: calm).collect(), name).values()) == [0]
    assert series(ContainerCollector(tree.reader, lambda: unknown).collect(), name) == {}


def test_the_writable_layer_is_told_of_who_ended_too_once_it_was_measured(tree: CgroupTree) -> None:
    web, ended = a_container(), a_container(2, state=ContainerState.EXITED, pid=0)
    view = View(containers=(web, ended), layer_bytes={ended.id: 0})
    families = ContainerCollector(tree.reader, lambda: view).collect()
    assert series(families, "container_writable_layer_bytes") == {'{id="000000000002",name="web-2"}': 0}


def test_what_befell_the_memory_comes_from_the_sampler(tree: CgroupTree) -> None:
    web = a_container()
    view = View(containers=(web,), marks={web.id: MemoryMarks(peak_bytes=9, oom_kills=1)})
    families = list(ContainerCollector(tree.reader, lambda: view).collect())
    assert list(series(families, "container_memory_peak_bytes").values()) == [9]
    assert series(families, "container_memory_limit_hits_total") == {}
