"""The inventory stays true and asks no more than it must."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_errors import EngineFailure, EngineUnavailable
from collectors.engine_http import Endpoint
from collectors.facts import ContainerState, HealthStatus
from collectors.inventory import Inventory
from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.scripted_engine import ScriptedEngine

FIVE_MINUTES = timedelta(minutes=5)
INSPECT = "/containers/*/json"


class House:
    """A scripted engine with the inventory that watches it."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.api = self.connect()
        self.inventory = Inventory()

    def connect(self) -> EngineApi:
        """Make a client."""
        return EngineApi.connect(Endpoint(host=self.engine.host), timedelta(seconds=5))

    def reconcile(self, after: timedelta = timedelta(0)) -> int:
        """Let time pass, reconcile, and give how many containers were inspected for it."""
        before = self.engine.count(INSPECT)
        self.engine.now += after
        self.inventory.reconcile(self.api, self.engine.now)
        return self.engine.count(INSPECT) - before


@pytest.fixture
def house(scripted_engine: ScriptedEngine) -> Iterator[House]:
    house = House(scripted_engine)
    yield house
    house.api.close()


def test_the_first_time_everything_is_inspected(house: House) -> None:
    for n in range(20):
        house.engine.add(f"web-{n}")
    assert house.reconcile() == 20
    assert sorted(container.name for container in house.inventory.containers.values()) == sorted(
        f"web-{n}" for n in range(20)
    )


def test_a_hundred_idle_containers_cost_one_list_and_no_inspect(house: House) -> None:
    for n in range(50):
        house.engine.add(f"web-{n}", health="healthy", started_at=NOW - timedelta(minutes=10 + 7 * n))
        finished = NOW - timedelta(hours=1 + 5 * n)
        house.engine.add(f"job-{n}", state="exited", exit_code=n, finished_at=finished)
    house.reconcile()
    lists = house.engine.count("/containers/json")
    for _ in range(20):
        assert house.reconcile(FIVE_MINUTES) == 0
    assert house.engine.count("/containers/json") == lists + 20


def test_a_container_that_started_since_the_last_time_is_inspected_once_more(house: House) -> None:
    house.reconcile()
    web = house.engine.add("web", started_at=NOW + timedelta(minutes=1))
    house.engine.now += timedelta(minutes=1)
    house.inventory.look(house.api, [web.id])
    assert [house.reconcile(timedelta(minutes=4)), house.reconcile(FIVE_MINUTES), house.reconcile(FIVE_MINUTES)] == [
        1,
        0,
        0,
    ]


def test_a_restart_that_no_event_told_of_is_found(house: House) -> None:
    web = house.engine.add("web", started_at=NOW - timedelta(minutes=4))
    house.reconcile(FIVE_MINUTES)
    for uptime in (timedelta(seconds=1), timedelta(minutes=1), timedelta(minutes=4, seconds=50)):
        house.engine.now += FIVE_MINUTES
        web.started_at = house.engine.now - uptime
        assert house.reconcile() == 1
        assert house.inventory.containers[web.id].started_at == web.started_at


def test_a_second_exit_with_the_same_code_is_found(house: House) -> None:
    job = house.engine.add("job", state="exited", exit_code=1, finished_at=NOW - timedelta(days=9))
    house.reconcile()
    job.finished_at = NOW + timedelta(minutes=4)
    assert house.reconcile(FIVE_MINUTES) == 1
    assert house.inventory.containers[job.id].finished_at == job.finished_at


@pytest.mark.parametrize(
    "change", [{"name": "new"}, {"state": "paused"}, {"health": "unhealthy"}, {"state": "exited", "finished_at": NOW}]
)
def test_what_the_list_shows_to_differ_is_inspected(house: House, change: dict[str, object]) -> None:
    web = house.engine.add("web", health="healthy")
    house.engine.add("idle")
    house.reconcile()
    for field, value in change.items():
        setattr(web, field, value)
    assert house.reconcile(FIVE_MINUTES) == 1


def test_a_failed_start_of_a_container_that_had_exited_is_found(house: House) -> None:
    job = house.engine.add("job", state="exited", finished_at=NOW - timedelta(days=1))
    house.reconcile()
    job.exit_code, job.error = 126, "permission denied"
    assert house.reconcile(FIVE_MINUTES) == 1
    assert house.inventory.containers[job.id].error == "permission denied"


