"""The slow lanes: what runs by the clock beside the watch thread, on APScheduler."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.base import BaseScheduler

from daemon.clock import wall_ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from apscheduler.events import JobEvent

    from daemon.clock import Clock
    from daemon.crew import Crew, Worker
    from daemon.errands import Errand

log = logging.getLogger(__name__)

_BEAT_EVERY = timedelta(seconds=30)
_BEAT = "beat-"
"""How the names of the jobs begin that are the heartbeats of the lanes."""
_CLOCK_STEP = timedelta(seconds=2)
OVERDUE_AFTER = timedelta(minutes=10)
"""A job is overdue when it did not end well for three of its intervals, and for at least so long."""
_LONGEST_WAIT = 5.0
"""Seconds after which the clock is looked at again, whatever is due when."""
_CLOSING = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Job:
    """One slow lane: what it is called, what it does, how often, and the executor whose thread it may hold."""

    name: str
    work: Callable[[], None]
    every: timedelta
    lane: str
    """Jobs of one lane run one after the other: `fast` is for the store, `docker` for what waits for the engine."""
    first: timedelta | None = None
    """How long after the start it runs for the first time, where that must not wait for `every`."""
    errand: Errand | None = None
    """What `work` only sends off: how that went is told when it is back."""


@dataclass(frozen=True, slots=True)
class JobStats:
    """How the jobs have gone, each by the job's name."""

    last_success: Mapping[str, float]
    """When it last ended well, as a Unix time; absent before the first time."""
    seconds: Mapping[str, float]
    """What its last run took, well ended or not; absent before the first time."""
    failures: Mapping[str, int]


