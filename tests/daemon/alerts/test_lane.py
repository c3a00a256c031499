from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from daemon.alerts import outbox
from daemon.alerts.lane import IDLE_SECONDS, Lane
from daemon.alerts.sink import Rejected, Retry, SinkDown
from tests.daemon.alerts.build import OOM, Story, compose, occurrence
from tests.fakes.sink import FakeSink

if TYPE_CHECKING:
    from daemon.store import Store
    from tests.fakes.clock import FakeClock

DOWN = Retry("HTTP 500")


class Desk:
    """A lane to one sink, with messages put before it one by one."""

    def __init__(self, store: Store, clock: FakeClock, sink: FakeSink, per_second: float = 0) -> None:
        self.store = store
        self.clock = clock
        self.abandoned = threading.Event()
        self.lane = Lane(
            store=store,
            sink=sink,
            clock=clock,
            host="h",
            per_second=per_second,
            jitter=lambda: 1.0,
            abandoned=self.abandoned,
        )
        self._story = Story()

    def post(self, *names: str) -> None:
        """Put one message for each of these containers into the outbox."""
        for name in names:
            step = self._story.step(occurrence(OOM, compose("s", project=name)))
            save = partial(
                outbox.save,
                changed=step.changed,
                notices=step.notices,
                sinks=["slack"],
                group_wait=timedelta(0),
                now=self.clock.now(),
            )
            self.store.write(save)

    def after(self, seconds: float) -> float:
        """Work the lane after so many seconds."""
        self.clock.advance(timedelta(seconds=seconds))
        return self.lane.send_due()


def test_what_is_due_is_sent_once(store: Store, clock: FakeClock) -> None:
    sink = FakeSink()
    desk = Desk(store, clock, sink)
    desk.post("a", "b")
    assert desk.after(0) == IDLE_SECONDS
    desk.after(60)
    assert sink.shown == ["🟠 a-s-1 was killed for memory · h", "🟠 b-s-1 was killed for memory · h"]
    assert (desk.lane.stats.sent, desk.lane.stats.depth, desk.lane.stats.state) == (2, 0, "ok")


def test_a_burst_goes_out_and_then_the_sink_s_pace_is_kept(store: Store, clock: FakeClock) -> None:
    sink = FakeSink()
    desk = Desk(store, clock, sink, per_second=1)
    desk.post("a", "b", "c", "d", "e")
    assert desk.after(0) == pytest.approx(1)
    assert (len(sink.shown), desk.lane.stats.depth) == (3, 2)
    desk.after(0.5)
    assert len(sink.shown) == 3
    desk.after(0.5)
    desk.after(1)
    assert len(sink.shown) == 5


def test_a_failure_is_tried_again_after_ever_longer_pauses(store: Store, clock: FakeClock) -> None:
    sink = FakeSink("slack", *[DOWN] * 12)
    desk = Desk(store, clock, sink)
    desk.post("a")
    desk.after(0)
    for pause in (1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300):
        tries = len(sink.shown)
        desk.after(pause - 0.5)
        assert len(sink.shown) == tries
        desk.after(0.5)
        assert len(sink.shown) == tries + 1
    assert (desk.lane.stats.state, desk.lane.stats.last_error) == ("retrying", "HTTP 500")
    desk.after(300)
    assert (desk.lane.stats.state, desk.lane.stats.sent, desk.lane.stats.last_error) == ("ok", 1, "")


def test_a_sink_that_names_a_time_is_left_alone_for_that_long(store: Store, clock: FakeClock) -> None:
    sink = FakeSink("slack", Retry("too much", timedelta(seconds=30)))
    desk = Desk(store, clock, sink)
    desk.post("a")
    assert desk.after(0) == pytest.approx(30)
    desk.post("b")
    desk.after(29)
    assert len(sink.shown) == 1
    desk.after(1)
    assert len(sink.shown) == 3


@pytest.mark.parametrize(("named", "pause"), [(0, 1), (999_999, 3600)])
def test_an_absurd_time_is_not_taken_at_its_word(store: Store, clock: FakeClock, named: int, pause: float) -> None:
    sink = FakeSink("slack", Retry("too much", timedelta(seconds=named)))
    desk = Desk(store, clock, sink)
    desk.post("a")
    desk.after(0)
    desk.after(pause - 0.5)
    assert len(sink.shown) == 1
    desk.after(0.5)
    assert len(sink.shown) == 2


def test_a_sink_that_needs_a_person_keeps_its_messages_and_is_asked_now_and_then(
    store: Store, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FakeSink("slack", *[SinkDown("Slack said no_service: create a new webhook")] * 3)
    desk = Desk(store, clock, sink)
    desk.post("a")
    desk.after(0)
    assert desk.lane.stats.state == "down"
    desk.after(30)
    desk.after(60)
    assert caplog.text.count("create a new webhook") == 1, "it is said once, not at each try"
    desk.after(120)
    assert (desk.lane.stats.state, desk.lane.stats.sent) == ("ok", 1)


def test_a_message_that_can_never_be_delivered_is_given_up_loudly(
    store: Store, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FakeSink("slack", Rejected("invalid_payload"))
    desk = Desk(store, clock, sink)
    desk.post("a", "b")
    desk.after(0)
    assert "a message to slack is lost: invalid_payload" in caplog.text
    assert (desk.lane.stats.failed, desk.lane.stats.sent) == (1, 1)


def test_a_fault_in_the_sink_s_own_code_is_not_the_end_of_its_lane(store: Store, clock: FakeClock) -> None:
    sink = FakeSink("slack", ZeroDivisionError())
    desk = Desk(store, clock, sink)
    desk.post("a")
    desk.after(0)
    desk.after(1)
    assert desk.lane.stats.sent == 1


def test_what_a_restart_finds_unsent_is_sent(store: Store, clock: FakeClock) -> None:
    desk = Desk(store, clock, FakeSink("slack", DOWN))
    desk.post("a")
    desk.after(0)
    sink = FakeSink()
    after_restart = Desk(store, clock, sink)
    after_restart.after(1)
    assert len(sink.shown) == 1


def test_an_abandoned_lane_notes_nothing_in_a_store_that_may_be_closed(store: Store, clock: FakeClock) -> None:
    desk = Desk(store, clock, FakeSink())
    desk.post("a")
    desk.abandoned.set()
    desk.after(0)
    assert outbox.backlog(store, "slack").depth == 1
