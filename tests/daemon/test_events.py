"""The event reader on a scripted engine: nothing is lost in silence, nothing comes twice."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from daemon.events import EventReader
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.scripted_engine import ScriptedEngine, ScriptedEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from collectors.engine_events import Event, EventStream


class Impatient(EngineApi):
    """A client whose event streams may not be silent for long."""

    def events(self, since: str, quiet_after: timedelta = timedelta(seconds=0.1)) -> EventStream:
        """Open a stream."""
        return super().events(since, quiet_after)


class Up:
    """An engine watch that believes what it is told."""

    def __init__(self) -> None:
        self.up = threading.Event()
        self.up.set()
        self.lost = 0

    def wait_up(self, timeout: timedelta) -> bool:
        """Wait for the test to say so."""
        return self.up.wait(timeout.total_seconds())

    def report_lost(self) -> None:
        """Count."""
        self.lost += 1


class Desk:
    """A reader at its scripted engine, with what it has delivered so far."""

    def __init__(self, engine: ScriptedEngine, client: type[EngineApi] = EngineApi) -> None:
        self.engine = engine
        self.client = client
        self.signals = Up()
        self.events: list[Event] = []
        self.resyncs = 0
        self.clock = FakeClock()
        self._woken = threading.Condition()
        self.reader = EventReader(self.connect, self.signals, self.clock, self.wake, a_crew())

    def connect(self) -> EngineApi:
        """Make a client."""
        return self.client.connect(Endpoint(host=self.engine.host), timedelta(seconds=5))

    def wake(self) -> None:
        """Let the test look."""
        with self._woken:
            self._woken.notify_all()

    def wait(self, holds: Callable[[], bool]) -> bool:
        """Drain at each wake until something holds."""

        def drained() -> bool:
            batch = self.reader.drain()
            self.events += batch.events
            self.resyncs += batch.resync
            return holds()

        with self._woken:
            return self._woken.wait_for(drained, 10)

    def actions(self) -> list[str]:
        """Give the actions delivered so far."""
        return [event.action for event in self.events]

    def open(self) -> None:
        """Start, and wait until the stream is open and has asked for a resync."""
        self.reader.start()
        assert self.engine.wait_streams(1)
        assert self.wait(lambda: self.resyncs == 1)


@pytest.fixture
def desk(engine: ScriptedEngine) -> Iterator[Desk]:
    desk = Desk(engine)
    yield desk
    desk.reader.close()
    assert not desk.reader._worker.alive


@pytest.mark.parametrize("api_version", ["1.41", "1.51", "1.52"])
def test_events_are_delivered_in_order_in_every_shape(tmp_path: Path, api_version: str) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", api_version) as engine:
        desk = Desk(engine)
        desk.open()
        for action in ("create", "start", "health_status: unhealthy", "die"):
            engine.emit(action, exitCode="7")
        assert desk.wait(lambda: len(desk.events) == 4)
        assert desk.actions() == ["create", "start", "health_status: unhealthy", "die"]
        assert desk.events[-1].attributes["exitCode"] == "7"
        desk.reader.close()
        assert engine.non_get() == []


def test_a_cut_stream_resumes_without_loss_and_without_repetition(desk: Desk) -> None:
    desk.open()
    desk.engine.emit("start")
    assert desk.wait(lambda: len(desk.events) == 1)
    desk.engine.cut_streams()
    desk.engine.emit("die")
    assert desk.wait(lambda: len(desk.events) == 2 and desk.resyncs == 2)
    assert desk.actions() == ["start", "die"]
    assert desk.signals.lost == 1
    assert desk.reader.stats.reconnects == 1


def test_more_events_in_a_gap_than_the_engine_remembers_are_covered_by_the_resync(desk: Desk) -> None:
    desk.open()
    desk.engine.emit("start")
    assert desk.wait(lambda: len(desk.events) == 1)
    desk.signals.up.clear()
    desk.engine.cut_streams()
    assert desk.engine.wait_streams(0)
    for _ in range(300):
        desk.engine.emit("die")
    desk.signals.up.set()
    assert desk.wait(lambda: len(desk.events) == 257 and desk.resyncs == 2)


def test_the_resync_is_asked_for_after_the_stream_is_open(desk: Desk) -> None:
    desk.reader.start()
    assert desk.wait(lambda: desk.resyncs == 1)
    assert desk.reader.stats.connected
    assert desk.engine.count("/events") == 1


def test_an_engine_that_is_down_is_left_alone(desk: Desk) -> None:
    desk.signals.up.clear()
    desk.reader.start()
    assert not desk.signals.up.wait(0.05)
    assert desk.engine.requests.total() == 0
    desk.signals.up.set()
    assert desk.engine.wait_streams(1)


def test_a_crash_is_reported_and_the_next_engine_found(desk: Desk) -> None:
    desk.open()
    desk.engine.crash()
    assert desk.engine.wait(lambda: desk.signals.lost >= 1)
    desk.engine.listen()
    assert desk.wait(lambda: desk.resyncs == 2)
    desk.engine.emit("start")
    assert desk.wait(lambda: desk.actions() == ["start"])


def test_health_checks_are_counted_and_not_delivered(desk: Desk) -> None:
    desk.open()
    desk.engine.emit("exec_create: curl -H 'Authorization: hunter2'")
    desk.engine.emit("exec_start: curl -H 'Authorization: hunter2'")
    desk.engine.emit("exec_die", exitCode="1")
    desk.engine.emit("strange")
    desk.engine.emit("disconnect", kind="network", container="c" * 64)
    assert desk.wait(lambda: len(desk.events) == 2)
    assert desk.reader.stats.events_total == {
        ("container", "exec_create"): 1,
        ("container", "exec_start"): 1,
        ("container", "exec_die"): 1,
        ("container", "other"): 1,
        ("network", "disconnect"): 1,
    }
    assert "hunter2" not in repr(desk.reader.stats)
    assert desk.reader.stats.last_event_at == desk.events[-1].at


def test_junk_in_the_stream_is_counted_and_asks_for_a_resync(desk: Desk) -> None:
    desk.open()
    desk.engine.emit_raw(b"<html>\n")
    desk.engine.emit("die")
    desk.engine.emit_raw(b'{"Type": "cont')
    desk.engine.cut_streams()
    assert desk.wait(lambda: desk.resyncs >= 2 and desk.reader.stats.connected)
    assert desk.actions() == ["die"]
    assert desk.reader.stats.unreadable == 2


@pytest.mark.parametrize("silence", [True, False], ids=["then silence", "then its end"])
def test_half_an_event_is_read_whole_from_the_next_stream(engine: ScriptedEngine, silence: bool) -> None:  # noqa: FBT001
    desk = Desk(engine, Impatient if silence else EngineApi)
    desk.open()
    whole = json.dumps(engine.happen(ScriptedEvent("die"))).encode()
    engine.emit_raw(whole[: len(whole) // 2])
    if not silence:
        engine.cut_streams()
    assert desk.wait(lambda: desk.actions() == ["die"])
    assert desk.wait(lambda: desk.resyncs >= 2)
    assert desk.reader.stats.unreadable == 1
    desk.reader.close()


def test_a_proxy_that_cuts_every_stream_after_ten_minutes_costs_and_repeats_nothing(desk: Desk) -> None:
    desk.open()
    for number in range(1, 31):
        desk.engine.emit("start")
        desk.clock.advance(timedelta(minutes=10))
        desk.engine.now += timedelta(minutes=10)
        desk.engine.cut_streams()
        desk.engine.emit("die")
        assert desk.wait(lambda: desk.resyncs == number + 1)  # noqa: B023  called before the next round
        assert desk.wait(lambda: len(desk.events) == 2 * number)  # noqa: B023
    assert desk.actions() == ["start", "die"] * 30
    assert desk.reader.stats.reconnects == 30


def test_an_hour_without_docker_costs_no_request_and_no_line(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    desk.open()
    desk.signals.up.clear()
    desk.engine.crash()
    assert desk.engine.wait(lambda: desk.signals.lost >= 1)
    asked = desk.engine.requests.total()
    desk.clock.advance(timedelta(hours=1))
    desk.engine.listen()
    assert desk.engine.requests.total() == asked
    desk.signals.up.set()
    assert desk.wait(lambda: desk.resyncs == 2)
    assert caplog.messages == ["the event stream ended"]


def test_a_burst_is_read_as_fast_as_it_comes(desk: Desk) -> None:
    desk.open()
    for _ in range(1000):
        desk.engine.emit("die")
    assert desk.wait(lambda: len(desk.events) == 1000)
    assert desk.reader.stats.dropped == 0


def test_forbidden_events_are_no_lost_engine(desk: Desk) -> None:
    desk.engine.statuses["/events"] = 403
    desk.reader.start()
    assert desk.engine.wait(lambda: desk.engine.requests["GET", "/events"] >= 1)
    assert desk.signals.lost == 0


def test_it_ends_though_the_stream_is_silent(desk: Desk) -> None:
    desk.open()
    desk.reader.close()
    assert not desk.reader._worker.alive
    assert not desk.reader.stats.connected


class StumblingDesk(Desk):
    """A desk that fails its reader at the first event."""

    stumbled = False

    def wake(self) -> None:
        """Fail once."""
        if self.reader.stats.events_total and not self.stumbled:
            self.stumbled = True
            assert self.reader.connected
            raise RuntimeError("this once")
        super().wake()


def test_a_reader_that_dies_in_its_stream_begins_again_and_asks_for_a_resync(engine: ScriptedEngine) -> None:
    desk = StumblingDesk(engine)
    desk.open()
    engine.emit("die")
    assert desk.wait(lambda: desk.resyncs == 2)
    engine.emit("start")
    assert desk.wait(lambda: desk.actions() == ["die", "start"])
    assert (desk.stumbled, desk.reader.stats.reconnects) == (True, 1)
    desk.reader.close()
    assert not desk.reader.connected


def test_a_silent_stream_is_opened_again_without_a_word(engine: ScriptedEngine) -> None:
    desk = Desk(engine, Impatient)
    desk.open()
    assert engine.wait(lambda: engine.requests["GET", "/events"] == 4)
    engine.emit("die")
    assert desk.wait(lambda: desk.actions() == ["die"])
    assert (desk.resyncs, desk.signals.lost, desk.reader.stats.reconnects) == (1, 0, 0)
    desk.reader.close()
