"""What failed is left alone, for longer each time."""

from __future__ import annotations

from datetime import timedelta

from daemon.backoff import Backoff

MINUTE = 60.0


def backoff() -> Backoff:
    return Backoff(timedelta(minutes=1), timedelta(minutes=5))


def test_each_failure_doubles_the_pause_up_to_the_longest() -> None:
    pauses, waits, now = [], backoff(), 0.0
    for _ in range(5):
        waits.failed("x", now)
        pauses.append(waits.left("x", now) / MINUTE)
        now += 1000 * MINUTE
    assert pauses == [1, 2, 4, 5, 5]


def test_a_pause_ends_and_belongs_to_one_key_alone() -> None:
    waits = backoff()
    waits.failed("x", 0)
    assert (waits.left("x", 59), waits.left("x", 60), waits.left("x", 61)) == (1, 0, 0)
    assert waits.left("y", 0) == 0


def test_a_success_begins_anew() -> None:
    waits = backoff()
    waits.failed("x", 0)
    waits.failed("x", 0)
    waits.over("x")
    assert waits.left("x", 0) == 0
    waits.failed("x", 0)
    assert waits.left("x", 0) == MINUTE


def test_what_is_gone_is_forgotten() -> None:
    waits = backoff()
    waits.failed("x", 0)
    waits.failed("y", 0)
    waits.forget_all_but({"y"})
    assert (waits.left("x", 0), waits.left("y", 0)) == (0, MINUTE)
