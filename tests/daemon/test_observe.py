"""The observer on a scripted engine: no answer of Docker costs a death, and none is taken for a fact."""

from __future__ import annotations

import logging
import socket
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Never

import pytest

from collectors.facts import ContainerState, Death, EngineState, Intent, Known, SourceName, Unknown
from collectors.gpu_facts import GpuRequest, GpuRequestSource
from tests.daemon.watchpost import HOUR, MINUTE, SECOND, Options, WatchPost, framed
from tests.fakes.clock import NOW
from tests.fakes.gpus import GIB, a_gpu, a_process, in_container, write_processes
from tests.lab.scripted_engine import HTML, NOISE, ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from daemon.observe import Observation

LATER = timedelta(minutes=6)
"""So much later everything is compared again."""
LEAK = {"Start": "2026-11-23T16:00:00Z", "End": "2026-11-23T16:00:01Z", "ExitCode": 1, "Output": "secret probe"}


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    post = WatchPost(engine, tmp_path)
    yield post
    post.close()


def by_name(observation: Observation) -> dict[str, Death]:
    return {death.name: death for death in observation.deaths}


def why_unknown(observation: Observation, name: SourceName = SourceName.DOCKER) -> str:
    source = observation.facts.sources[name]
    return source.why if isinstance(source, Unknown) else ""


