"""The queue keeps order and bounds, and says when something is missing."""

from __future__ import annotations

from collectors.engine_events import Event
from daemon.event_queue import Batch, EventQueue


def event(number: int) -> Event:
    return Event("container", "die", "c" * 64, {}, number)


def test_events_come_out_once_in_order() -> None:
    queue = EventQueue()
    for number in (1, 2, 3):
        queue.put(event(number))
    assert queue.drain() == Batch((event(1), event(2), event(3)), resync=False)
    assert queue.drain() == Batch((), resync=False)


def test_what_does_not_fit_is_dropped_counted_and_asks_for_a_resync() -> None:
    queue = EventQueue(capacity=2)
    for number in range(5):
        queue.put(event(number))
    assert queue.drain() == Batch((event(0), event(1)), resync=True, dropped=3)
    assert (queue.dropped, queue.overflows) == (3, 1)
    queue.put(event(9))
    assert queue.drain() == Batch((event(9),), resync=False)


def test_two_floods_are_two_overflows() -> None:
    queue = EventQueue(capacity=1)
    for _ in range(2):
        queue.put(event(1))
        queue.put(event(2))
        queue.put(event(3))
        queue.drain()
    assert (queue.dropped, queue.overflows) == (4, 2)


def test_a_resync_is_asked_for_once() -> None:
    queue = EventQueue()
    queue.ask_resync()
    assert queue.drain().resync
    assert not queue.drain().resync
