"""The quieter alerts of the catalogue on a scripted engine: what brings each about, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collectors.kernel_ooms import LoggedOom
from collectors.own_facts import HostMemory, OwnWork
from policies.container_states import ContainerStates
from policies.deaths import Crashes
from policies.disk_forecast import DiskForecast
from policies.disk_pressure import DiskPressure
from policies.disk_writable import DiskReadOnly
from policies.engine import EngineDown, EngineSlow, EventsStale
from policies.health import ContainerHealth
from policies.health_turns import HealthFlapping
from policies.host_oom import HostOutOfMemory
from policies.memory import ContainerMemory, HostMemoryLow
from policies.own_state import OwnWorkDone
from policies.policy import Severity
from tests.daemon.watchpost import HOUR, MINUTE, SECOND, Options, WatchPost
from tests.fakes.clock import NOW
from tests.lab.scripted_engine import stamp
from tests.policies.build import GIB, MIB, filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from pathlib import Path

    from policies.policy import Policy
    from tests.lab.scripted_engine import ScriptedEngine

JUDGES: tuple[Policy, ...] = (
    *(Crashes(), ContainerHealth(), HealthFlapping(), ContainerStates(), ContainerMemory(), HostMemoryLow()),
    *(EngineDown(), EngineSlow(), EventsStale(), DiskPressure(), DiskForecast(), DiskReadOnly(), OwnWorkDone()),
    HostOutOfMemory(),
)
ALWAYS = {"HostConfig": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 0}, "NetworkMode": "none"}}
KILLED = {"Status": "exited", "Pid": 0, "ExitCode": 137, "OOMKilled": True, "Error": "", "StartedAt": stamp(NOW - HOUR)}
LIMITED = {"HostConfig": {"Memory": 100 * MIB, "NetworkMode": "none"}}


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    post = WatchPost(engine, tmp_path, Options(policies={str(number): each for number, each in enumerate(JUDGES)}))
    yield post
    post.close()


def rounds(post: WatchPost, span: timedelta) -> None:
    """Let time pass in the steps in which the daemon looks when nothing happens."""
    post.cycles(int(span / (15 * SECOND)), 15 * SECOND)


def oom(post: WatchPost, number: int, containers: tuple[str, ...], ago: timedelta = SECOND) -> LoggedOom:
    return LoggedOom(
        number=number,
        at=post.clock.monotonic() - ago.total_seconds(),
        process="python",
        resident_bytes=GIB,
        containers=containers,
    )


def told(post: WatchPost, alert: str) -> list[str]:
    return [kind for name, kind in post.told() if name == alert]


def test_a_service_that_ends_and_stays_down_is_told_after_five_minutes_and_over_when_it_runs(post: WatchPost) -> None:
    web = post.engine.add("web", inspect_extra=ALWAYS)
    post.cycle()
    post.die(web, 1)
    rounds(post, 4 * MINUTE)
    assert told(post, "container-not-running") == []
    rounds(post, 2 * MINUTE)
    assert told(post, "container-not-running") == ["fired"]
    web.state, web.started_at = "running", post.clock.now()
    post.emit("start", web)
    rounds(post, 2 * MINUTE)
    assert told(post, "container-not-running") == ["fired", "resolved"]


def test_a_service_that_somebody_stopped_is_no_news_not_even_after_days_and_a_restart(
    engine: ScriptedEngine, post: WatchPost
) -> None:
    web = engine.add("web", inspect_extra=ALWAYS)
    post.cycle()
    post.stop(web)
    rounds(post, 10 * MINUTE)
    post.cycles(30, HOUR)
    later = post.restarted(HOUR)
    rounds(later, 10 * MINUTE)
    assert later.told() == []
    later.close()


def test_a_container_that_stays_paused_is_stuck(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    web.state = "paused"
    post.emit("pause", web)
    rounds(post, 11 * MINUTE)
    assert post.told() == [("container-stuck", "fired")]
    web.state = "running"
    post.emit("unpause", web)
    rounds(post, 2 * MINUTE)
    assert post.told()[1:] == [("container-stuck", "resolved")]


def test_health_that_flaps_is_one_message_and_one_end(post: WatchPost) -> None:
    web = post.engine.add("web", health="healthy")
    post.cycle()
    for turn in range(12):
        web.health = "healthy" if turn % 2 else "unhealthy"
        post.emit(f"health_status: {web.health}", web)
        rounds(post, 30 * SECOND)
    rounds(post, 29 * MINUTE)
    assert post.told() == [("container-health-flapping", "fired")]
    rounds(post, 2 * MINUTE)
    assert post.told() == [("container-health-flapping", "fired"), ("container-health-flapping", "resolved")]


def test_memory_that_stays_near_the_limit_is_told_with_how_it_rose(post: WatchPost) -> None:
    web = post.engine.add("web", inspect_extra=LIMITED)
    for used in range(60, 96, 2):
        post.disks.memory = {web.id: used * MIB}
        post.cycle(15 * SECOND)
    post.disks.memory = {web.id: 97 * MIB}
    rounds(post, 6 * MINUTE)
    state = post.alerts["container-memory-near-limit", "web"]
    assert state.reason == "97.0 MiB of 100.0 MiB in use (97 %)"
    assert state.details[0].startswith("Memory rose ")
    post.disks.memory = {web.id: 90 * MIB}
    rounds(post, 10 * MINUTE)
    assert told(post, "container-memory-near-limit") == ["fired"], "between the levels nothing changes"
    post.disks.memory = {web.id: 80 * MIB}
    rounds(post, 6 * MINUTE)
    assert told(post, "container-memory-near-limit") == ["fired", "resolved"]


def test_a_kill_for_memory_tells_what_was_seen_of_it_before(post: WatchPost) -> None:
    web = post.engine.add("web", inspect_extra=LIMITED)
    for used in range(10, 90, 5):
        post.disks.memory, post.disks.oom_kills = {web.id: used * MIB}, {web.id: 0}
        post.cycle(15 * SECOND)
    post.disks.oom_kills = {web.id: 1}
    post.emit("oom", web)
    post.die(web, 137, inspect_extra=LIMITED | {"State": KILLED | {"FinishedAt": stamp(post.engine.now)}})
    post.disks.memory = {}
    post.cycle()
    death = post.alerts["container-oom-killed", "web"].death
    assert death is not None
    assert death.memory is not None
    assert (death.memory.used_bytes, death.memory.rose_bytes) == (85 * MIB, 75 * MIB)


def test_a_host_short_of_memory_is_told_though_docker_does_not_answer(post: WatchPost) -> None:
    post.cycle()
    post.engine.stop()
    post.disks.host_memory = HostMemory(total_bytes=100 * GIB, available_bytes=GIB)
    rounds(post, 6 * MINUTE)
    assert told(post, "host-memory-low") == ["fired"]
    post.disks.host_memory = HostMemory(total_bytes=100 * GIB, available_bytes=20 * GIB)
    rounds(post, 6 * MINUTE)
    assert told(post, "host-memory-low") == ["fired", "resolved"]


def test_a_machine_out_of_memory_is_told_once_with_whom_it_hit_and_over_by_itself(post: WatchPost) -> None:
    web = post.engine.add("web", labels={"shipkeeper.owner": "shop"})
    post.disks.host_ooms = ()
    post.cycle()
    assert told(post, "host-oom") == []
    post.disks.host_ooms = (oom(post, 7, (web.id,)),)
    post.cycle(15 * SECOND)
    reason = "the kernel killed python (1.0 GiB) of web (owner shop)"
    assert post.alerts["host-oom", "the host"].reason == reason
    again = post.restarted(MINUTE)
    again.disks.host_ooms = post.disks.host_ooms
    rounds(again, 31 * MINUTE)
    assert told(again, "host-oom") == ["fired", "resolved"]
    again.close()


def test_a_machine_that_ran_out_of_memory_while_nobody_watched_is_told_also_when_its_log_has_forgotten(
    post: WatchPost,
) -> None:
    post.disks.host_ooms = ()
    post.cycle()
    again = post.restarted(3 * HOUR)
    again.disks.host_ooms = (oom(again, 7, (), ago=2 * HOUR),)
    again.look(SECOND)  # read, and ended before anybody was told
    once_more = again.restarted(SECOND)
    once_more.disks.host_ooms = ()
    once_more.cycle()
    reason = "the kernel killed python (1.0 GiB), a process of the host, at 2026-11-23 17:02 UTC"
    assert once_more.alerts["host-oom", "the host"].reason == reason
    once_more.close()


def test_where_the_kernels_log_may_not_be_read_nothing_is_said_of_the_machines_memory(post: WatchPost) -> None:
    post.disks.host_ooms = None
    rounds(post, MINUTE)
    assert told(post, "host-oom") == []
    assert ("host-oom", "the host") not in post.alerts


def test_a_disk_that_will_be_full_is_told_and_part_of_the_alert_that_says_it_is(post: WatchPost) -> None:
    post.disks.filesystems = (filesystem(size=1000 * GIB, available=100 * GIB),)
    post.growth = {"/": 100 * GIB / (20 * 3600)}
    rounds(post, 16 * MINUTE)
    assert post.told() == [("disk-fill-predicted", "fired")]
    post.disks.filesystems = (filesystem(size=1000 * GIB, available=25 * GIB),)
    rounds(post, 2 * MINUTE)
    assert post.told()[1] == ("disk-low", "fired")


def test_a_disk_that_nobody_can_write_to_is_told_at_once(post: WatchPost) -> None:
    post.disks.filesystems = (filesystem(read_only=True),)
    post.cycle()
    assert post.told() == [("disk-read-only", "fired")]
    post.disks.filesystems = (filesystem(read_only=False),)
    rounds(post, 6 * MINUTE)
    assert post.told()[1:] == [("disk-read-only", "resolved")]


def test_events_that_do_not_come_are_told_and_over_when_they_do(post: WatchPost) -> None:
    post.cycle()
    post.events.connected = False
    rounds(post, 2 * MINUTE)
    assert post.told() == [("event-stream-stale", "fired")]
    post.events.connected = True
    rounds(post, 6 * MINUTE)
    assert post.told()[1:] == [("event-stream-stale", "resolved")]


def test_an_engine_that_answers_late_for_five_minutes_is_told(post: WatchPost) -> None:
    post.own = OwnWork(engine_answers_within=3 * SECOND)
    rounds(post, 6 * MINUTE)
    assert post.told() == [("engine-slow", "fired")]


def test_what_stays_unhealthy_becomes_critical(post: WatchPost) -> None:
    web = post.engine.add("web", health="healthy")
    post.cycle()
    web.health = "unhealthy"
    post.emit("health_status: unhealthy", web)
    seen = []
    for minutes in (14, 2):
        rounds(post, minutes * MINUTE)
        seen.append(post.alerts["container-unhealthy", "web"].severity)
    assert seen == [Severity.WARNING, Severity.CRITICAL]