def test_a_created_container_is_unsettled_for_a_minute_or_until_its_start_failed(house: House) -> None:
    job = house.engine.add("job", state="created", created_at=NOW, started_at=None)
    house.reconcile()
    assert house.inventory.unsettled(NOW + timedelta(seconds=59)) == {job.id}
    assert house.inventory.unsettled(NOW + timedelta(seconds=61)) == set()
    job.error, job.exit_code = "exec: nosuch: not found", 127
    house.inventory.look(house.api, [job.id])
    assert house.inventory.unsettled(NOW) == set()
    assert house.inventory.containers[job.id].exit_code == 127


def test_a_look_inspects_just_those_and_drops_what_is_gone(house: House) -> None:
    web, gone = house.engine.add("web"), house.engine.add("gone")
    house.reconcile()
    house.engine.add("unasked")
    web.health = "unhealthy"
    del house.engine.containers[gone.id]
    before = house.inventory.containers
    house.inventory.look(house.api, [web.id, gone.id, web.id])
    assert set(house.inventory.containers) == {web.id}
    health = house.inventory.containers[web.id].health
    assert health is not None
    assert health.status is HealthStatus.UNHEALTHY
    assert set(before) == {web.id, gone.id}, "a snapshot that was handed out does not change"


def test_a_container_that_goes_away_disappears(house: House) -> None:
    web = house.engine.add("web")
    house.reconcile()
    del house.engine.containers[web.id]
    assert house.reconcile() == 0
    assert not house.inventory.containers


def test_a_container_being_removed_is_kept_as_far_as_known(house: House) -> None:
    known = house.engine.add("known", labels={"a": "b"})
    house.reconcile()
    known.state = "removing"
    unknown = house.engine.add("unknown", state="removing")
    house.reconcile()
    assert [house.inventory.containers[id_].state for id_ in (known.id, unknown.id)] == [ContainerState.REMOVING] * 2
    assert house.inventory.containers[known.id].started_at == known.started_at
    assert house.inventory.containers[unknown.id].name == "unknown"


def test_a_failure_leaves_what_was_known(house: House) -> None:
    web = house.engine.add("web")
    house.reconcile()
    house.engine.add("other")
    house.engine.statuses["/containers/json"] = 500
    with pytest.raises(EngineFailure):
        house.reconcile()
    assert set(house.inventory.containers) == {web.id}


def test_an_engine_that_dies_among_many_inspects_is_told(house: House) -> None:
    for n in range(30):
        house.engine.add(f"web-{n}")
    house.engine.hung_paths.add(INSPECT)
    house.api = EngineApi.connect(Endpoint(host=house.engine.host), timedelta(seconds=0.2))
    with pytest.raises(EngineUnavailable):
        house.reconcile()


def test_many_inspects_greet_the_engine_once(house: House) -> None:
    for n in range(30):
        house.engine.add(f"web-{n}")
    greeted = house.engine.count("/version")
    assert house.reconcile() == 30
    assert house.engine.count("/version") == greeted


@pytest.mark.parametrize("answer", ["500", "a shape of its own"])
def test_one_container_that_cannot_be_inspected_hides_no_other(
    house: House, answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken, _ = house.engine.add("broken", labels={"a": "b"}), house.engine.add("web")
    if answer == "500":
        house.engine.statuses[f"/containers/{broken.id}/json"] = 500
    else:
        broken.inspect_extra = {"State": "up"}
    for _ in range(2):
        house.reconcile()
    shown = house.inventory.containers[broken.id]
    assert (shown.inspected, shown.name, shown.state, shown.labels) == (
        False,
        "broken",
        ContainerState.RUNNING,
        {"a": "b"},
    )
    assert house.inventory.uninspected == {broken.id}
    assert len(caplog.messages) == 1, "said once"
    house.engine.statuses.clear()
    broken.inspect_extra = {}
    house.reconcile()
    assert house.inventory.containers[broken.id].inspected
    assert house.inventory.uninspected == frozenset()


def test_a_look_that_fails_over_a_container_takes_nothing_old_for_new(house: House) -> None:
    web = house.engine.add("web")
    house.reconcile()
    house.engine.statuses[f"/containers/{web.id}/json"] = 500
    house.inventory.look(house.api, [web.id, "nosuch"])
    assert not house.inventory.containers[web.id].inspected
    house.engine.statuses.clear()
    house.inventory.look(house.api, [web.id])
    assert house.inventory.containers[web.id].inspected
    assert house.inventory.uninspected == frozenset()


def test_it_all_takes_nothing_but_gets(house: House) -> None:
    house.engine.add("web")
    house.reconcile()
    house.inventory.look(house.api, list(house.inventory.containers))
    assert house.engine.non_get() == []
