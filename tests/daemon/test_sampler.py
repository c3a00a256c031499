from __future__ import annotations

import logging
import shutil
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.disk import Filesystems, Place
from collectors.reading import Reading
from daemon.sampler import Sampler, Sources
from tests.fakes.cgroup_tree import CgroupTree, a_container
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from collectors.facts import Container

DEADLINE = 10.0
WEB = a_container()


class Host:
    """One container on one disk, with a clock to turn and a count of what the sampler told."""

    def __init__(self, root: Path) -> None:
        self.tree = CgroupTree(root)
        self.cgroup = self.tree.add_v2(f"docker/{WEB.id}")
        self.clock = FakeClock()
        self.broken = False
        self.web = WEB
        self.wakes = threading.Semaphore(0)
        self.sources = Sources(
            Filesystems(lambda: [Place("os-root", root)]), self.tree.reader, self.containers, self.distant
        )

    def containers(self) -> Sequence[Container]:
        """Give one readable container, one that ended, one without a cgroup."""
        if self.broken:
            raise RuntimeError("the inventory is broken")
        return [self.web, a_container(2, pid=0), a_container(3)]

    def distant(self, containers: Sequence[Container]) -> Mapping[str, Reading]:
        """Tell of those that it is asked for."""
        return {container.id: Reading(pids=7) for container in containers}

    def sampler(self, interval: timedelta = timedelta(seconds=15)) -> Sampler:
        """Build a sampler of this host."""
        return Sampler(self.sources, self.clock, self.wakes.release, a_crew(self.clock), interval)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_sample_holds_filesystems_and_the_oom_kills_of_readable_containers(host: Host) -> None:
    sample = host.sampler().sample_now()
    assert sample.at == NOW
    assert [filesystem.roles for filesystem in sample.filesystems] == [("os-root",)]
    assert sample.errors == {}
    assert sample.oom_kills == {WEB.id: 1}
    assert sample.readings == {a_container(3).id: Reading(pids=7)}


def test_the_thread_samples_at_once_then_wakes(host: Host) -> None:
    sampler = host.sampler()
    assert sampler.latest is None
    sampler.start()
    assert host.wakes.acquire(timeout=DEADLINE)
    assert sampler.latest is not None
    sampler.close()


def test_it_samples_again_in_every_interval(host: Host) -> None:
    sampler = host.sampler(timedelta(milliseconds=1))
    sampler.start()
    for _ in range(3):
        assert host.wakes.acquire(timeout=DEADLINE)
    sampler.close()


def test_a_sample_three_intervals_old_is_no_longer_given_out(host: Host) -> None:
    sampler = host.sampler()
    sampler.sample_now()
    host.clock.advance(timedelta(seconds=45))
    assert sampler.latest is not None
    host.clock.advance(timedelta(seconds=1))
    assert sampler.latest is None


def test_a_wall_clock_that_jumps_does_not_age_a_sample(host: Host) -> None:
    sampler = host.sampler()
    sampler.sample_now()
    host.clock.step(timedelta(days=1))
    assert sampler.latest is not None


def test_a_failed_sample_is_logged_and_the_next_one_is_taken(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.broken = True
    sampler = host.sampler(timedelta(milliseconds=1))
    with caplog.at_level(logging.ERROR):
        sampler.start()
        assert host.wakes.acquire(timeout=DEADLINE)
    host.broken = False
    while sampler.latest is None:
        assert host.wakes.acquire(timeout=DEADLINE)
    sampler.close()
    assert "could not take a sample" in caplog.text


def test_close_before_start_and_twice_is_fine(host: Host) -> None:
    sampler = host.sampler()
    sampler.close()
    sampler.close()


def test_a_sample_holds_what_containers_use_and_who_is_large_in_those_near_their_limit(host: Host) -> None:
    (host.cgroup / "cgroup.procs").write_text("11\n")
    (host.tree.proc / "11").mkdir(parents=True)
    (host.tree.proc / "11" / "status").write_text("Name:\tpython\nVmRSS:\t   1024 kB\n")
    assert host.sampler().sample_now().largest == {}
    host.web = a_container(memory_limit_bytes=100 << 20)
    sample = host.sampler().sample_now()
    assert sample.memory == {WEB.id: 80 << 20}
    assert sample.largest == {WEB.id: ("python", 1 << 20)}


def test_what_befell_the_memory_of_one_that_has_just_ended_stays_as_it_was_last_seen(host: Host) -> None:
    sampler = host.sampler()
    before = sampler.sample_now().last_marks[WEB.id]
    shutil.rmtree(host.cgroup)  # and its end has not been told yet
    sample = sampler.sample_now()
    assert sample.last_marks == {WEB.id: before}
    assert sample.marks == {}
