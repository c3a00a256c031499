from __future__ import annotations

import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent

from daemon.clock import SystemClock
from daemon.errands import Errand
from daemon.jobs import OVERDUE_AFTER, Job, Jobs, _Lane, _Scheduler
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.crew import a_crew
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable


OFTEN = timedelta(seconds=0.02)
MINUTE, HOUR, YEAR = timedelta(minutes=1), timedelta(hours=1), timedelta(days=365)


def a_job(work: Callable[[], None], name: str = "count", lane: str = "fast") -> Job:
    return Job(name, work, OFTEN, lane)


def test_a_job_runs_again_and_again_and_its_last_success_is_known() -> None:
    ran = threading.Semaphore(0)
    jobs = Jobs([a_job(ran.release)], FakeClock(), a_crew())
    assert jobs.stats.last_success == {}
    jobs.start()
    assert ran.acquire(timeout=10)
    assert ran.acquire(timeout=10)
    jobs.close()
    assert wait_until(lambda: jobs.stats.last_success, "a success") == {"count": NOW.timestamp()}


@pytest.mark.parametrize("first", [OFTEN, timedelta(microseconds=1)], ids=["soon", "while still starting"])
def test_a_rare_job_can_run_soon_after_the_start(first: timedelta) -> None:
    ran = threading.Semaphore(0)
    jobs = Jobs([Job("rare", ran.release, timedelta(hours=1), "fast", first=first)], SystemClock(), a_crew())
    jobs.start()
    assert ran.acquire(timeout=10)
    jobs.close()


def test_an_errand_counts_when_it_is_back_and_not_when_it_is_sent() -> None:
    sent, back, clock = threading.Semaphore(0), threading.Event(), FakeClock()

    def wait_for_docker() -> None:
        sent.release()
        assert back.wait(30)
        clock.advance(timedelta(minutes=3))

    errand = Errand("ask", wait_for_docker, clock)
    sends = threading.Semaphore(0)

    def send() -> None:
        errand.run()
        sends.release()

    jobs = Jobs([Job("ask", send, OFTEN, "docker", errand=errand)], clock, a_crew())
    jobs.start()
    assert sent.acquire(timeout=10)
    for _ in range(3):  # the scheduler has heard of the first one by then
        assert sends.acquire(timeout=10)
    stats = jobs.stats
    assert (dict(stats.last_success), dict(stats.seconds), dict(stats.failures)) == ({}, {}, {"ask": 0})
    jobs.close()
    back.set()
    assert wait_until(lambda: jobs.stats.last_success, "it to be back") == {"ask": (NOW + 3 * MINUTE).timestamp()}
    assert wait_until(lambda: jobs.stats.seconds, "its account") == {"ask": 180.0}


def test_a_job_that_fails_is_logged_and_runs_again(caplog: pytest.LogCaptureFixture) -> None:
    ran = threading.Semaphore(0)

    def fail() -> None:
        ran.release()
        raise RuntimeError("no luck")

    jobs = Jobs([a_job(fail)], FakeClock(), a_crew())
    with caplog.at_level(logging.ERROR, "daemon.jobs"):
        jobs.start()
        for _ in range(3):
            assert ran.acquire(timeout=10)
        jobs.close()
    assert jobs.stats.last_success == {}
    assert "job count failed: no luck" in caplog.messages


@pytest.mark.parametrize("step", [-HOUR, HOUR, -YEAR, YEAR])
def test_a_wall_clock_that_is_set_neither_halts_a_job_nor_makes_up_for_missed_runs(step: timedelta) -> None:
    ran = threading.Semaphore(0)
    clock = FakeClock()
    scheduler = _Scheduler(clock, timezone="UTC", executors={"fast": _Lane(threading.Lock())})
    hourly = scheduler.add_job(
        ran.release, "interval", hours=1, executor="fast", misfire_grace_time=None, coalesce=True
    )
    scheduler.start()
    # Seen from the clock as it is set afterwards, what was due in a moment is due a step away from that.
    hourly.modify(next_run_time=datetime.now(UTC) - step)  # noqa: TID251
    clock.step(step)
    scheduler._process_jobs()
    assert ran.acquire(timeout=10)
    assert not ran.acquire(timeout=0.2)
    scheduler.shutdown(wait=False)


def test_a_job_that_hangs_holds_up_its_own_lane_only() -> None:
    held, ran = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        held.wait(30)

    jobs = Jobs([a_job(hang, "stuck", "docker"), a_job(ran.release)], FakeClock(), a_crew())
    jobs.start()
    assert ran.acquire(timeout=10)
    assert ran.acquire(timeout=10)
    jobs.close()
    held.set()


def test_the_process_ends_though_a_job_hangs() -> None:
    program = """
import threading
from datetime import timedelta
from daemon.clock import SystemClock
from daemon.clock import SystemClock
from daemon.errands import Errand
from daemon.jobs import Job, Jobs
from tests.fakes.crew import a_crew
begun = threading.Event()
def hang():
    begun.set()
    threading.Event().wait()
jobs = Jobs([Job("stuck", hang, timedelta(seconds=0.01), "docker")], SystemClock(), a_crew())
jobs.start()
assert begun.wait(10)
jobs.close()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


def test_a_lane_that_is_held_up_and_a_scheduler_that_ends_are_noticed() -> None:
    clock, held, begun = FakeClock(), threading.Event(), threading.Event()
    crew = a_crew(clock)

    def hang() -> None:
        begun.set()
        held.wait(30)

    jobs = Jobs([a_job(hang, "stuck", "docker")], clock, crew)
    jobs.start()
    assert begun.wait(10)
    clock.advance(timedelta(minutes=2))
    wait_until(lambda: crew.beats.stale() == ("lane-docker",), "the scheduler to beat, and not the lane", 30)
    held.set()
    jobs.close()
    assert crew.beats.stale() == ()


def test_a_job_that_does_not_end_well_for_long_is_overdue_and_one_that_is_only_rare_is_not() -> None:
    clock = FakeClock()
    often, rarely = a_job(lambda: None, "often"), Job("rarely", lambda: None, timedelta(hours=1), "fast")
    jobs = Jobs([often, rarely], clock, a_crew())
    clock.advance(OVERDUE_AFTER)
    assert jobs.overdue == {}
    clock.advance(timedelta(seconds=1))
    assert jobs.overdue == {"often": OVERDUE_AFTER + timedelta(seconds=1)}
    clock.advance(timedelta(hours=3))
    assert set(jobs.overdue) == {"often", "rarely"}
    jobs._heard(JobExecutionEvent(EVENT_JOB_EXECUTED, "often", "default", clock.now()))
    assert set(jobs.overdue) == {"rarely"}
