from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.alerts import outbox
from daemon.alerts.sender import Route, Sender, Trial
from daemon.alerts.sink import Retry, SinkDown
from daemon.clock import SystemClock
from daemon.store import Store
from tests.daemon.alerts.build import BAD, DISK, OOM, ROOT, Story, condition, occurrence
from tests.fakes.crew import a_crew
from tests.fakes.sink import FakeSink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLOCK = SystemClock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, CLOCK)
    yield opened
    opened.close()


def sender(store: Store, *sinks: FakeSink) -> Sender:
    routes = [Route(sink=sink) for sink in sinks]
    return Sender(store, routes, CLOCK, host="h", crew=a_crew(), jitter=lambda: 1.0)


def post(store: Store, story: Story, *sinks: str, wait: float = 0) -> None:
    step = story.step(condition(BAD, DISK, ROOT), occurrence(OOM))
    now = CLOCK.now()
    store.write(lambda inside: outbox.save(inside, step.changed, step.notices, sinks, timedelta(seconds=wait), now))


def test_a_message_goes_out_when_the_sender_is_woken(store: Store) -> None:
    sink = FakeSink()
    sending = sender(store, sink)
    sending.start()
    post(store, Story(), "slack")
    sending.wake()
    assert sink.wait_for(2)
    sending.close()
    assert (sending.stats[0].sent, sending.stats[0].depth) == (2, 0)


def test_a_message_that_waits_for_its_group_goes_out_by_itself_when_it_is_due(store: Store) -> None:
    sink = FakeSink()
    sending = sender(store, sink)
    post(store, Story(), "slack", wait=0.05)
    sending.start()
    assert sink.wait_for(2)
    sending.close()


def test_one_failing_sink_does_not_delay_another(store: Store) -> None:
    broken, sound = FakeSink("slack", *[Retry("HTTP 500", timedelta(hours=1))] * 9), FakeSink("console")
    sending = sender(store, broken, sound)
    post(store, Story(), "slack", "console")
    sending.start()
    assert sound.wait_for(2)
    sending.close()
    assert [stats.sent for stats in sending.stats] == [0, 2]


def test_close_sends_what_is_due(store: Store) -> None:
    sink = FakeSink()
    sending = sender(store, sink)
    sending.start()
    post(store, Story(), "slack")
    sending.close()
    assert len(sink.shown) == 2


def test_close_without_start_does_nothing(store: Store) -> None:
    sender(store, FakeSink()).close()


def test_a_new_sink_of_the_same_name_takes_over_what_the_old_one_could_not_deliver(store: Store) -> None:
    revoked, fresh = FakeSink("slack", *[SinkDown("no_service")] * 9), FakeSink("slack")
    sending = sender(store, revoked)
    post(store, Story(), "slack")
    sending.start()
    assert revoked.wait_for(1)
    sending.adopt([Route(sink=fresh)], "h")
    assert fresh.wait_for(2)
    sending.close()
    assert sending.stats[0].state == "ok"


def test_a_sink_that_is_added_gets_messages_and_one_that_is_taken_away_gets_no_more(store: Store) -> None:
    old, new = FakeSink("slack"), FakeSink("console")
    sending = sender(store, old)
    sending.start()
    sending.adopt([Route(sink=new)], "h")
    post(store, Story(), "slack", "console")
    sending.wake()
    assert new.wait_for(2)
    assert sending.sinks == ("console",)
    sending.close()
    assert old.shown == []


def test_a_test_message_says_what_came_back(store: Store) -> None:
    sink = FakeSink("slack", SinkDown("Slack said no_service: create a new webhook"))
    sending = sender(store, sink)
    refused = Trial("slack", accepted=False, words="Slack said no_service: create a new webhook")
    assert sending.test_message("slack") == refused
    assert sending.test_message("slack") == Trial("slack", accepted=True, words="accepted")
    assert sink.shown[0] == "🔵 a test message from Shipkeeper · h"
