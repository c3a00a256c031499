"""Threads that die are begun again, and not for ever."""

from __future__ import annotations

import threading
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.crew import DEATHS, DELAYS, WITHIN, Crew, Restarts
from daemon.heartbeats import Heartbeats
from tests.fakes.clock import FakeClock
from tests.fakes.crew import a_crew
from tests.lab.waiting import wait_until

PATIENCE = timedelta(seconds=10)
GAPS = st.lists(st.floats(min_value=0, max_value=2000), min_size=1, max_size=30)


def delays(gaps: list[float]) -> list[tuple[float, timedelta | None]]:
    """Give when a thread died and what was decided, until it was given up."""
    restarts, now, decided = Restarts(), 0.0, list[tuple[float, timedelta | None]]()
    for gap in gaps:
        now += gap
        decided.append((now, restarts.after_death(now)))
        if decided[-1][1] is None:
            break
    return decided


@given(GAPS)
def test_a_thread_is_given_up_exactly_at_its_third_death_in_ten_minutes(gaps: list[float]) -> None:
    decided = delays(gaps)
    for number, (at, delay) in enumerate(decided):
        recent = [died for died, _ in decided[: number + 1] if at - died < WITHIN.total_seconds()]
        assert (delay is None) == (len(recent) >= DEATHS)


@given(GAPS)
def test_the_delay_doubles_while_deaths_follow_each_other_and_stays_within_bounds(gaps: list[float]) -> None:
    first, last = DELAYS
    expected, died = first, None
    for at, delay in delays(gaps):
        follows = died is not None and at - died < WITHIN.total_seconds()
        expected = min(expected * 2, last) if follows else first
        assert delay in {expected, None}
        died = at


def test_a_thread_that_dies_begins_again_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    crew, lives, going = a_crew(), threading.Semaphore(0), threading.Event()

    def work() -> None:
        lives.release()
        if not going.is_set():
            going.set()
            raise ValueError("this once")
        worker.stopping.wait(30)

    worker = crew.worker("watch", work)
    worker.start()
    for _ in range(2):
        assert lives.acquire(timeout=30)
    assert crew.restarts == {"watch": 1}
    worker.stop()
    worker.join(PATIENCE)
    assert (crew.hanging, crew.lost) == ((), "")
    assert "the thread watch died" in caplog.text
    assert "this once" in caplog.text
    assert "the thread watch begins again in 1 s" in caplog.text


def test_a_thread_that_returns_unasked_is_begun_again(caplog: pytest.LogCaptureFixture) -> None:
    crew, lives = a_crew(), threading.Semaphore(0)
    worker = crew.worker("reader", lives.release)
    worker.start()
    for _ in range(2):
        assert lives.acquire(timeout=30)
    worker.stop()
    worker.join(PATIENCE)
    assert "the thread reader ended by itself" in caplog.text


def test_a_thread_that_keeps_dying_is_given_up_and_named(caplog: pytest.LogCaptureFixture) -> None:
    crew = a_crew()

    def work() -> None:
        raise SystemExit("some library wants to end")

    worker = crew.worker("sampler", work)
    worker.start()
    wait_until(lambda: crew.lost, "the third death", 60)
    worker.join(PATIENCE)
    assert crew.lost == "sampler"
    assert crew.restarts == {"sampler": 2}
    assert "the thread sampler died 3 times within 10 min: the daemon ends with exit code 1" in caplog.text


def test_nobody_waits_for_a_dead_thread_that_is_asked_to_stop() -> None:
    crew = a_crew()

    def work() -> None:
        raise ValueError

    worker = crew.worker("watch", work)
    worker.stop()
    worker.start()
    worker.join(PATIENCE)
    assert crew.hanging == ()


def test_a_thread_without_a_deadline_cannot_start() -> None:
    clock = FakeClock()
    with pytest.raises(KeyError):
        Crew(Heartbeats({}, clock), clock).worker("unheard-of", lambda: None).start()


def test_a_thread_has_to_beat_until_it_has_ended() -> None:
    clock = FakeClock()
    crew = a_crew(clock)
    hold = threading.Event()
    worker = crew.worker("watch", partial(hold.wait, 30))
    worker.start()
    clock.advance(timedelta(minutes=2))
    assert crew.beats.stale() == ("watch",)
    worker.stop()
    hold.set()
    worker.join(PATIENCE)
    assert crew.beats.stale() == ()


def test_all_threads_together_are_waited_for_no_longer_than_their_common_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    crew, hold = a_crew(), threading.Event()
    workers = [crew.worker(f"sender-{number}", partial(hold.wait, 60)) for number in range(3)]
    for worker in workers:
        worker.start()
        worker.stop()
    crew.end_within(timedelta(milliseconds=1))
    for worker in workers:
        worker.join(timedelta(hours=1))
    assert crew.hanging == ("sender-0", "sender-1", "sender-2")
    assert "the thread sender-2 did not end in time and is left behind" in caplog.text
    hold.set()
    wait_until(lambda: not crew.hanging, "their end")


def test_the_kernel_knows_a_thread_by_its_name() -> None:
    crew, names = a_crew(), list[str]()
    named = threading.Event()

    def work() -> None:
        names.append(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text())
        named.set()
        worker.stopping.wait(30)

    worker = crew.worker("sender-slack-of-the-team", work)
    worker.start()
    assert named.wait(30)
    worker.stop()
    worker.join(PATIENCE)
    assert names == ["sender-slack-of\n"]
