from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon.alerts import outbox
from daemon.alerts.pusher import AT_ONCE, EVERY, Push, Pusher
from daemon.alerts.sink import Rejected, Retry, Sent, SinkDown
from daemon.steady import SteadyClock
from daemon.store import Store
from tests.daemon.alerts.build import BAD, DISK, OK, OOM, ROOT, Story, compose, condition, occurrence
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from daemon.alerts.lifecycle import Step
    from daemon.alerts.sink import Outcome

DOWN = SinkDown("http://am:9093 answered HTTP 404: nothing is there: check [alertmanager] urls")


class FakeAlertmanager:
    """Keeps the lists that it is given and answers as told, then with `Sent`."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)
        self.lists: list[list[Mapping[str, Any]]] = []
        self.hold = threading.Event()
        self.hold.set()

    def post(self, document: object) -> Outcome:
        """Keep it."""
        assert isinstance(document, list)
        self.lists.append(document)
        self.hold.wait(30)
        answer = self.answers.pop(0) if self.answers else Sent()
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def names(self) -> list[str]:
        """What the last list told of."""
        return [alert["labels"]["alertname"] for alert in self.lists[-1]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    opened = Store.open(tmp_path, clock)
    yield opened
    opened.close()


@pytest.fixture
def story() -> Story:
    return Story()


class World:
    """One push with its surroundings."""

    def __init__(self, store: Store, clock: FakeClock, *answers: Outcome | Exception) -> None:
        self.store = store
        self.clock = clock
        self.steady = SteadyClock(clock, clock.now())
        self.there = FakeAlertmanager(*answers)
        self.push = Push("alertmanager", self.there, store=store, clock=clock, steady=self.steady, host="h")
        self.worker = a_crew(clock).worker("alertmanager", lambda: None)

    def save(self, step: Step) -> None:
        """Remember what a step changed."""
        now = self.steady.now()
        self.store.write(lambda inside: outbox.save(inside, step.changed, step.notices, [], timedelta(0), now))

    def send(self, after: timedelta = timedelta(0)) -> timedelta:
        """Push once, so much later."""
        self.clock.advance(after)
        return self.push.send(self.worker)


@pytest.fixture
def world(store: Store, clock: FakeClock) -> World:
    return World(store, clock)


def test_what_the_store_holds_as_told_is_pushed_also_after_a_restart(world: World, story: Story) -> None:
    world.save(story.step(condition(BAD, DISK, ROOT), occurrence(OOM)))
    assert world.send() == EVERY
    assert sorted(world.there.names) == ["ContainerOomKilled", "DiskLow"]
    anew = World(world.store, world.clock)
    anew.send()
    assert anew.there.lists == world.there.lists


def test_what_is_only_pending_or_long_over_is_not_pushed(world: World, story: Story) -> None:
    world.save(story.step(occurrence()))
    world.send()
    assert world.there.lists == [[]]
    world.save(story.step(condition(BAD, DISK, ROOT), after=60))
    world.save(story.step(condition(OK, DISK, ROOT), after=60))
    world.save(story.step(condition(OK, DISK, ROOT), after=300))
    world.send()
    assert "DiskLow" in world.there.names
    anew = World(world.store, world.clock)
    anew.send(timedelta(minutes=16))
    assert "DiskLow" not in anew.there.names


def test_an_address_is_tried_before_there_is_anything_to_tell(store: Store, clock: FakeClock) -> None:
    world = World(store, clock, DOWN)
    world.send()
    assert world.there.lists == [[]]
    assert (world.push.stats.state, world.push.stats.last_error) == ("down", DOWN.why)
    assert world.push.stats.oldest is None


def test_a_failure_is_said_once_and_tried_again_after_ever_longer_pauses(
    store: Store, clock: FakeClock, story: Story, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    world = World(store, clock, *[Retry("HTTP 500")] * 6)
    world.save(story.step(condition(BAD, DISK, ROOT)))
    pauses = [world.send(timedelta(seconds=30)).total_seconds() for _ in range(6)]
    assert pauses == [5, 10, 20, 40, 60, 60]
    stats = world.push.stats
    assert (stats.state, stats.depth, stats.sent) == ("retrying", 1, 0)
    assert stats.oldest is not None
    assert world.steady.now() - stats.oldest == timedelta(seconds=150)
    assert world.send() == EVERY
    stats = world.push.stats
    assert (stats.state, stats.depth, stats.oldest, stats.sent, stats.last_error) == ("ok", 0, None, 1, "")
    assert caplog.messages == ["alertmanager gets no alerts: HTTP 500", "alertmanager takes alerts again"]


def test_many_alerts_go_in_several_requests_and_a_refused_one_does_not_hold_the_others(
    store: Store, clock: FakeClock, story: Story
) -> None:
    world = World(store, clock, Rejected("start time must be before end time"))
    world.save(story.step(*(occurrence(OOM, compose("train", number)) for number in range(AT_ONCE + 1))))
    world.send()
    assert [len(each) for each in world.there.lists] == [AT_ONCE, 1]
    assert (world.push.stats.failed, world.push.stats.state) == (1, "ok")


def test_what_changes_is_pushed_at_once_and_one_that_hangs_holds_nobody_up(
    store: Store, clock: FakeClock, story: Story
) -> None:
    world, hanging, sound = World(store, clock), FakeAlertmanager(), FakeAlertmanager()
    hanging.hold.clear()
    pusher = Pusher(
        {"alertmanager": hanging, "alertmanager-2": sound},
        store=store, clock=clock, steady=world.steady, host="h", crew=a_crew(),
    )  # fmt: skip
    pusher.start()
    wait_until(lambda: hanging.lists and sound.lists, "the first push")
    world.save(story.step(condition(BAD, DISK, ROOT)))
    pusher.wake()
    wait_until(lambda: sound.lists[-1], "the alert")
    assert hanging.lists == [[]]
    hanging.hold.set()
    pusher.close()
    assert hanging.names == ["DiskLow"]
    assert [stats.state for stats in pusher.stats] == ["ok", "ok"]


def test_a_fault_of_our_own_is_not_the_end_of_it(store: Store, clock: FakeClock) -> None:
    world, there = World(store, clock), FakeAlertmanager(RuntimeError("odd"))
    pusher = Pusher({"alertmanager": there}, store=store, clock=clock, steady=world.steady, host="h", crew=a_crew())
    pusher.start()
    wait_until(lambda: there.lists, "the first push")
    pusher.wake()
    wait_until(lambda: len(there.lists) > 1, "another push")
    pusher.close()


def test_a_changed_configuration_leads_to_the_new_ones_and_leaves_the_old(store: Store, clock: FakeClock) -> None:
    world, first, second, other = World(store, clock), FakeAlertmanager(), FakeAlertmanager(), FakeAlertmanager()
    pusher = Pusher(
        {"alertmanager": first, "alertmanager-2": second},
        store=store, clock=clock, steady=world.steady, host="h", crew=a_crew(),
    )  # fmt: skip
    pusher.start()
    wait_until(lambda: first.lists and second.lists, "the first push")
    pusher.adopt({"alertmanager": other}, "h2")
    wait_until(lambda: other.lists, "a push to the other one")
    assert [stats.name for stats in pusher.stats] == ["alertmanager"]
    pusher.adopt({"alertmanager": other, "alertmanager-2": first}, "h2")
    before = len(first.lists)
    wait_until(lambda: len(first.lists) > before, "a push to the one that came back")
    pusher.close()


def test_a_test_alert_says_what_came_back(store: Store, clock: FakeClock) -> None:
    world = World(store, clock, Sent(), DOWN)
    good, bad = world.push.trial(), world.push.trial()
    assert (good.accepted, bad.accepted, bad.words) == (True, False, DOWN.why)
    assert world.there.names == ["ShipkeeperTest"]
