"""Networks and volumes are read beside the cycle, and what is not known never looks like nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.facts import DiskKind, EngineState, KindUsage, Known, SourceName, Unknown, VolumeUsage
from daemon.disk_usage import DiskUsage
from daemon.log_sizes import LogSizes
from daemon.stock import take_stock
from daemon.storage import EVERY, StorageLane
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.engine_view import FakeEngineView
from tests.policies.build import container, record

if TYPE_CHECKING:
    from datetime import datetime

    from tests.lab.scripted_engine import ScriptedEngine

NETWORK = {"Id": "n" * 64, "Name": "shop", "Scope": "local", "Driver": "bridge"}
VOLUME = {"Name": "data", "Driver": "local", "Scope": "local", "Mountpoint": "/v/data/_data"}
NO_USAGE = DiskUsage(usages={}, errors={})
MADE = NOW - timedelta(minutes=5)


class Lane:
    """The lane at a scripted engine that has a network and a volume."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.engine.networks, self.engine.volumes = [NETWORK], [VOLUME]
        self.clock = FakeClock()
        self.view = FakeEngineView()
        self.lane = StorageLane(self.connect, lambda: self.view.engine, self.clock)

    def connect(self) -> EngineApi:
        """Make a client that does not wait for long."""
        return EngineApi.connect(Endpoint(host=self.engine.host), timedelta(seconds=0.5))

    def known(self) -> list[str]:
        """Give the names of what is known."""
        return [each.ref.name for each in self.lane.networks.objects] + [
            each.name for each in self.lane.volumes.objects
        ]

    def why(self) -> tuple[str, str]:
        """Give why networks and volumes are unknown; empty for what is known."""
        sources = self.lane.networks.source, self.lane.volumes.source
        first, second = ("" if isinstance(source, Known) else source.why for source in sources)
        return first, second


@pytest.fixture
def lane(engine: ScriptedEngine) -> Lane:
    return Lane(engine)


def test_before_the_first_answer_nothing_is_known(lane: Lane) -> None:
    assert (lane.known(), lane.why()) == ([], ("not read yet", "not read yet"))


def test_what_was_read_is_known_by_gets_alone(lane: Lane) -> None:
    lane.lane.read()
    assert (lane.known(), lane.why()) == (["shop", "data"], ("", ""))
    assert lane.engine.non_get() == []


def test_what_docker_does_not_tell_costs_only_itself(lane: Lane) -> None:
    lane.engine.statuses["/volumes"] = 500
    lane.lane.read()
    assert lane.known() == ["shop"]
    assert "500" in lane.why()[1]


def test_what_a_proxy_forbids_is_unknown_and_not_none_at_all(lane: Lane) -> None:
    lane.engine.statuses["/networks"] = 403
    lane.lane.read()
    assert lane.known() == ["data"]
    assert "forbids GET" in lane.why()[0]


def test_an_answer_grows_too_old(lane: Lane) -> None:
    lane.lane.read()
    lane.view.set(EngineState.HUNG)
    lane.clock.advance(3 * EVERY)
    lane.lane.read()
    assert lane.known() == ["shop", "data"]
    lane.clock.advance(timedelta(seconds=1))
    assert (lane.known(), lane.why()) == ([], ("the last answer is too old",) * 2)


def test_an_engine_that_goes_away_in_the_middle_is_asked_again(lane: Lane) -> None:
    lane.engine.crash()
    lane.lane.read()
    assert lane.known() == []
    lane.engine.listen()
    lane.lane.read()
    assert lane.known() == ["shop", "data"]


def test_the_stock_adds_what_volumes_take(lane: Lane) -> None:
    lane.lane.read()
    told = VolumeUsage(path="/v/data/_data", size_bytes=5, unused=False, name="data", references=2)
    usage = KindUsage(
        kind=DiskKind.VOLUMES, at=NOW, size_bytes=5, reclaimable_bytes=0, count=1, active=1, volumes=(told,)
    )
    stock = take_stock(lane.lane, DiskUsage(usages={DiskKind.VOLUMES: usage}, errors={}), None, NOW)
    [volume] = stock.volumes
    assert (volume.size_bytes, volume.references, volume.dangling) == (5, 2, True)


@pytest.mark.parametrize(("measured", "size"), [(MADE, 5), (MADE - timedelta(hours=1), None), (None, 5)])
def test_what_a_volume_took_is_not_said_of_another_of_its_name(
    lane: Lane, measured: datetime | None, size: int | None
) -> None:
    lane.engine.volumes = [VOLUME | {"CreatedAt": MADE.isoformat()}]
    lane.lane.read()
    told = VolumeUsage(
        path="/v/data/_data", size_bytes=5, unused=False, name="data", references=size, created_at=measured
    )
    usage = KindUsage(
        kind=DiskKind.VOLUMES, at=NOW, size_bytes=5, reclaimable_bytes=0, count=1, active=1, volumes=(told,)
    )
    [volume] = take_stock(lane.lane, DiskUsage(usages={DiskKind.VOLUMES: usage}, errors={}), None, NOW).volumes
    assert (volume.size_bytes, volume.references) == (size, size)


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        (NO_USAGE, "not read yet"),
        (DiskUsage(usages={}, errors={DiskKind.BUILD_CACHE: "it hangs"}), "it hangs"),
    ],
)
def test_a_build_cache_that_nobody_told_of_is_unknown(lane: Lane, usage: DiskUsage, why: str) -> None:
    source = take_stock(lane.lane, usage, None, NOW).sources[SourceName.BUILD_CACHE]
    assert source == Unknown(why, NOW)


def test_a_build_cache_of_which_only_the_sum_is_told_is_unknown(lane: Lane) -> None:
    summed = KindUsage(kind=DiskKind.BUILD_CACHE, at=NOW, size_bytes=5, reclaimable_bytes=0, count=1, active=1)
    told = KindUsage(
        kind=DiskKind.BUILD_CACHE,
        at=NOW,
        size_bytes=5,
        reclaimable_bytes=0,
        count=1,
        active=1,
        build_records=(record(),),
    )
    found = [
        take_stock(lane.lane, DiskUsage(usages={DiskKind.BUILD_CACHE: usage}, errors={}), None, NOW)
        for usage in (summed, told)
    ]
    assert [isinstance(each.sources[SourceName.BUILD_CACHE], Known) for each in found] == [False, True]
    assert [len(each.build_records) for each in found] == [0, 1]


def test_logs_are_unknown_while_one_of_them_is(lane: Lane) -> None:
    for problem, known in (("", True), ("permission denied", False)):
        logs = LogSizes(at=NOW, sizes=((container(), 7),), families=(), problem=problem)
        stock = take_stock(lane.lane, NO_USAGE, logs, NOW)
        assert isinstance(stock.sources[SourceName.LOGS], Known) is known
        assert [each.size_bytes for each in stock.logs] == [7]
