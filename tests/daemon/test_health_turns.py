from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from collectors.facts import Container, ContainerState, Health, HealthStatus
from daemon.health_turns import HealthTurns
from tests.fakes.clock import FakeClock
from tests.policies.build import container

MINUTE = timedelta(minutes=1)


def web(status: HealthStatus) -> Container:
    return container("web", health=Health(status, 3 if status is HealthStatus.UNHEALTHY else 0, ""))


def test_turns_are_counted_for_half_an_hour_and_the_first_probes_are_none() -> None:
    clock = FakeClock()
    turns = HealthTurns(clock)
    for status in ("starting", "healthy", "unhealthy", "starting", "healthy", "healthy"):
        turns.look([web(HealthStatus(status)), container("plain")])
        clock.advance(MINUTE)
    assert turns.counts() == {"web": 2}
    clock.advance(30 * MINUTE)
    turns.look([web(HealthStatus.HEALTHY)])
    assert turns.counts() == {}


@pytest.mark.parametrize("state", [ContainerState.EXITED, ContainerState.PAUSED, ContainerState.RESTARTING])
def test_no_turn_is_what_docker_calls_unhealthy_because_it_does_not_probe_it(state: ContainerState) -> None:
    turns = HealthTurns(FakeClock())
    unprobed = Health(HealthStatus.UNHEALTHY, 0, "")
    turns.look([web(HealthStatus.HEALTHY)])
    for found in (replace(web(HealthStatus.UNHEALTHY), state=state), container("web", health=unprobed)):
        turns.look([found])
        assert turns.unhealthy_for() == {}
    turns.look([web(HealthStatus.HEALTHY)])
    assert turns.counts() == {}


def test_nothing_is_called_stable_before_the_whole_window_was_watched() -> None:
    clock = FakeClock()
    turns = HealthTurns(clock)
    assert not turns.settled
    clock.advance(30 * MINUTE)
    assert turns.settled


def test_a_container_that_is_gone_is_forgotten_once_its_turns_are() -> None:
    clock = FakeClock()
    turns = HealthTurns(clock)
    turns.look([web(HealthStatus.HEALTHY)])
    turns.look([web(HealthStatus.UNHEALTHY)])
    turns.forget_all_but(frozenset())
    assert turns.counts() == {"web": 1}
    clock.advance(31 * MINUTE)
    turns.look([])
    turns.forget_all_but(frozenset())
    turns.look([web(HealthStatus.HEALTHY)])
    assert turns.counts() == {}, "what came back is not compared with what was forgotten"