def test_an_end_is_found_with_its_last_lines(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.look()
    post.engine.logs[web.id] = framed("token=hunter2\nboom\n")
    post.die(web, 3)
    assert by_name(post.look())["web"].log_tail == ("token=***", "boom")


def test_before_the_engine_is_known_nothing_is_asked_and_nothing_is_known(post: WatchPost) -> None:
    post.engine.add("web")
    post.view.set(EngineState.STARTING)
    assert why_unknown(post.look()) == "the engine is starting"
    assert post.engine.requests.total() == 0
    assert not post.observer.ready
    post.view.set(EngineState.UP)
    assert isinstance(post.look().facts.sources[SourceName.DOCKER], Known)
    assert post.observer.ready


def test_why_docker_is_unknown_is_always_the_newest_reason_since_the_first(post: WatchPost) -> None:
    post.look()
    post.view.set(EngineState.HUNG, "Docker is hung")
    first = post.look().facts.sources[SourceName.DOCKER]
    post.view.set(EngineState.CRASHED, "Docker is down")
    second = post.look().facts.sources[SourceName.DOCKER]
    assert isinstance(first, Unknown)
    assert second == Unknown("Docker is down", first.since)


@pytest.mark.parametrize("status", [400, 403, 500])
def test_an_engine_that_fails_is_unknown_and_nothing_is_forgotten(
    post: WatchPost, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    web = post.engine.add("web")
    post.look()
    post.engine.statuses["/containers/json"] = status
    post.die(web, 3, told=False)
    for _ in range(3):
        blind = post.look(LATER)
        assert str(status) in why_unknown(blind)
        assert blind.deaths == ()
    assert len([line for line in caplog.messages if "docker cannot be read" in line]) == 1
    post.engine.statuses.clear()
    assert "web" in by_name(post.look())


def test_an_engine_that_goes_away_in_the_middle_is_reported_and_its_events_wait(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.look()
    post.die(web, 7)
    post.engine.crash()
    assert why_unknown(post.look())
    assert post.view.lost == 1
    post.engine.listen()
    [death] = post.look().deaths
    assert (death.exit_code, death.inferred) == (7, False)


@pytest.mark.parametrize("babble", [HTML, NOISE], ids=["html", "noise"])
def test_a_socket_that_babbles_makes_docker_unknown_once_and_ends_nothing(
    post: WatchPost, babble: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "daemon.lookout")
    post.engine.add("web")
    post.look()
    post.engine.babble = babble
    post.events.lose()
    for _ in range(20):
        seen = post.look()
        assert seen.deaths == ()
        assert why_unknown(seen)
    assert len(caplog.messages) <= 2, "one for what was asked last, one for the greeting"
    post.engine.babble = b""
    seen = post.look()
    assert isinstance(seen.facts.sources[SourceName.DOCKER], Known)
    assert (seen.deaths, [container.name for container in seen.facts.containers]) == ((), ["web"])


def test_after_a_hang_everything_is_compared_though_no_event_was_missed(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.look()
    post.view.set(EngineState.HUNG)
    post.look()
    post.die(web, 4, told=False)
    post.view.set(EngineState.UP)
    [death] = post.look(5 * SECOND).deaths
    assert (death.exit_code, death.inferred) == (4, True)


@pytest.mark.parametrize("status", [403, 404, 500, 501])
def test_a_log_that_docker_refuses_costs_only_its_lines(post: WatchPost, status: int) -> None:
    web = post.engine.add("web")
    post.look()
    post.die(web, 3)
    post.engine.statuses["/containers/*/logs"] = status
    assert by_name(post.look())["web"].log_tail == ()


def test_an_engine_that_hangs_over_a_log_is_asked_for_no_other(post: WatchPost) -> None:
    fleet = [post.engine.add(f"web-{number}") for number in range(30)]
    post.look()
    for container in fleet:
        post.die(container, 3)
    post.engine.hung_paths.add("/containers/*/logs")
    assert len(by_name(post.look())) == 30
    assert post.engine.count("/containers/*/logs") == 1


class Ailing(dict[str, int]):
    """Sizes of containers that cannot be asked for."""

    def get(self, *_: object) -> Never:
        """Fail."""
        raise RuntimeError("an error of our own")


def test_an_error_of_our_own_in_a_look_costs_no_death(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.look()
    post.die(web, 3)
    post.sizes = Ailing()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            post.look()
    post.sizes = {}
    assert [death.name for death in post.look().deaths] == ["web"]
    assert post.look().deaths == ()


def test_three_hundred_events_in_a_gap_cost_no_death(post: WatchPost) -> None:
    """The engine remembers 256 events: of 300 ends the first 44 are told by no event."""
    fleet = [post.engine.add(f"web-{number}") for number in range(300)]
    post.look()
    for number, container in enumerate(fleet):
        post.die(container, 3, told=number >= 44)
    post.events.lose()
    deaths = [*post.look(5 * SECOND).deaths, *post.look(LATER).deaths]
    assert Counter(death.name for death in deaths) == Counter(container.name for container in fleet)
    assert {death.name for death in deaths if death.inferred} == {container.name for container in fleet[:44]}
    assert {death.exit_code for death in deaths} == {3}


def test_a_queue_that_ran_full_costs_no_death(engine: ScriptedEngine, tmp_path: Path) -> None:
    post = WatchPost(engine, tmp_path, Options(queue=10))
    fleet = [engine.add(f"web-{number}") for number in range(30)]
    post.look()
    for container in fleet:
        post.die(container, 3)
    deaths = post.look(5 * SECOND).deaths
    assert sorted(death.name for death in deaths) == sorted(container.name for container in fleet)
    assert sum(not death.inferred for death in deaths) == 10
    post.close()


def test_a_flood_is_said_once_and_its_end_once(
    engine: ScriptedEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "daemon.lookout")
    post = WatchPost(engine, tmp_path, Options(queue=10))
    web = engine.add("web")
    post.look()
    for _ in range(20):
        for _ in range(15):
            post.emit("kill", web, signal="1")
        post.look()
    for _ in range(5):
        post.look(20 * SECOND)
    begun, over = caplog.messages
    assert begun.startswith("Docker sends more events than can be kept")
    assert over == "the flood of events is over; 100 events were dropped"
    post.close()


def test_containers_that_came_and_went_in_masses_are_not_asked_for_one_by_one(post: WatchPost) -> None:
    post.engine.add("web")
    post.look()
    before = post.engine.count("/containers/*/json")
    for number in range(2000):
        passing = post.engine.add(f"passing-{number}", state="exited", finished_at=post.engine.now, exit_code=1)
        post.emit("die", passing, exitCode="1")
        post.remove(passing)
    assert len(post.look(5 * SECOND).deaths) == 2000
    assert post.engine.count("/containers/*/json") == before


def test_one_container_that_docker_fails_over_hides_no_other(post: WatchPost) -> None:
    broken, web = post.engine.add("broken"), post.engine.add("web")
    post.look()
    post.engine.statuses[f"/containers/{broken.id}/json"] = 500
    post.emit("health_status: unhealthy", broken)
    post.die(web, 3)
    seen = post.look()
    assert isinstance(seen.facts.sources[SourceName.DOCKER], Known)
    assert "web" in by_name(seen)
    assert {container.name: container.inspected for container in seen.facts.containers} == {
        "broken": False,
        "web": True,
    }


def test_a_container_that_docker_fails_over_is_tried_again_before_long(post: WatchPost) -> None:
    broken = post.engine.add("broken")
    post.engine.statuses[f"/containers/{broken.id}/json"] = 500
    post.look()
    post.engine.statuses.clear()
    [shown] = post.look(15 * SECOND).facts.containers
    assert shown.inspected


@pytest.mark.parametrize("path", ["/containers/json", "/containers/*/json"])
def test_what_a_proxy_forbids_of_containers_makes_docker_unknown(post: WatchPost, path: str) -> None:
    post.engine.add("web")
    post.engine.statuses[path] = 403
    assert "forbids GET" in why_unknown(post.look())


@pytest.mark.parametrize("status", [403, 404, 500])
def test_images_that_cannot_be_read_are_unknown_and_not_forgotten(post: WatchPost, status: int) -> None:
    post.engine.images = [{"Id": "sha256:1", "RepoTags": [], "Size": 1, "Created": 1_700_000_000}]
    post.engine.last_tagged["sha256:1"] = "2026-11-20T10:00:00Z"
    post.look()
    post.engine.statuses["/images/json"] = status
    blind = post.look(LATER)
    assert str(status) in why_unknown(blind, SourceName.IMAGES)
    assert why_unknown(blind) == ""
    assert blind.facts.images == ()
    post.engine.statuses.clear()
    [image] = post.look(LATER).facts.images
    assert image.watched_for == 2 * LATER


@pytest.mark.parametrize("use", ["container", "tag"])
def test_the_time_of_an_image_begins_when_its_use_ends(post: WatchPost, use: str) -> None:
    image_id = "sha256:" + "b" * 64
    listed = {"Id": image_id, "RepoTags": ["bb:latest"] if use == "tag" else [], "Size": 1, "Created": 1_700_000_000}
    post.engine.images = [listed]
    post.engine.last_tagged[image_id] = "2026-01-20T10:00:00Z"
    if use == "container":
        post.engine.add("job")
    post.look()
    post.look(LATER)
    post.engine.containers.clear()
    post.engine.images = [listed | {"RepoTags": []}]
    [unused] = post.look(LATER).facts.images
    assert unused.watched_for == timedelta(0)
    [unused] = post.look(LATER).facts.images
    assert unused.watched_for == LATER


def test_a_storm_of_image_events_reads_the_images_once_a_second(post: WatchPost) -> None:
    post.look()
    lists = post.engine.count("/images/json")
    for number in range(200):
        post.events.put(post.engine.emit("tag", f"sha256:{number}", kind="image"))
        post.look(SECOND / 20)
    assert 9 <= post.engine.count("/images/json") - lists <= 11
    post.events.put(post.engine.emit("tag", "sha256:last", kind="image"))
    assert post.look(SECOND / 20).unsettled, "the last of them is not read yet"
    assert not post.look(SECOND).unsettled


def test_without_a_stream_everything_is_compared_every_15_seconds_which_is_said_once(
    post: WatchPost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    post.events.connected = False
    web = post.engine.add("web")
    post.look()
    lists = post.engine.count("/containers/json")
    for _ in range(8):
        post.look(15 * SECOND)
    assert post.engine.count("/containers/json") - lists == 8
    post.die(web, 3, told=False)
    [death] = post.look(15 * SECOND).deaths
    assert death.inferred
    post.events.connected = True
    post.look(15 * SECOND)
    told = [line for line in caplog.messages if "events" in line]
    assert len(told) == 2
    assert told[0].startswith("no events come from Docker")
    assert told[1] == "Docker's events come again"


def test_a_stream_that_is_opened_again_changes_nothing(post: WatchPost, caplog: pytest.LogCaptureFixture) -> None:
    post.look()
    for connected in (False, True, False, True):
        post.events.connected = connected
        post.look(10 * SECOND)
    assert post.engine.count("/containers/json") == 1
    assert caplog.messages == []


def test_a_stream_that_ended_with_the_engine_is_no_news(post: WatchPost, caplog: pytest.LogCaptureFixture) -> None:
    post.look()
    post.events.connected = False
    post.look()
    post.view.set(EngineState.STOPPED)
    post.look(HOUR)
    post.view.set(EngineState.UP)
    post.look()
    assert caplog.messages == []


def test_nothing_that_a_container_writes_is_shown_when_no_log_line_may_leave_the_host(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    post = WatchPost(engine, tmp_path, Options(log_lines=0))
    web = engine.add("web", health="unhealthy")
    state = {**web.inspected()["State"], "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": [LEAK]}}
    web.inspect_extra = {"State": state}
    engine.logs[web.id] = framed("secret line\n")
    seen = post.look()
    assert "secret probe" not in repr(seen)
    [shown] = seen.facts.containers
    assert shown.health is not None
    assert shown.health.failing_streak == 3
    web.inspect_extra = {}
    post.die(web, 3)
    assert "secret line" not in repr(post.look())
    assert engine.count("/containers/*/logs") == 0
    post.close()


def test_a_container_that_stays_the_same_is_shown_as_the_same_object(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.engine.add("idle")
    [idle, before] = post.look().facts.containers
    assert post.look().facts.containers == (idle, before)
    post.sizes = {web.id: 4096}
    [same, sized] = post.look().facts.containers
    assert same is idle
    assert sized.size_bytes == 4096
    assert post.look().facts.containers[1] is sized


def test_ends_that_the_machine_took_along_in_our_absence_are_no_crashes(
    post: WatchPost, engine: ScriptedEngine, tmp_path: Path
) -> None:
    web = engine.add("web")
    post.cycle()
    rebooted = post.restarted()
    rebooted.close()
    rebooted.clock.boot = "another"
    again = WatchPost(engine, tmp_path, clock=rebooted.clock)
    again.die(web, 255, told=False)
    [death] = again.look(5 * SECOND).deaths
    assert death.intent is Intent.ENGINE
    web.state, web.started_at = "running", again.clock.now()
    again.look(LATER)
    again.die(web, 1, told=False)
    [death] = again.look(LATER).deaths
    assert death.intent is Intent.NONE, "that was only the first look"
    again.close()


@pytest.mark.parametrize("step", [2 * HOUR, -2 * HOUR])
def test_deaths_grow_old_by_time_that_passes_not_by_the_wall_clock(post: WatchPost, step: timedelta) -> None:
    web = post.engine.add("web")
    post.look()
    post.die(web, 3)
    [death] = post.look().deaths
    post.clock.step(step)
    [shown] = post.look(10 * MINUTE).facts.deaths
    assert shown.key == death.key
    assert shown.age(post.clock.now()) == 10 * MINUTE + SECOND
    assert post.look(51 * MINUTE).facts.deaths == ()


def test_a_container_being_removed_is_still_there(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.look()
    web.state = "removing"
    [shown] = post.look(LATER).facts.containers
    assert shown.state is ContainerState.REMOVING


def test_the_environment_asks_for_gpus_only_where_the_engines_default_runtime_reads_it(post: WatchPost) -> None:
    web = post.engine.add("web")
    web.inspect_extra = {"Config": {"Env": ["NVIDIA_VISIBLE_DEVICES=all"]}}  # and no runtime is named
    [seen] = post.look().facts.containers
    assert seen.gpu_requests == ()
    post.view.engine = replace(post.view.engine, default_runtime="nvidia")
    [seen] = post.look().facts.containers
    assert seen.gpu_requests == (GpuRequest(source=GpuRequestSource.ENVIRONMENT, all=True),)


def test_gpus_are_part_of_the_facts_and_known_by_themselves(post: WatchPost) -> None:
    web = post.engine.add("web")
    write_processes(post.folder / "proc", {7: in_container([web.id])})
    post.gpus.show(a_gpu(0, a_process(7, GIB)))
    facts = post.look().facts
    assert isinstance(facts.sources[SourceName.GPU], Known)
    assert [(use.container_id, use.memory_bytes) for use in facts.gpus.use] == [(web.id, GIB)]
    post.gpus.fail("the reader hangs")
    facts = post.look().facts
    assert facts.sources[SourceName.GPU] == Unknown("the reader hangs", NOW)
    assert (facts.gpus.devices, facts.gpus.seen) == ((), 1)
    assert isinstance(facts.sources[SourceName.DOCKER], Known)


@pytest.mark.parametrize("api_version", ["1.41", "1.44", "1.48", "1.51"])
def test_observing_sends_nothing_but_gets(tmp_path: Path, api_version: str) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", api_version) as engine:
        post = WatchPost(engine, tmp_path)
        web = engine.add("web", health="healthy")
        engine.add("old", state="exited", exit_code=1, finished_at=NOW - timedelta(days=30))
        engine.images = [{"Id": "sha256:1", "RepoTags": [], "Size": 1, "Created": 1_700_000_000}]
        engine.logs[web.id] = framed("boom\n")
        post.cycle()
        post.die(web, 3)
        post.cycle()
        post.cycle(LATER)
        post.remove(web)
        post.cycle()
        post.close()
        assert engine.count("/containers/json") >= 2
        assert engine.count("/containers/*/logs") == 1
        assert engine.non_get() == []


def test_a_request_that_is_no_get_would_have_been_seen(engine: ScriptedEngine) -> None:
    """Plants the fault that the test above looks for."""
    web = engine.add("web")
    with closing(HTTPConnection("localhost")) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(engine.socket_path))
        connection.request("DELETE", f"/v1.41/containers/{web.id}")
        connection.getresponse().read()
    assert engine.non_get() == [("DELETE", f"/containers/{web.id}")]


def test_a_stream_that_stays_closed_is_a_fact_and_one_that_opens_ends_it(post: WatchPost) -> None:
    post.look()
    post.events.connected = False
    post.look()
    post.look(14 * SECOND)
    assert post.look(SECOND).facts.own.no_events_for == 15 * SECOND
    post.events.connected = True
    assert post.look().facts.own.no_events_for is None


def test_why_a_container_ended_last_is_known_where_an_event_told_it(post: WatchPost) -> None:
    crashed, stopped, unseen = (post.engine.add(name) for name in ("crashed", "stopped", "unseen"))
    post.look()
    post.die(crashed, 1)
    post.stop(stopped)
    post.die(unseen, 1, told=False)
    post.events.lose()
    post.look(LATER)
    known = post.look(2 * HOUR).facts.ended_by
    assert known == {crashed.id: Intent.NONE, stopped.id: Intent.API}
    post.remove(crashed)
    post.events.lose()
    post.look(LATER)
    post.stop(post.engine.add("another"))
    post.events.lose()
    assert crashed.id not in post.look(LATER).facts.ended_by


@pytest.mark.parametrize("told", [True, False], ids=["docker stop", "docker kill"])
def test_who_is_stopped_between_two_restarts_is_stopped_by_somebody(post: WatchPost, *, told: bool) -> None:
    loop = post.engine.add("loop")
    post.look()
    post.die(loop, 1)
    loop.state = "restarting"
    assert post.look().facts.ended_by == {loop.id: Intent.NONE}
    loop.state = "exited"
    if told:
        post.emit("stop", loop)
    else:
        post.events.lose()
    found = post.look(SECOND)
    assert found.facts.ended_by == {loop.id: Intent.API}
    assert found.lying == {loop.id: Intent.API}
    assert post.look(SECOND).lying == {}, "that is told once"


def test_what_the_engine_stopped_and_did_not_start_again_ended_with_it(post: WatchPost) -> None:
    taken, before, kept = (post.engine.add(name) for name in ("taken", "before", "kept"))
    policy = {"Name": "unless-stopped", "MaximumRetryCount": 0}
    kept.inspect_extra = {"HostConfig": {**kept.inspected()["HostConfig"], "RestartPolicy": policy}}
    post.look()
    post.stop(before)
    post.look(MINUTE)
    post.stop(taken)
    post.stop(kept)  # by somebody: the engine would have started it again
    post.look(SECOND)
    post.view.set(EngineState.STOPPED, "Docker is stopped")
    post.look(SECOND)
    post.view.set(EngineState.UP)
    found = post.look(HOUR)
    assert found.facts.ended_by == {taken.id: Intent.ENGINE, before.id: Intent.API, kept.id: Intent.API}
    assert found.lying == {taken.id: Intent.ENGINE}


def test_a_restart_that_fails_is_no_stop(post: WatchPost) -> None:
    loop = post.engine.add("loop")
    post.look()
    post.die(loop, 1)
    loop.state = "restarting"
    post.look()
    loop.state = "exited"
    loop.inspect_extra = {"State": {**loop.inspected()["State"], "Error": "no such device"}}
    post.events.lose()
    assert post.look(LATER).facts.ended_by == {loop.id: Intent.NONE}


def test_health_that_turns_is_counted_by_identity(post: WatchPost) -> None:
    web = post.engine.add("web", health="healthy")
    post.look()
    for health in ("unhealthy", "healthy", "unhealthy", "healthy"):
        web.health = health
        post.emit(f"health_status: {health}", web)
        post.look()
    facts = post.look().facts
    assert facts.health_turns == {"web": 4}
    assert not facts.health_watched
