from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from daemon.distant import CLIENTS, DistantReadings
from tests.fakes.cgroup_tree import a_container
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collectors.facts import Container
    from tests.lab.scripted_engine import ScriptedEngine


def running(engine: ScriptedEngine, count: int) -> list[Container]:
    """Let so many containers run that tell how many processes they have."""
    added = [engine.add(f"web-{number}") for number in range(count)]
    for each in added:
        engine.stats[each.id] = {"read": "2026-11-23T16:02:00Z", "pids_stats": {"current": 3}}
    return [a_container(id=each.id) for each in added]


def of(engine: ScriptedEngine, patience: timedelta = timedelta(seconds=5)) -> DistantReadings:
    return DistantReadings(partial(EngineApi.connect, Endpoint(host=engine.host), patience), FakeClock())


def test_every_container_is_asked_for_once_and_by_get(engine: ScriptedEngine) -> None:
    containers = running(engine, 10)
    found = of(engine).read(containers)
    assert {id_: reading.pids for id_, reading in found.items()} == {each.id: 3 for each in containers}
    assert engine.count("*/stats") == 10
    assert engine.count("*/version") <= CLIENTS
    assert engine.non_get() == []


def test_where_nothing_is_out_of_reach_docker_is_not_asked(engine: ScriptedEngine) -> None:
    assert of(engine).read([]) == {}
    assert not engine.requests


def test_one_that_fails_costs_itself_only(engine: ScriptedEngine) -> None:
    containers = running(engine, 5)
    engine.statuses[f"/containers/{containers[2].id}/stats"] = 500
    engine.stats[containers[3].id] = {"read": 7}
    del engine.stats[containers[4].id]
    assert of(engine).read(containers).keys() == {each.id for each in containers[:2]}


def test_an_engine_that_is_gone_costs_the_figures_and_nothing_else(engine: ScriptedEngine) -> None:
    containers = running(engine, 5)
    engine.stop()
    assert of(engine).read(containers) == {}


def test_an_engine_that_hangs_is_given_up_after_one_answer(engine: ScriptedEngine) -> None:
    containers = running(engine, 3 * CLIENTS)
    engine.hung_paths.add("*/stats")
    assert of(engine, timedelta(milliseconds=500)).read(containers) == {}
    assert engine.count("*/stats") == CLIENTS
