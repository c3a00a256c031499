from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.alerts.sink import Retry, Sent
from daemon.clock import SystemClock
from daemon.dead_mans_switch import DeadMansSwitch, heartbeat_families
from tests.fakes.crew import a_crew
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from daemon.alerts.sink import Outcome

OFTEN, SELDOM = timedelta(milliseconds=20), timedelta(hours=1)


class FakeMonitor:
    """Counts the heartbeats, and answers as told, then well."""

    def __init__(self, *answers: Outcome) -> None:
        self.answers = list(answers)
        self.beats = 0
        self.hold = threading.Event()
        self.hold.set()

    def get(self) -> Outcome:
        """Take one."""
        self.beats += 1
        self.hold.wait(30)
        return self.answers.pop(0) if self.answers else Sent()


def switch(monitor: FakeMonitor | None, every: timedelta = SELDOM, late: Sequence[str] = ()) -> DeadMansSwitch:
    return DeadMansSwitch(monitor, every, lambda: late, SystemClock(), a_crew())


def test_a_heartbeat_goes_out_at_once_and_then_again_and_again() -> None:
    monitor = FakeMonitor()
    sending = switch(monitor, OFTEN)
    sending.start()
    wait_until(lambda: monitor.beats > 3, "four heartbeats")
    sending.close()
    assert sending.stats is not None
    assert sending.stats.sent == monitor.beats
    assert [family.name for family in heartbeat_families(sending.stats)] == [
        "shipkeeper_outgoing_heartbeats_total",
        "shipkeeper_outgoing_heartbeat_failures_total",
        "shipkeeper_outgoing_heartbeat_last_success_timestamp_seconds",
    ]


def test_none_goes_out_while_a_thread_of_the_daemon_is_late() -> None:
    monitor, late = FakeMonitor(), ["watch"]
    sending = switch(monitor, late=late)
    sending.beat()
    assert (monitor.beats, sending.stats and sending.stats.last_error) == (0, "it is held back, for watch is late")
    late.clear()
    sending.beat()
    assert (monitor.beats, sending.stats and sending.stats.last_error) == (1, "")


def test_failures_are_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sending = switch(FakeMonitor(*[Retry("https://hc.example cannot be reached: timed out")] * 5))
    for _ in range(6):
        sending.beat()
    assert sending.stats is not None
    assert (sending.stats.sent, sending.stats.failures) == (1, 5)
    assert caplog.messages == [
        "the heartbeat does not go out: https://hc.example cannot be reached: timed out",
        "the heartbeat arrives again",
    ]


def test_without_an_address_there_is_neither_a_thread_nor_a_figure() -> None:
    sending = switch(None)
    before = threading.active_count()
    sending.start()
    assert threading.active_count() == before
    assert list(heartbeat_families(sending.stats)) == []
    assert sending.stats is None
    sending.close()


def test_an_address_that_is_added_or_taken_away_while_it_runs_counts_at_once() -> None:
    sending, first, second = switch(None), FakeMonitor(), FakeMonitor()
    sending.start()
    sending.adopt(first, SELDOM)
    wait_until(lambda: first.beats == 1, "the first heartbeat")
    sending.adopt(second, SELDOM)
    wait_until(lambda: second.beats == 1, "a heartbeat to the other one")
    sending.adopt(None, SELDOM)
    assert sending.stats is None
    sending.close()


def test_an_address_that_does_not_answer_does_not_hold_up_the_end() -> None:
    monitor = FakeMonitor()
    monitor.hold.clear()
    sending = switch(monitor)
    sending.start()
    wait_until(lambda: monitor.beats, "the heartbeat")
    sending.close()
    monitor.hold.set()
