from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.facts import DiskKind, EngineState
from daemon.disk_usage import REST, UsageLane
from tests.collectors.test_disk_usage import LEGACY, SUMMARY
from tests.fakes.clock import FakeClock
from tests.fakes.engine_view import FakeEngineView
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collectors.facts import KindUsage

DF = "/system/df"
MINUTE = timedelta(minutes=1)
SIZES = {
    DiskKind.IMAGES: 1600,
    DiskKind.CONTAINER_LAYERS: 42,
    DiskKind.VOLUMES: 13,
    DiskKind.BUILD_CACHE: 310,
}


class TakingTime(EngineApi):
    """An engine whose every answer takes as long as a test says."""

    clock: FakeClock
    takes = timedelta(0)
    meanwhile: Callable[[], None]

    def disk_usage(self, *arguments: Any) -> dict[DiskKind, KindUsage]:
        """Let time pass."""
        self.clock.advance(self.takes)
        self.meanwhile()
        return dict(super().disk_usage(*arguments))


class Lane:
    """The lane at a scripted engine."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.clock = FakeClock()
        self.view = FakeEngineView()
        self.takes = timedelta(0)
        self.stuck: list[str] = []
        """What was said of it while the engine was asked."""
        self.lane = UsageLane(self.connect, lambda: self.view.engine, self.clock, patience=timedelta(seconds=0.3))

    def connect(self) -> EngineApi:
        """Make a client."""
        api = TakingTime.connect(Endpoint(host=self.engine.host), timedelta(seconds=5))
        assert isinstance(api, TakingTime)
        api.clock, api.takes = self.clock, self.takes
        api.meanwhile = lambda: self.stuck.append(self.lane.stuck)
        return api

    def minutes(self, count: int) -> Counter[str]:
        """Let the job run once a minute, and count what was asked for."""
        self.engine.usage_asked.clear()
        for _ in range(count):
            self.clock.advance(MINUTE)
            self.lane.measure()
        return Counter(" ".join(types) for types in self.engine.usage_asked)

    def sizes(self) -> dict[DiskKind, int | None]:
        """Give what is known."""
        return {kind: usage.size_bytes for kind, usage in self.lane.latest.usages.items()}


@pytest.fixture(params=["1.41", "1.51", "1.52"])
def lane(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lane]:
    with ScriptedEngine(tmp_path / "docker.sock", request.param) as engine:
        engine.disk_usage = LEGACY if request.param != "1.52" else LEGACY | SUMMARY
        yield Lane(engine)


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Lane]:
    with ScriptedEngine(tmp_path / "docker.sock") as engine:
        engine.disk_usage = LEGACY
        yield Lane(engine)


def test_every_version_is_asked_as_it_understands_and_tells_all(lane: Lane) -> None:
    assert lane.sizes() == {}
    asked = lane.minutes(1)
    assert lane.sizes() == SIZES
    assert {usage.at for usage in lane.lane.latest.usages.values()} == {lane.clock.now()}
    assert lane.lane.latest.errors == {}
    if lane.engine.api_version == "1.41":
        assert asked == {"": 1}
    else:
        assert asked == {"image": 1, "container": 1, "volume": 1, "build-cache": 1}
    assert lane.engine.non_get() == []


def test_what_makes_the_engine_walk_is_asked_for_less_often(new: Lane) -> None:
    assert new.minutes(60) == {"image": 12, "build-cache": 12, "container": 4, "volume": 4}


def test_an_old_engine_that_can_only_tell_all_is_asked_for_all_less_often(tmp_path: Path) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", "1.41") as engine:
        engine.disk_usage = LEGACY
        assert Lane(engine).minutes(60) == {"": 4}


def test_an_engine_that_takes_long_is_left_alone_twenty_times_as_long(new: Lane) -> None:
    new.takes = 5 * MINUTE
    new.minutes(1)
    assert new.sizes() == SIZES
    rest = REST * 5
    assert new.minutes(rest - 20) == {}
    assert sum(new.minutes(40).values()) == len(SIZES)


def test_an_answer_that_never_comes_is_given_up_and_costs_its_own_kind_only(new: Lane) -> None:
    new.engine.hung_paths.add(DF)
    new.minutes(1)
    assert new.sizes() == {}
    assert set(new.lane.latest.errors) == set(SIZES)
    new.engine.hung_paths.clear()
    new.minutes(15)
    assert new.sizes() == SIZES
    assert new.lane.latest.errors == {}


def test_an_answer_that_does_not_come_is_told_until_one_does(new: Lane) -> None:
    new.engine.hung_paths.add(DF)
    new.minutes(1)
    assert new.lane.stuck == "it did not tell within 0.3 s what build cache, container layers, images, volumes take"
    new.engine.hung_paths.clear()
    new.minutes(15)
    assert new.lane.stuck == ""


def test_while_an_answer_takes_long_that_is_told(new: Lane) -> None:
    new.takes = 4 * MINUTE
    new.minutes(1)
    assert set(new.stuck) == {""}
    new.stuck.clear()
    new.takes = 7 * MINUTE
    new.minutes(20 * 20)
    assert new.stuck[0] == "it has been working out what images take for 7 min"
    assert new.lane.stuck == ""


def test_a_failure_keeps_the_last_figures_until_they_are_too_old(new: Lane, caplog: pytest.LogCaptureFixture) -> None:
    new.minutes(1)
    new.engine.statuses[DF] = 500
    new.minutes(10)
    assert new.sizes() == SIZES
    assert set(new.lane.latest.errors) == {DiskKind.IMAGES, DiskKind.BUILD_CACHE}
    new.minutes(60)
    assert new.sizes() == {}
    assert set(new.lane.latest.errors) == set(SIZES)
    told = [message for message in caplog.messages if message.startswith("what images take is not known")]
    assert len(told) == 1
    assert "500" in told[0]


def test_a_proxy_that_forbids_it_is_told_of(new: Lane, caplog: pytest.LogCaptureFixture) -> None:
    new.engine.statuses[DF] = 403
    new.minutes(3)
    assert "403" in new.lane.latest.errors[DiskKind.VOLUMES]
    assert len(caplog.messages) == len(SIZES)


def test_an_engine_that_is_not_up_is_not_asked(new: Lane) -> None:
    new.view.set(EngineState.HUNG)
    assert new.minutes(10) == {}
    new.view.set(EngineState.UP)
    new.engine.crash()
    assert new.minutes(3) == {}
    new.engine.listen()
    new.minutes(1)
    assert new.sizes() == SIZES


def test_an_engine_without_a_build_cache_tells_nothing_of_it(new: Lane) -> None:
    new.engine.disk_usage = {key: value for key, value in LEGACY.items() if key != "BuildCache"}
    new.minutes(1)
    assert DiskKind.BUILD_CACHE not in new.sizes()
    assert new.lane.latest.errors == {DiskKind.BUILD_CACHE: "Docker does not tell of it"}
