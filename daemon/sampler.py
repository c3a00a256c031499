"""The sampler thread: filesystems and what befell memory, every 15 s as one frozen sample."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import NO_SIZES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from collectors.cgroup import CgroupReader
    from collectors.disk import Filesystems
    from collectors.facts import Container, Filesystem
    from collectors.kernel_ooms import LoggedOom
    from collectors.own_facts import HostMemory
    from collectors.reading import MemoryMarks, Reading
    from daemon.clock import Clock
    from daemon.crew import Crew

log = logging.getLogger(__name__)

INTERVAL = timedelta(seconds=15)

_KEPT_INTERVALS = 3
_CLOSE_SHARE = 0.5
"""From so much of its memory limit on the processes of a container are looked at."""
_CLOSING = timedelta(seconds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was measured at `at`."""

    at: datetime
    filesystems: tuple[Filesystem, ...]
    errors: Mapping[str, str]
    """By role of a filesystem: in words, why it could not be measured."""
    readings: Mapping[str, Reading] = field(default_factory=dict)
    """By container id: what Docker told of those whose cgroup is out of reach."""
    marks: Mapping[str, MemoryMarks]
    """By container id: what befell its memory in the life of its cgroup."""
    last_marks: Mapping[str, MemoryMarks] = field(default_factory=dict)
    """The same, of containers that ended, too: as it was last seen."""
    memory: Mapping[str, int] = field(default_factory=lambda: NO_SIZES)
    """By container id: what it uses, without the file cache that can be dropped first."""
    largest: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    """By container id: name and bytes of the largest process of those close to their limit."""
    host_memory: HostMemory | None = None
    host_ooms: tuple[LoggedOom, ...] | None = None
    """Whom the kernel killed when the machine was out of memory; `None` where its log may not be read."""

    @property
    def oom_kills(self) -> Mapping[str, int]:
        """By container id: processes killed for memory in the life of its cgroup."""
        return {key: marks.oom_kills for key, marks in self.marks.items() if marks.oom_kills is not None}

    def saw(self, container: Container | None) -> bool:
        """
        Tell whether it was taken after this run of a container had begun: else it is about the run before.

        For an engine on this machine: the times of another one are by another clock.
        """
        return container is not None and container.started_at is not None and container.started_at <= self.at


class Sources:
    """What a sample is read from."""

    def __init__(  # noqa: PLR0913  each is a source of its own
        self,
        filesystems: Filesystems,
        cgroups: CgroupReader,
        containers: Callable[[], Sequence[Container]],
        distant: Callable[[Sequence[Container]], Mapping[str, Reading]],
        *,
        host_memory: Callable[[], HostMemory | None] = lambda: None,
        host_ooms: Callable[[], tuple[LoggedOom, ...] | None] = lambda: None,
    ) -> None:
        """Take `distant` to read those containers with whose cgroup is out of reach."""
        self._host_memory = host_memory
        self._host_ooms = host_ooms
        self._filesystems = filesystems
        self._cgroups = cgroups
        self._containers = containers
        self._distant = distant
        self._last_marks: Mapping[str, MemoryMarks] = {}

    def sample(self, at: datetime) -> Sample:
        """Measure everything once; takes as long as the slowest filesystem, 2 s at most, and as Docker's statistics."""
        measured = self._filesystems.measure()
        containers = self._containers()
        present = {container.id for container in containers}
        self._cgroups.retain(present)
        running = [container for container in containers if container.pid]
        marks = {container.id: self._cgroups.marks(container) for container in running}
        found = {key: each for key, each in marks.items() if each is not None}
        self._last_marks = {key: each for key, each in (*self._last_marks.items(), *found.items()) if key in present}
        readings = self._distant([container for container in running if marks[container.id] is None])
        used = {container.id: self._cgroups.working_set(container) for container in running if container.id in found}
        used |= {id_: reading.memory_working_set_bytes for id_, reading in readings.items()}
        memory = {id_: size for id_, size in used.items() if size is not None}
        return Sample(
            at=at,
            filesystems=measured.filesystems,
            errors=measured.errors,
            readings=readings,
            marks=found,
            last_marks=self._last_marks,
            memory=memory,
            largest=self._largest([each for each in running if _is_close(each, memory.get(each.id))]),
            host_memory=self._host_memory(),
            host_ooms=self._host_ooms(),
        )

    def _largest(self, containers: Sequence[Container]) -> Mapping[str, tuple[str, int]]:
        """Look who is large in those that may soon be short of memory: afterwards nobody can tell."""
        found = {container.id: self._cgroups.largest_process(container) for container in containers}
        return {id_: largest for id_, largest in found.items() if largest}


def _is_close(container: Container, used: int | None) -> bool:
    limit = container.memory_limit_bytes
    return bool(limit) and used is not None and used >= _CLOSE_SHARE * (limit or 0)


class Sampler:
    """
    Takes a sample in every interval, then wakes whoever decides on it.

    `wake` is called in the sampler's thread.
    """

    def __init__(
        self,
        sources: Sources,
        clock: Clock,
        wake: Callable[[], None],
        crew: Crew,
        interval: timedelta = INTERVAL,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._wake = wake
        self._interval = interval.total_seconds()
        self._latest: tuple[float, Sample] | None = None
        self._nudge = threading.Event()
        self._worker = crew.worker("sampler", self._run)

    @property
    def latest(self) -> Sample | None:
        """The newest sample; `None` before the first one and once it is three intervals old."""
        if self._latest is None:
            return None
        taken, sample = self._latest
        return sample if self._clock.monotonic() - taken <= _KEPT_INTERVALS * self._interval else None

    def sample_now(self) -> Sample:
        """Take a sample in the caller's thread."""
        taken = self._clock.monotonic()
        sample = self._sources.sample(self._clock.now())
        self._latest = (taken, sample)
        return sample

    def start(self) -> None:
        """Sample from now on."""
        self._worker.start()

    def wake(self) -> None:
        """Ask for a sample now, from any thread: something came into reach."""
        self._nudge.set()

    def stop(self) -> None:
        """Ask the thread to end; never waits."""
        self._worker.stop()
        self._nudge.set()

    def close(self) -> None:
        """Stop; waits for a sample in progress."""
        self.stop()
        self._worker.join(_CLOSING)

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            try:
                self.sample_now()
            except Exception:  # the boundary of a cycle: the next one may do better, and the old sample ages out
                log.exception("could not take a sample")
            self._worker.beat()
            self._wake()
            self._nudge.wait(self._interval)
            self._nudge.clear()
