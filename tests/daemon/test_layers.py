from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.facts import Container, SourceName, Unknown
from daemon.decide import Decision
from daemon.layers import PATIENCE, LayerSizes
from daemon.snapshot import Snapshot
from policies.policy import Removal
from tests.fakes.clock import NOW, FakeClock
from tests.lab.scripted_engine import ScriptedEngine
from tests.policies.build import DAY, container, exited, facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INSPECT = "/containers/*/json"


class Lane:
    """The lane at a scripted engine, with the containers that a cleanup would remove."""

    def __init__(self, engine: ScriptedEngine, clock: FakeClock) -> None:
        self.engine = engine
        self.snapshot: Snapshot | None = None
        self.sizes = LayerSizes(self.connect, lambda: self.snapshot, clock)

    def connect(self) -> EngineApi:
        """Make a client that does not wait for long."""
        return EngineApi.connect(Endpoint(host=self.engine.host), timedelta(seconds=0.2))

    def plan(self, *names: str, docker: bool = True) -> list[Container]:
        """Let these be candidates, beside one that is not."""
        candidates = [exited(name, ago=9 * DAY) for name in names]
        for each in candidates:
            self.engine.add(each.name).inspect_extra = {"SizeRw": 4096}
        world = facts(containers=[*candidates, container("running")])
        if not docker:
            world = facts(sources={SourceName.DOCKER: Unknown("gone", NOW)})
        removals = tuple(
            Removal(object=c.ref, size_bytes=None, filesystem="", policy="p", reason="") for c in candidates
        )
        decision = Decision((), removals, (), frozenset(), {})
        self.snapshot = Snapshot(facts=world, taken_at=0.0, decision=decision, alerts={}, counters={}, complete=True)
        return candidates


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        yield Lane(engine, FakeClock())


def test_before_the_first_cycle_and_without_docker_nothing_is_asked(lane: Lane) -> None:
    assert not lane.sizes.measure()
    lane.plan("old", docker=False)
    assert not lane.sizes.measure()
    assert lane.engine.requests.total() == 0


def test_candidates_are_measured_once(lane: Lane) -> None:
    [a, b] = lane.plan("a", "b")
    assert lane.sizes.measure()
    assert lane.sizes.latest() == {a.id: 4096, b.id: 4096}
    assert not lane.sizes.measure()
    assert lane.engine.count(INSPECT) == 2


def test_one_that_cannot_be_measured_costs_only_its_own_size_and_is_not_asked_again(lane: Lane) -> None:
    [a, b, c] = lane.plan("a", "b", "c")
    lane.engine.statuses[f"/containers/{a.id}/json"] = 500
    lane.engine.hung_paths.add(f"/containers/{b.id}/json")
    assert lane.sizes.measure()
    assert lane.sizes.latest() == {c.id: 4096}
    assert not lane.sizes.measure()
    assert lane.engine.count(INSPECT) == 3


def test_an_engine_that_is_gone_is_asked_again_next_time(lane: Lane) -> None:
    lane.plan("a")
    lane.engine.crash()
    assert not lane.sizes.measure()
    lane.engine.listen()
    assert lane.sizes.measure()


def test_a_round_ends_when_its_time_is_up_and_the_next_goes_on(tmp_path: Path) -> None:
    class Slow(FakeClock):
        """Each look at it costs most of a round."""

        def monotonic(self) -> float:
            self.advance(PATIENCE * 0.6)
            return super().monotonic()

    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        lane = Lane(engine, Slow())
        lane.plan("a", "b", "c")
        rounds = 0
        while lane.sizes.measure():
            rounds += 1
        assert (rounds, len(lane.sizes.latest())) == (3, 3)


def test_one_that_was_started_again_is_measured_anew(lane: Lane) -> None:
    [a] = lane.plan("a")
    lane.sizes.measure()
    lane.plan()
    assert not lane.sizes.measure()
    assert lane.sizes.latest() == {}
    lane.plan("a")
    lane.engine.containers[a.id].inspect_extra = {"SizeRw": 8192}
    assert lane.sizes.measure()
    assert lane.sizes.latest() == {a.id: 8192}