class Jobs:
    """
    Runs jobs in UTC; a late job still runs, a job that still runs is not started twice.

    Each lane beats by a small job of its own, so one that is held up is noticed.
    """

    def __init__(self, jobs: Sequence[Job], clock: Clock, crew: Crew) -> None:
        self._clock = clock
        self._beats = crew.beats
        self._last_success: dict[str, float] = {}
        self._durations: dict[str, float] = {}
        self._failures = dict.fromkeys((job.name for job in jobs), 0)
        self._errands = {job.name: job.errand for job in jobs if job.errand}
        self._since = dict.fromkeys((job.name for job in jobs), clock.monotonic())
        self._patience = {job.name: max(3 * job.every, OVERDUE_AFTER) for job in jobs}
        self._lanes = sorted({job.lane for job in jobs})
        hearts = [Job(f"{_BEAT}{lane}", partial(self._beat, lane), _BEAT_EVERY, lane) for lane in self._lanes]
        self._jobs = [*(replace(job, work=partial(self._timed, job)) for job in jobs), *hearts]
        self._turns = {lane: threading.Lock() for lane in self._lanes}
        self._scheduler: _Scheduler | None = None
        self._worker = crew.worker("scheduler", self._run)

    @property
    def stats(self) -> JobStats:
        """How they have gone so far."""
        success, seconds, failures = dict(self._last_success), dict(self._durations), dict(self._failures)
        for name, errand in self._errands.items():
            failures[name] += errand.failures
            if errand.last_success is not None:
                success[name] = errand.last_success
            if errand.seconds is not None:
                seconds[name] = errand.seconds
        return JobStats(success, seconds, failures)

    @property
    def overdue(self) -> Mapping[str, timedelta]:
        """Those that did not end well for three of their intervals, each with the time since then or our start."""
        now = self._clock.monotonic()
        spans = {name: timedelta(seconds=now - since) for name, since in dict(self._since).items()}
        return {name: span for name, span in spans.items() if span > self._patience[name]}

    def start(self) -> None:
        """Start the scheduler's thread."""
        for lane in self._lanes:
            self._beat(lane)
        self._worker.start()

    def stop(self) -> None:
        """Ask the scheduler to start no more jobs; never waits."""
        self._worker.stop()
        if self._scheduler is not None:
            self._scheduler.wakeup()

    def close(self) -> None:
        """Start no more jobs; one that hangs is left behind, for it may wait for a stuck disk."""
        self.stop()
        self._worker.join(_CLOSING)
        for lane in self._lanes:
            self._beats.leave(f"lane-{lane}")

    def _beat(self, lane: str) -> None:
        self._beats.beat(f"lane-{lane}")

    def _run(self) -> None:
        """Schedule until asked to stop; each life of the thread has a scheduler of its own."""
        self._scheduler = _Scheduler(
            self._clock,
            timezone="UTC",
            executors={lane: _Lane(turn) for lane, turn in self._turns.items()},
            # The default grace of one second turns a busy minute into a skipped run.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for job in self._jobs:
            # A start_date that is past before it is looked at, on a busy host, would mean the next one after it.
            first = {} if job.first is None else {"next_run_time": self._clock.now() + job.first}
            self._scheduler.add_job(
                job.work,
                "interval",
                seconds=job.every.total_seconds(),
                id=job.name,
                executor=job.lane,
                **first,
            )
        self._scheduler.add_listener(
            self._heard, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )
        self._scheduler.work(self._worker)

    def _timed(self, job: Job) -> None:
        began = self._clock.monotonic()
        try:
            job.work()
        finally:
            if job.errand is None:
                self._durations[job.name] = self._clock.monotonic() - began

    def _heard(self, event: JobEvent) -> None:
        if event.job_id.startswith(_BEAT):
            return
        if event.code == EVENT_JOB_EXECUTED and event.job_id in self._errands:
            return
        if event.code == EVENT_JOB_EXECUTED:
            self._last_success[event.job_id] = self._clock.now().timestamp()
            self._since[event.job_id] = self._clock.monotonic()
        elif event.code == EVENT_JOB_ERROR:
            self._failures[event.job_id] += 1
            log.error("job %s failed: %s", event.job_id, event.exception)
        else:
            log.warning("job %s did not run: the last run of it has not ended", event.job_id)


class _Scheduler(BaseScheduler):  # type: ignore[misc]  # apscheduler has no types
    """
    Runs in the thread of a worker, and moves what is due along with a wall clock that is set.

    APScheduler knows the wall clock alone: one set back would halt every job for as long, one set forward makes
    it count a year of missed runs one by one.
    """

    def __init__(self, clock: Clock, **options: Any) -> None:
        self._clock = clock
        self._nudge = threading.Event()
        self._offset = wall_ahead(self._clock)
        super().__init__(**options)

    def work(self, worker: Worker) -> None:
        """Run jobs until the worker is to stop."""
        self.start()
        try:
            while not worker.stopping.is_set():
                worker.beat()
                self._nudge.wait(self._process_jobs())
                self._nudge.clear()
        finally:
            self.shutdown(wait=False)

    def wakeup(self) -> None:
        """Look at the jobs now; APScheduler calls it too."""
        self._nudge.set()

    def shutdown(self, *, wait: bool) -> None:
        """Start no more jobs; every kind of scheduler has to have it."""
        super().shutdown(wait)

    def _process_jobs(self) -> float:
        offset = wall_ahead(self._clock)
        step = offset - self._offset
        if abs(step) > _CLOCK_STEP:
            self._offset = offset
            for job in self.get_jobs():
                job.modify(next_run_time=job.next_run_time + step)
        wait: float | None = super()._process_jobs()
        return _LONGEST_WAIT if wait is None else min(wait, _LONGEST_WAIT)


class _Lane(BaseExecutor):  # type: ignore[misc]  # apscheduler has no types
    """
    Runs each job in a thread that nobody waits for.

    APScheduler's own pool is joined when the interpreter ends, so a job that hangs on a frozen engine would hold
    the process for as long as its patience lasts.
    """

    def __init__(self, turn: threading.Lock) -> None:
        """Take the lock that jobs of this lane hold while they run."""
        super().__init__()
        self._turn = turn

    def _do_submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        threading.Thread(target=self._run, args=(job, run_times), name=f"job-{job.id}", daemon=True).start()

    def _run(self, job: Any, run_times: Sequence[datetime]) -> None:
        with self._turn:
            self._run_job_success(job.id, run_job(job, "default", run_times, self._logger.name))
