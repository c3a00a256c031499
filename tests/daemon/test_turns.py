from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from collectors.facts import ContainerState, Health, HealthStatus
from daemon.store import Store
from daemon.turns import Turns
from tests.fakes.clock import FakeClock
from tests.policies.build import HOUR, container

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEB = container("web")
assert WEB.started_at is not None
LATER = WEB.started_at + HOUR


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, FakeClock())
    yield opened
    opened.close()


@pytest.fixture
def turns(store: Store) -> Turns:
    """Give one that has seen the container run."""
    found = Turns(store)
    found.look([WEB])
    return found


def told(turns: Turns, **changes: object) -> tuple[int, int, HealthStatus | None] | None:
    """Give what is told of the container after these changes: restarts by policy, other starts, health."""
    found = turns.look([replace(WEB, **changes)])  # type: ignore[arg-type]  # the caller names fields of Container
    return next(((turn.policy_restarts, turn.starts, turn.health) for turn in found), None)


def health(status: HealthStatus) -> Health:
    return Health(status, 3 if status is HealthStatus.UNHEALTHY else 0, "")


def test_what_lies_there_at_the_very_first_look_is_no_news(store: Store) -> None:
    old = replace(WEB, restart_count=7, health=health(HealthStatus.UNHEALTHY))
    assert Turns(store).look([old]) == ()


def test_the_restarts_of_a_container_that_came_since_are_news(turns: Turns) -> None:
    [turn] = turns.look([WEB, container("new", restart_count=3)])
    assert (turn.container.name, turn.policy_restarts, turn.starts) == ("new", 3, 0)


def test_docker_counts_the_restarts_of_its_policy(turns: Turns) -> None:
    assert told(turns, restart_count=2, started_at=LATER) == (2, 0, None)


def test_a_restart_that_docker_waits_for_is_counted_once(turns: Turns) -> None:
    assert told(turns, restart_count=1, state=ContainerState.RESTARTING) == (1, 0, None)
    assert told(turns, restart_count=1, started_at=LATER) is None


def test_a_start_that_docker_does_not_count_is_somebodys(turns: Turns) -> None:
    assert told(turns, state=ContainerState.EXITED) is None
    assert told(turns, started_at=LATER) == (0, 1, None)


def test_after_a_start_by_hand_dockers_count_begins_anew(turns: Turns) -> None:
    assert told(turns, restart_count=5, started_at=LATER) == (5, 0, None)
    assert told(turns, restart_count=1, started_at=LATER + HOUR) == (1, 1, None)


def test_a_first_start_is_no_restart(turns: Turns) -> None:
    created = replace(container("new"), state=ContainerState.CREATED, started_at=None)
    assert turns.look([WEB, created]) == ()
    assert turns.look([WEB, replace(created, state=ContainerState.RUNNING, started_at=LATER)]) == ()


def test_another_health_is_told_once(turns: Turns) -> None:
    assert told(turns, health=health(HealthStatus.STARTING)) is None
    assert told(turns, health=health(HealthStatus.HEALTHY)) == (0, 0, HealthStatus.HEALTHY)
    assert told(turns, health=Health(HealthStatus.HEALTHY, 0, "another output")) is None
    assert told(turns, health=health(HealthStatus.UNHEALTHY)) == (0, 0, HealthStatus.UNHEALTHY)


@pytest.mark.parametrize("state", [ContainerState.EXITED, ContainerState.PAUSED])
def test_what_docker_says_of_the_health_of_what_it_does_not_probe_is_no_turn(
    turns: Turns, state: ContainerState
) -> None:
    healthy, unprobed = health(HealthStatus.HEALTHY), Health(HealthStatus.UNHEALTHY, 0, "")
    told(turns, health=healthy)
    assert told(turns, health=unprobed, state=state) is None
    assert told(turns, health=unprobed) is None, "it runs again, and was not probed yet"
    assert told(turns, health=healthy) is None
    assert told(turns, health=health(HealthStatus.STARTING)) == (0, 0, HealthStatus.STARTING)


def test_what_turned_while_we_were_away_is_told(store: Store, turns: Turns) -> None:
    store.write(turns.save)
    turns.saved()
    assert told(Turns(store), restart_count=2, started_at=LATER) == (2, 0, None)


def test_a_container_that_is_gone_is_forgotten(store: Store, turns: Turns) -> None:
    store.write(turns.save)
    turns.saved()
    turns.look([])
    store.write(turns.save)
    assert store.read("SELECT * FROM lives", ()) == []


def test_a_container_that_cannot_be_inspected_tells_nothing(turns: Turns) -> None:
    assert turns.look([replace(WEB, inspected=False, restart_count=0, started_at=None)]) == ()


def test_what_a_container_was_through_before_it_could_not_be_inspected_is_no_news_after(turns: Turns) -> None:
    told(turns, restart_count=7)
    assert told(turns, inspected=False, started_at=None) is None
    assert told(turns, restart_count=8, started_at=LATER) == (1, 0, None)


def test_what_could_not_be_inspected_at_first_brings_no_news_of_its_past(store: Store) -> None:
    turns = Turns(store)
    assert turns.look([replace(WEB, inspected=False, started_at=None)]) == ()
    assert told(turns, restart_count=7) is None
    assert told(turns, restart_count=8, started_at=LATER) == (1, 0, None)
