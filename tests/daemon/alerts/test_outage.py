"""Slack says nothing for hours: what is kept, what is given up, and what people get when it is back."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from daemon.alerts import outbox
from daemon.alerts.lane import Lane
from daemon.alerts.sink import Retry, Sent
from daemon.steady import SteadyClock
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, DISK, DOWN, ENGINE, OK, OOM, ROOT, Story, compose, condition, occurrence

if TYPE_CHECKING:
    from daemon.alerts.message import Message
    from daemon.alerts.sink import Outcome
    from daemon.store import Store
    from policies.policy import Condition, Occurrence
    from tests.fakes.clock import FakeClock

MINUTE, HOUR, WAIT = timedelta(minutes=1), timedelta(hours=1), timedelta(seconds=20)


class MuteSlack:
    """Answers nothing until it is told to."""

    name = "slack"

    def __init__(self) -> None:
        self.mute = True
        self.tries = 0
        self.shown: list[Message] = []

    def send(self, message: Message) -> Outcome:
        """Keep the message if it may be answered."""
        self.tries += 1
        if self.mute:
            return Retry("Slack cannot be reached: no answer within 10 s")
        self.shown.append(message)
        return Sent()


class Night:
    """A lane and the rounds of a watch on one simulated clock."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store = store
        self.wall = clock
        self.clock = SteadyClock(clock, clock.now())
        self.slack = MuteSlack()
        self.story = Story()
        self.lane = self.new_lane()

    def new_lane(self) -> Lane:
        """Build the lane as a start of the daemon does."""
        return Lane(
            store=self.store,
            sink=self.slack,
            clock=self.clock,
            host="h",
            per_second=1,
            jitter=lambda: 1.0,
            abandoned=threading.Event(),
        )

    def find(self, *findings: Condition | Occurrence, after: timedelta = timedelta(0)) -> None:
        """Do a round of the watch, then work the lane and the housekeeping."""
        self.pass_time(after)
        step = self.story.step(*findings, after=after.total_seconds())
        save = partial(
            outbox.save,
            changed=step.changed,
            notices=step.notices,
            sinks=["slack"],
            group_wait=WAIT,
            now=self.clock.now(),
        )
        self.store.write(save)

    def pass_time(self, span: timedelta) -> None:
        """Let time pass as the sender's thread does: it looks when the lane says so."""
        end = self.clock.monotonic() + span.total_seconds()
        while (left := end - self.clock.monotonic()) > 0:
            pause = self.lane.send_due()
            self.wall.advance(timedelta(seconds=min(max(pause, 0.001), left)))
        self.store.write(lambda connection: outbox.prune(connection, self.clock.now()))

    def headlines(self) -> list[str]:
        """Give what people saw."""
        return [message.headline for message in self.slack.shown]


@pytest.fixture
def night(store: Store, clock: FakeClock) -> Night:
    return Night(store, clock)


def test_after_six_silent_hours_people_get_how_things_stand_and_no_storm(night: Night) -> None:
    low = condition(BAD, DISK, ROOT, reason="11.4 GiB (9 %) left")
    train = [compose("train", number) for number in range(1, 51)]
    night.find(low)
    night.find(low, *(occurrence(OOM, each) for each in train), after=HOUR)
    lower = condition(BAD, DISK, ROOT, severity=Severity.CRITICAL, reason="1.0 GiB (1 %) left")
    well = [condition(OK, OOM, each) for each in train]
    night.find(lower, *well, after=2 * HOUR)
    night.find(lower, *well, after=HOUR)
    night.find(lower, condition(BAD, DOWN, ENGINE), after=HOUR)
    night.find(lower, condition(OK, DOWN, ENGINE), after=30 * MINUTE)
    night.find(lower, condition(OK, DOWN, ENGINE), after=30 * MINUTE)
    assert night.slack.shown == []
    assert night.slack.tries < 6 * 60, "it was asked now and then, not in a storm"
    night.slack.mute = False
    night.pass_time(10 * MINUTE)
    told = night.headlines()
    told.remove("🔴 / is filling: 1.0 GiB (1 %) left · h")
    assert [line[0] for line in told] == ["🟢", "🟢"], "what is over is told as over, in one message a family"
    assert night.lane.stats.depth == 0


def test_a_restart_in_the_middle_of_the_silence_loses_nothing(night: Night) -> None:
    night.find(condition(BAD, DISK, ROOT))
    night.pass_time(HOUR)
    night.lane = night.new_lane()
    night.pass_time(HOUR)
    night.slack.mute = False
    night.pass_time(10 * MINUTE)
    assert night.headlines() == ["🟠 / is filling: it is bad · h"]


@pytest.mark.parametrize(
    ("severity", "hours"), [(Severity.CRITICAL, 72), (Severity.WARNING, 24), (Severity.INFO, 6)], ids=str
)
def test_a_message_is_kept_for_as_long_as_it_is_news(
    night: Night, severity: Severity, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    night.find(condition(BAD, DISK, ROOT, severity=severity))
    night.pass_time(hours * HOUR - MINUTE)
    assert outbox.backlog(night.store, "slack").depth == 1
    night.pass_time(2 * MINUTE)
    assert outbox.backlog(night.store, "slack").depth == 0
    assert f"gave up 1 message of severity {severity}" in caplog.text


def test_a_step_of_the_wall_clock_in_the_silence_gives_nothing_up(night: Night) -> None:
    night.find(condition(BAD, DISK, ROOT))
    night.pass_time(HOUR)
    night.wall.step(timedelta(days=365))
    night.pass_time(HOUR)
    night.wall.step(timedelta(days=-730))
    night.pass_time(HOUR)
    night.slack.mute = False
    night.pass_time(10 * MINUTE)
    assert len(night.headlines()) == 1
