"""The engine watch on a scripted engine: what it says, when, and what it leaves alone."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_errors import EngineUnavailable
from collectors.engine_http import Endpoint
from collectors.facts import EngineState
from daemon.engine_watch import RENEWED_EVERY, EngineWatch
from daemon.unit_state import UnitState
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.scripted_engine import HTML, NOISE, ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STOPPED_UNIT = "Id=docker.service\nLoadState=loaded\nActiveState=inactive\n\nId=docker.socket\nActiveState=active\n"
ACTIVE_UNIT = STOPPED_UNIT.replace("inactive", "active")
NOT_SYSTEMD = UnitState(concerns_us=False)


class Post:
    """An engine watch at its scripted engine, looked through by hand."""

    def __init__(self, engine: ScriptedEngine, unit_state: UnitState = NOT_SYSTEMD) -> None:
        self.engine = engine
        self.clock = FakeClock()
        self.wakes = 0
        self.changed = threading.Condition()
        self.watch = EngineWatch(self.connect, unit_state, self.clock, self.wake, a_crew())

    def connect(self) -> EngineApi:
        """Make a client that does not wait long."""
        return EngineApi.connect(Endpoint(host=self.engine.host), timedelta(seconds=0.3))

    def wake(self) -> None:
        """Count, and let a waiting test go on."""
        with self.changed:
            self.wakes += 1
            self.changed.notify_all()

    def look(self, times: int = 1) -> EngineState:
        """Look, a second apart, and give the state then."""
        for _ in range(times):
            self.clock.advance(timedelta(seconds=1))
            self.watch.look()
        return self.watch.engine.state

    def wait_state(self, state: EngineState) -> bool:
        """Wait until the thread says so."""
        with self.changed:
            return self.changed.wait_for(lambda: self.watch.engine.state is state, 15)


@pytest.fixture
def post(engine: ScriptedEngine) -> Iterator[Post]:
    post = Post(engine)
    yield post
    post.watch._drop()


def test_an_engine_that_answers_is_up_with_what_it_says_of_itself(post: Post) -> None:
    assert post.watch.engine.state is EngineState.STARTING
    assert not post.watch.wait_up(timedelta(0))
    assert post.look() is EngineState.UP
    assert post.watch.wait_up(timedelta(0))
    engine = post.watch.engine
    assert (engine.version, engine.data_root, engine.storage_driver) == ("28.5.2", "/var/lib/docker", "overlay2")
    assert post.wakes == 1


def test_while_it_is_up_only_pings_are_sent(post: Post) -> None:
    post.look()
    before = post.engine.requests.total()
    assert post.look(3) is EngineState.UP
    assert post.engine.requests.total() - before == 3
    assert post.engine.count("/_ping") == 3
    assert post.wakes == 1


@pytest.mark.parametrize(
    ("fault", "state"),
    [("crash", EngineState.CRASHED), ("stop", EngineState.STOPPED), ("freeze", EngineState.HUNG)],
)
def test_a_dead_engine_is_told_by_kind_after_three_pings_and_comes_back_at_once(
    post: Post, fault: str, state: EngineState
) -> None:
    post.look()
    getattr(post.engine, fault)()
    assert post.look(2) is EngineState.UP
    assert post.look() is state
    assert not post.watch.wait_up(timedelta(0))
    assert post.watch.engine.cure
    if fault == "freeze":
        post.engine.thaw()
    else:
        post.engine.listen()
    assert post.look() is EngineState.UP
    assert post.wakes == 3


def test_an_engine_that_is_not_there_at_the_start_is_starting_first(post: Post) -> None:
    post.engine.stop()
    assert post.look(2) is EngineState.STARTING
    assert post.look() is EngineState.STOPPED


def test_a_ping_that_a_proxy_forbids_is_denied(post: Post) -> None:
    post.look()
    post.engine.statuses["/_ping"] = 403
    post.engine.statuses["/version"] = 403
    assert post.look(3) is EngineState.DENIED


@pytest.mark.parametrize("babble", [HTML, NOISE], ids=["html", "noise"])
def test_what_answers_and_is_no_engine_is_told_with_a_cure_and_an_engine_in_its_place_is_found(
    post: Post, babble: bytes
) -> None:
    post.engine.babble = babble
    state = post.look(3)
    assert state in {EngineState.UNSUPPORTED, EngineState.HUNG, EngineState.CRASHED}
    assert post.watch.engine.why
    assert post.watch.engine.cure
    post.engine.babble = b""
    assert post.look() is EngineState.UP


@pytest.mark.parametrize("babble", [HTML, NOISE], ids=["html", "noise"])
def test_an_engine_that_becomes_something_else_is_called_down(post: Post, babble: bytes) -> None:
    post.look()
    post.engine.babble = babble
    post.watch.report_lost()
    assert post.look(4) is not EngineState.UP
    post.engine.babble = b""
    assert post.look() is EngineState.UP


def test_an_engine_that_never_answered_is_told_as_hung(post: Post) -> None:
    post.engine.freeze()
    assert post.look(2) is EngineState.STARTING
    assert post.look() is EngineState.HUNG
    post.engine.thaw()
    assert post.look() is EngineState.UP


def test_an_hour_without_docker_is_two_lines_and_one_outage(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    post.look()
    gone_at = post.clock.now()
    post.engine.crash()
    for _ in range(720):
        post.clock.advance(timedelta(seconds=4))
        post.look()
    engine = post.watch.engine
    assert engine.state is EngineState.CRASHED
    assert timedelta(0) <= engine.since - gone_at <= timedelta(seconds=10)
    assert (post.wakes, post.watch.outages) == (2, 1)
    post.engine.listen()
    post.look()
    said = [record.getMessage() for record in caplog.records if record.name.startswith("daemon")]
    assert [line.split(" ")[1:3] for line in said] == [["is", "up:"], ["is", "down"], ["is", "up:"]], said


def test_what_a_proxy_forbids_is_switched_off_with_one_line(post: Post, caplog: pytest.LogCaptureFixture) -> None:
    post.engine.statuses = {"/images/json": 403, "/info": 403}
    post.look()
    assert set(post.watch.features) == {"images", "info"}
    assert post.watch.engine.state is EngineState.UP
    assert post.watch.engine.version == "28.5.2"
    assert not post.watch.engine.described
    post.watch.report_lost()
    post.look()
    assert [record.getMessage() for record in caplog.records if "switched off" in record.getMessage()] == [
        "info switched off: Docker or a proxy before it forbids GET /v1.51/info (403)",
        "images switched off: Docker or a proxy before it forbids GET /v1.51/images/json (403)",
    ]


def test_a_host_that_joins_a_swarm_is_a_node_of_it_without_a_restart(post: Post) -> None:
    post.look()
    since = post.watch.engine.since
    post.engine.info["Swarm"] = {"LocalNodeState": "active"}
    post.engine.hung_paths.add("/info")
    post.clock.advance(RENEWED_EVERY)
    assert post.look() is EngineState.UP, "it answers pings"
    assert not post.watch.engine.swarm
    post.engine.hung_paths.clear()
    post.clock.advance(RENEWED_EVERY)
    post.look()
    assert (post.watch.engine.swarm, post.watch.engine.since) == (True, since)


def test_an_engine_upgraded_between_two_pings_is_greeted_anew(post: Post) -> None:
    post.look()
    since = post.watch.engine.since
    post.engine.crash()
    post.engine.api_version = "1.45"
    post.engine.listen()
    post.watch.report_lost()
    assert post.look() is EngineState.UP
    assert (post.watch.engine.version, post.watch.engine.since) == ("26.1.5", since)


def test_an_engine_that_somebody_stopped_is_told_at_once_and_not_touched(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    says = [ACTIVE_UNIT]
    post = Post(engine, UnitState(concerns_us=True, runner=lambda _: says[0], booted=tmp_path))
    assert post.look() is EngineState.UP
    says[0] = STOPPED_UNIT
    before = engine.requests.total()
    post.watch.report_lost()
    assert post.look(5) is EngineState.STOPPED
    assert engine.requests.total() == before, "a connection would have started it again"
    says[0] = ACTIVE_UNIT
    assert post.look() is EngineState.UP
    post.watch._drop()


def test_others_open_no_connection_while_it_is_not_up_or_a_connection_just_broke(post: Post) -> None:
    connect = post.watch.while_up(post.connect)
    post.look()
    connect().close()
    post.watch.report_lost()
    with pytest.raises(EngineUnavailable, match="being looked at"):
        connect()
    post.look()
    connect().close()
    post.engine.stop()
    post.look(4)
    post.engine.listen()
    greeted = post.engine.count("/version")
    with pytest.raises(EngineUnavailable, match=r"docker\.sock"):
        connect()
    assert post.engine.count("/version") == greeted


def test_an_engine_run_by_hand_is_up_whatever_the_unit_says(engine: ScriptedEngine, tmp_path: Path) -> None:
    unit = STOPPED_UNIT.replace("socket\nActiveState=active", "socket\nActiveState=inactive")
    post = Post(engine, UnitState(concerns_us=True, runner=lambda _: unit, booted=tmp_path))
    assert post.look() is EngineState.UP
    post.watch._drop()


def test_the_thread_tells_a_crash_and_the_return_and_ends(post: Post) -> None:
    post.watch.start()
    assert post.watch.wait_up(timedelta(seconds=10))
    post.engine.crash()
    post.watch.report_lost()
    assert post.wait_state(EngineState.CRASHED)
    post.engine.listen()
    post.watch.report_lost()
    assert post.wait_state(EngineState.UP)
    post.watch.close()
    assert not post.watch._worker.alive
    assert post.engine.non_get() == []


def test_how_long_answers_take_is_told_once_there_are_enough_and_for_five_minutes(post: Post) -> None:
    post.look(20)
    assert post.watch.answers_within is None, "the first look greets, and pings no more often than 19 times"
    post.look()
    assert post.watch.answers_within == timedelta(0), "the clock of this test stands still in an answer"
    post.clock.advance(timedelta(minutes=6))
    assert post.watch.answers_within is None
