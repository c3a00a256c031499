"""The slow lanes: what runs by the clock beside the watch thread, on APScheduler."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.background import BackgroundScheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from apscheduler.events import JobEvent

    from daemon.clock import Clock

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One slow lane: what it is called, what it does, how often, and the executor whose thread it may hold."""

    name: str
    work: Callable[[], None]
    every: timedelta
    lane: str
    """Jobs of one lane run one after the other: `fast` is for the store, `docker` for what waits for the engine."""


class Jobs:
    """Runs jobs in UTC; a late job still runs, a job that still runs is not started twice."""

    def __init__(self, jobs: Sequence[Job], clock: Clock) -> None:
        self._clock = clock
        self._last_success: dict[str, float] = {}
        self._overdue: set[str] = set()
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={lane: _Lane() for lane in {job.lane for job in jobs}},
            # The default grace of one second turns a busy minute into a skipped run.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        for job in jobs:
            self._scheduler.add_job(
                job.work, "interval", seconds=job.every.total_seconds(), id=job.name, executor=job.lane
            )
        self._scheduler.add_listener(
            self._heard, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        )

    @property
    def last_success(self) -> Mapping[str, float]:
        """When each job last ended well, as a Unix time; absent before the first time."""
        return dict(self._last_success)

    def start(self) -> None:
        """Start the scheduler's thread."""
        self._scheduler.start()

    def close(self) -> None:
        """Start no more jobs; one that hangs is left behind, for it may wait for a stuck disk."""
        self._scheduler.shutdown(wait=False)

    def _heard(self, event: JobEvent) -> None:
        if event.code not in {EVENT_JOB_EXECUTED, EVENT_JOB_ERROR}:
            # Said once: Docker may take ten minutes to measure its disks, and this comes with every interval.
            if event.job_id not in self._overdue:
                self._overdue.add(event.job_id)
                log.warning("job %s did not run: the last run of it has not ended", event.job_id)
            return
        self._overdue.discard(event.job_id)
        if event.code == EVENT_JOB_EXECUTED:
            self._last_success[event.job_id] = self._clock.now().timestamp()
        else:
            log.error("job %s failed: %s", event.job_id, event.exception)


class _Lane(BaseExecutor):  # type: ignore[misc]  # apscheduler has no types
    """
    Runs each job in a thread that nobody waits for.

    APScheduler's own pool is joined when the interpreter ends, so a job that hangs on a frozen engine would hold
    the process for as long as its patience lasts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._busy = threading.Lock()

    def _do_submit_job(self, job: Any, run_times: Sequence[datetime]) -> None:
        threading.Thread(target=self._run, args=(job, run_times), name=f"job-{job.id}", daemon=True).start()

    def _run(self, job: Any, run_times: Sequence[datetime]) -> None:
        with self._busy:
            self._run_job_success(job.id, run_job(job, "default", run_times, self._logger.name))
