"""The watch on a scripted engine: what is told, what is kept, and what no fault may change."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

import pytest

from collectors.facts import COMPOSE_NUMBER, COMPOSE_PROJECT, COMPOSE_SERVICE, EngineState, SourceName
from daemon import history
from daemon.alerts import outbox
from daemon.alerts.routing import RoutingRule
from daemon.alerts.silence import Silence
from daemon.alerts.state import Phase
from daemon.counters import DEATHS, GPU_ALLOCATED, GPU_SM, OOM_KILLS
from tests.daemon.watchpost import HOUR, MINUTE, POLICIES, SECOND, Options, WatchPost
from tests.fakes.clock import NOW
from tests.fakes.gpus import a_gpu, a_process, in_container, write_processes
from tests.lab.waiting import wait_until
from tests.policies.build import GIB, compose, filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from collectors.facts import Facts
    from policies.policy import Removal, Verdict
    from tests.lab.scripted_engine import ScriptedEngine

LATER, DAY = timedelta(minutes=6), timedelta(days=1)
CRASHED, UNHEALTHY, DISK, DOWN = "container-crashed", "container-unhealthy", "disk-low", "engine-down"
CLOCK_STEPS = pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * DAY, -365 * DAY])
KEPT = ("deaths", "counters", "alert_states", "outbox")
SERVICE = {COMPOSE_PROJECT: "shop", COMPOSE_SERVICE: "web", COMPOSE_NUMBER: "1"}


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    post = WatchPost(engine, tmp_path)
    yield post
    post.close()


@contextmanager
def no_room_for_deaths(post: WatchPost) -> Iterator[None]:
    """Make every transaction that stores a death fail, with an error that is no fault of the disk."""
    post.store.read("CREATE TRIGGER refuse BEFORE INSERT ON deaths BEGIN SELECT RAISE(ABORT, 'refused'); END")
    yield
    post.store.read("DROP TRIGGER refuse")


def deaths_counted(post: WatchPost, name: str) -> float:
    assert post.watch.snapshot is not None
    return sum(value for block, value in post.watch.snapshot.counters[DEATHS] if f'name="{name}"' in block)


def kills_counted(post: WatchPost, name: str) -> float:
    assert post.watch.snapshot is not None
    return sum(value for block, value in post.watch.snapshot.counters[OOM_KILLS] if f'name="{name}"' in block)


class Poison:
    """A policy with a bug."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        self.ails = True

    def decide(self, facts: Facts) -> Iterator[Verdict]:
        """Fail while it ails."""
        if self.ails:
            raise ZeroDivisionError(f"{len(facts.containers)} containers")
        yield from ()


def test_a_crash_is_told_once_stored_once_and_counted_once(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.die(web, 3)
    post.cycles(40)
    assert post.told() == [(CRASHED, "fired")]
    assert [death.exit_code for death in post.stored_deaths()] == [3]
    assert deaths_counted(post, "web") == 1
    assert post.notified == 1


def test_memory_kills_of_an_earlier_run_are_none_of_the_next(post: WatchPost) -> None:
    web = post.engine.add("web")
    for count in (0, 2):
        post.disks.oom_kills = {web.id: count}
        post.cycle(15 * SECOND)
    assert kills_counted(post, "web") == 2
    post.stop(web)
    post.clock.advance(2 * SECOND)  # no sample is due yet
    web.state, web.started_at = "running", post.clock.now()
    post.emit("start", web)
    post.watch.cycle()
    assert kills_counted(post, "web") == 2
    post.disks.oom_kills = {web.id: 1}
    post.cycle(13 * SECOND)
    assert kills_counted(post, "web") == 3


def test_while_docker_is_down_its_alerts_are_unknown_disks_are_still_told_of_and_nothing_is_planned(
    post: WatchPost,
) -> None:
    web = post.engine.add("web", health="unhealthy")
    post.engine.add("old", state="exited", finished_at=NOW - timedelta(days=30))
    post.cycle()
    post.cycles(2, MINUTE)
    assert post.phase(UNHEALTHY, "web") is Phase.FIRING
    post.engine.stop()
    post.view.set(EngineState.CRASHED, "Docker is down")
    web.health = "healthy"
    post.disks.filesystems = (filesystem(available=1 * GIB),)
    post.cycles(5, MINUTE)
    assert post.alerts[UNHEALTHY, "web"].unknown
    assert (DISK, "fired") in post.told()
    assert (DOWN, "fired") in post.told()
    assert post.watch.snapshot is not None
    assert post.watch.snapshot.decision.removals == ()
    assert post.watch.snapshot.decision.skipped["containers"] == "docker: Docker is down"
    post.engine.listen()
    post.view.set(EngineState.UP)
    post.cycles(3, MINUTE)
    assert (UNHEALTHY, "resolved") in post.told()
    assert post.engine.non_get() == []


def test_a_service_that_compose_redeploys_is_nothing_to_tell_of(post: WatchPost) -> None:
    old = post.engine.add("shop-web-1", labels=SERVICE)
    post.cycle()
    new = post.engine.add("0123456789ab_shop-web-1", labels=SERVICE, state="created", started_at=None)
    post.emit("create", new)
    post.cycle()
    post.stop(old)
    post.cycle()
    post.remove(old)
    new.name, new.state, new.started_at = "shop-web-1", "running", post.clock.now()
    post.emit("rename", new)
    post.emit("start", new)
    post.cycles(60)
    assert post.told() == []
    assert post.alerts == {}
    [death] = post.stored_deaths()
    assert death.intent.value == "api"


def test_a_container_that_is_recreated_after_a_crash_keeps_its_alert_and_its_counter(post: WatchPost) -> None:
    old = post.engine.add("shop-web-1", labels=SERVICE)
    post.cycle()
    post.die(old, 1)
    post.cycles(40)
    post.remove(old)
    new = post.engine.add("shop-web-1b", labels=SERVICE, started_at=post.clock.now())
    new.name = old.name
    post.emit("start", new)
    post.cycles(200)
    assert post.told() == [(CRASHED, "fired"), (CRASHED, "resolved")]
    post.die(new, 1)
    post.cycle()
    assert deaths_counted(post, "shop-web-1") == 2


@pytest.mark.parametrize("down_for", [1, 40])
def test_a_container_recreated_under_its_name_again_and_again_is_one_subject(post: WatchPost, down_for: int) -> None:
    current = post.engine.add("web")
    post.cycle()
    post.die(current, 1)
    post.cycles(down_for)
    for number in range(5):
        post.remove(current)
        current = post.engine.add(f"web-{number}", started_at=post.clock.now())
        current.name = "web"
        post.emit("create", current)
        post.emit("start", current)
        post.cycle(2 * SECOND)
        post.stop(current)
    post.remove(current)
    current = post.engine.add("web-last", started_at=post.clock.now())
    current.name = "web"
    post.emit("start", current)
    post.cycles(300)
    told_of_long_ones = [(CRASHED, "fired"), (CRASHED, "resolved")]
    assert post.told() == (told_of_long_ones if down_for > 30 else []), "one that runs again at once is not told"
    assert post.alerts == {}
    assert deaths_counted(post, "web") == 6
    assert sorted(death.intent.value for death in post.stored_deaths()) == ["api"] * 5 + ["none"]


def test_an_hour_without_docker_is_one_alert_and_no_flood_of_lines(
    post: WatchPost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    post.engine.add("web")
    post.cycle()
    since = post.clock.now()
    post.engine.crash()
    post.view.set(EngineState.CRASHED, "Docker is down")
    post.view.engine = replace(post.view.engine, since=since)
    post.cycles(720, 5 * SECOND)
    [down] = [state for (alert, _), state in post.alerts.items() if alert == DOWN]
    assert down.since - since <= 10 * SECOND
    assert post.told() == [(DOWN, "fired")]
    rows = post.store.read("SELECT (SELECT COUNT(*) FROM outbox) + (SELECT COUNT(*) FROM alert_states) AS count")
    assert rows[0]["count"] == 2
    post.engine.listen()
    post.view.set(EngineState.UP)
    post.cycles(60, 5 * SECOND)
    assert post.told() == [(DOWN, "fired"), (DOWN, "resolved")]
    assert len(caplog.messages) <= 6, caplog.messages


def test_a_death_that_cannot_be_stored_is_stored_and_counted_once_when_it_can(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    with no_room_for_deaths(post):
        post.die(web, 3)
        for _ in range(3):
            with pytest.raises(sqlite3.IntegrityError):
                post.cycle()
    post.cycles(40)
    assert [death.name for death in post.stored_deaths()] == ["web"]
    assert deaths_counted(post, "web") == 1
    assert post.told() == [(CRASHED, "fired")]
    again = post.restarted()
    again.cycles(2, LATER)
    assert deaths_counted(again, "web") == 1
    assert [death.name for death in again.stored_deaths()] == ["web"]
    again.close()


def test_a_death_that_was_never_stored_is_found_after_a_restart(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    with no_room_for_deaths(post):
        post.die(web, 3)
        with pytest.raises(sqlite3.IntegrityError):
            post.cycle()
    again = post.restarted(5 * SECOND)
    again.cycle()
    assert [death.inferred for death in again.stored_deaths()] == [True]
    assert deaths_counted(again, "web") == 1
    again.close()


def test_a_disk_without_room_costs_nothing_while_we_run(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.store.read("PRAGMA max_page_count = 1")
    for number in range(100):
        post.emit("start", post.engine.add(f"other-{number}"))
    post.die(web, 3)
    post.cycles(40)
    assert post.store.degraded
    assert post.told() == [(CRASHED, "fired")]
    assert [death.name for death in post.stored_deaths()] == ["web"]
    assert deaths_counted(post, "web") == 1


def test_a_pending_alert_goes_on_after_a_restart_with_the_time_that_it_was_away(post: WatchPost) -> None:
    post.engine.add("web", health="unhealthy")
    post.cycle()
    post.cycles(30)
    again = post.restarted(20 * SECOND)
    again.view.set(EngineState.STARTING)
    again.cycle()
    assert again.alerts[UNHEALTHY, "web"].unknown
    again.view.set(EngineState.UP)
    again.cycles(7)
    assert again.phase(UNHEALTHY, "web") is Phase.PENDING, "58 of its 60 seconds"
    again.cycles(3)
    assert again.told() == [(UNHEALTHY, "fired")]
    again.close()


@CLOCK_STEPS
def test_a_wall_clock_that_is_set_neither_fires_nor_resolves_anything(post: WatchPost, step: timedelta) -> None:
    post.engine.add("pending", health="unhealthy")
    clearing, looping = post.engine.add("clearing", health="unhealthy"), post.engine.add("looping")
    post.disks.filesystems = (filesystem(),)
    post.cycle()
    post.cycles(2, MINUTE)
    clearing.health = "healthy"
    post.emit("health_status: healthy", clearing)
    for _ in range(6):
        post.die(looping, 1)
        post.cycle(2 * SECOND)
    late = post.engine.add("late", health="unhealthy")
    post.emit("start", late)
    post.cycle()
    before, told = {key: state.phase for key, state in post.alerts.items()}, post.told()
    assert before["container-restart-loop", "looping"] is Phase.FIRING
    assert before[UNHEALTHY, "clearing"] is Phase.CLEARING
    assert before[UNHEALTHY, "late"] is Phase.PENDING
    post.clock.step(step)
    post.cycles(3)
    assert {key: state.phase for key, state in post.alerts.items()} == before
    assert post.told() == told


@CLOCK_STEPS
def test_a_wall_clock_that_is_set_in_our_absence_does_not_make_it_longer(post: WatchPost, step: timedelta) -> None:
    post.engine.add("web", health="unhealthy")
    post.cycle()
    post.clock.step(step)
    again = post.restarted(20 * SECOND)
    again.cycle()
    assert again.phase(UNHEALTHY, "web") is Phase.PENDING
    assert again.alerts[UNHEALTHY, "web"].timer == 21 * SECOND
    again.close()


@CLOCK_STEPS
def test_a_loop_goes_on_across_a_restart_with_another_wall_clock(post: WatchPost, step: timedelta) -> None:
    looping = post.engine.add("looping")
    post.cycle()
    for _ in range(6):
        post.die(looping, 1)
        post.cycle(2 * SECOND)
    told, ends = post.told(), [death.key for death in post.stored_deaths()]
    post.clock.step(step)
    again = post.restarted(20 * SECOND)
    again.cycles(3)
    assert again.phase("container-restart-loop", "looping") is Phase.FIRING
    assert [death.key for death in again.stored_deaths()] == ends
    assert again.told() == told
    again.cycle(16 * MINUTE)
    again.cycles(3)
    assert again.phase("container-restart-loop", "looping") is None, "its quiet time has passed by the monotonic clock"
    again.close()


@CLOCK_STEPS
def test_a_crash_after_the_wall_clock_was_set_is_told_and_counted_once(post: WatchPost, step: timedelta) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.clock.step(step)
    post.engine.now = post.clock.now()
    post.cycle()
    post.die(web, 3)
    post.cycles(40)
    assert post.told() == [(CRASHED, "fired")]
    assert [death.exit_code for death in post.stored_deaths()] == [3]


@CLOCK_STEPS
def test_housekeeping_forgets_nothing_because_the_wall_clock_was_set(post: WatchPost, step: timedelta) -> None:
    web = post.engine.add("web", health="unhealthy")
    post.cycles(2, MINUTE)
    post.die(web, 3)
    post.cycles(40)
    before = {table: len(post.store.read(f"SELECT * FROM {table}")) for table in KEPT}  # noqa: S608  names of ours
    assert all(before.values())
    post.clock.step(step)
    post.cycle()
    post.store.write(lambda connection: history.prune(connection, post.steady.now()))
    post.store.write(lambda connection: outbox.prune(connection, post.steady.now()))
    assert {table: len(post.store.read(f"SELECT * FROM {table}")) for table in KEPT} == before  # noqa: S608


def test_what_would_be_removed_is_said_once_also_across_an_outage(
    post: WatchPost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    old = post.engine.add("old", state="exited", exit_code=0, finished_at=NOW - timedelta(days=30))
    post.cycles(3)
    post.view.set(EngineState.HUNG)
    post.cycle()
    post.view.set(EngineState.UP)
    post.cycles(3)
    [line] = [line for line in caplog.messages if line.startswith("would remove")]
    assert line.startswith("would remove container old")
    old.state, old.started_at = "running", post.clock.now()
    post.emit("start", old)
    post.cycle()
    old.state, old.finished_at = "exited", NOW - timedelta(days=20)
    post.cycle(LATER)
    assert len([line for line in caplog.messages if line.startswith("would remove")]) == 1
    post.cycle(timedelta(days=4))
    assert len([line for line in caplog.messages if line.startswith("would remove")]) == 2


def test_forbidden_images_skip_their_policy_with_the_reason_and_no_other(post: WatchPost) -> None:
    post.engine.add("old", state="exited", finished_at=NOW - timedelta(days=30))
    post.engine.statuses["/images/*"] = 403
    post.cycle()
    assert post.watch.snapshot is not None
    decision = post.watch.snapshot.decision
    assert list(decision.skipped) == ["images_dangling"]
    assert "forbids GET" in decision.skipped["images_dangling"]
    assert [removal.object.name for removal in decision.removals] == ["old"]


def test_no_word_of_a_probe_reaches_message_or_store_when_no_log_line_may_leave_the_host(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    post = WatchPost(engine, tmp_path, Options(log_lines=0))
    web = engine.add("web", health="unhealthy")
    state = web.inspected()["State"]
    entry = {"Start": "2026-11-23T16:00:00Z", "End": "2026-11-23T16:00:01Z", "ExitCode": 1, "Output": "hush hush"}
    web.inspect_extra = {"State": {**state, "Health": {"Status": "unhealthy", "FailingStreak": 4, "Log": [entry]}}}
    post.cycle()
    post.cycles(2, MINUTE)
    assert post.alerts[UNHEALTHY, "web"].reason == "4 probes failed in a row"
    post.close()
    for file in (tmp_path / "state").iterdir():
        assert b"hush hush" not in file.read_bytes()


def test_what_a_probe_prints_is_told_without_its_secrets(post: WatchPost) -> None:
    web = post.engine.add("web", health="unhealthy")
    entry = {"Start": "2026-11-23T16:00:00Z", "End": "2026-11-23T16:00:01Z", "ExitCode": 1, "Output": "token=hunter2"}
    health = {"Status": "unhealthy", "FailingStreak": 1, "Log": [entry]}
    web.inspect_extra = {"State": {**web.inspected()["State"], "Health": health}}
    post.cycle()
    assert post.alerts[UNHEALTHY, "web"].reason == "1 probe failed in a row: token=***"


def test_an_alert_about_a_filesystem_that_is_gone_is_over_once_all_places_were_seen_without_it(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    post = WatchPost(engine, tmp_path)
    root, old = filesystem(roles=("os-root",)), filesystem(mountpoint="/mnt/old", available=1 * GIB)
    post.disks.filesystems = (root, old)
    post.cycles(3, MINUTE)
    assert post.phase(DISK, "/mnt/old") is Phase.FIRING
    for unsure in ((), (root,)):
        post.disks.filesystems = unsure
        post.cycles(10, MINUTE)
        assert post.phase(DISK, "/mnt/old") is Phase.FIRING
    new = filesystem(mountpoint="/mnt/new")
    post.disks.filesystems = (root, replace(old, roles=("state",)), new)
    post.cycles(3, MINUTE)
    assert post.phase(DISK, "/mnt/old") is Phase.CLEARING
    post.disks.filesystems = (root, new)
    post.cycles(4, MINUTE)
    assert post.told() == [(DISK, "fired"), (DISK, "resolved")]
    post.close()


def test_no_secret_shows_because_a_long_text_is_cut_within_it(post: WatchPost) -> None:
    address = "postgres://app:hunter2@db"
    long = "x" * (199 - address.index("@"))
    web = post.engine.add("web", health="unhealthy")
    health = {"Status": "unhealthy", "FailingStreak": 1, "Log": [{"ExitCode": 1, "Output": long + address}]}
    web.inspect_extra = {"State": {**web.inspected()["State"], "Health": health}}
    bad = post.engine.add("bad", state="exited", exit_code=127)
    bad.inspect_extra = {"State": {**bad.inspected()["State"], "Error": long + address}}
    post.cycle()
    assert "postgres://" in post.alerts[UNHEALTHY, "web"].reason
    assert "postgres://" in post.alerts["container-start-failed", "bad"].reason
    assert not [key for key, state in post.alerts.items() if "hunter2" in state.reason]


def test_where_a_route_leads_people_hear_of_what_still_fires_when_a_silence_is_over(post: WatchPost) -> None:
    post.watch.adopt(replace(post.watch.book, routes=(RoutingRule(to=("#on-call",), alerts=("disk-*",)),)))
    begun = post.steady.now()
    post.silences.begin(Silence(matchers=(), by="ada", why="move", begun=begun, until=begun + 5 * MINUTE))
    post.disks.filesystems = (filesystem(available=1 * GIB),)
    post.cycles(7, MINUTE)
    told = post.store.read("SELECT sink, json_extract(record, '$.title') AS title FROM outbox ORDER BY sink")
    assert [tuple(row) for row in told] == [
        ("#on-call", "silence 1 is over: 1 alert still fires"),
        ("console", "silence 1 is over: 1 alert still fires"),
    ]


def test_a_use_of_an_image_is_remembered_though_we_end_a_moment_later(post: WatchPost) -> None:
    post.engine.images = [{"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 1, "Created": 1_700_000_000}]
    post.cycle()
    post.cycles(3, 10 * DAY)
    job = post.engine.add("job", image="a:1", image_id="sha256:1", state="created")
    post.emit("create", job, image="a:1")
    post.remove(job)
    post.cycle()
    used_at = post.clock.now()
    again = post.restarted()
    again.cycle()
    assert again.watch.snapshot is not None
    assert [image.last_used_at for image in again.watch.snapshot.facts.images] == [used_at]
    again.close()


def test_what_is_handed_over_stands_on_the_page_by_then(post: WatchPost) -> None:
    seen: list[list[str]] = []

    def hand_over(removals: Sequence[Removal]) -> None:
        assert post.watch.snapshot is not None
        assert list(post.watch.snapshot.decision.removals) == list(removals)
        seen.append([each.object.name for each in removals])

    post.watch._hand_over = hand_over
    old = post.engine.add("old", state="exited", finished_at=NOW - timedelta(days=30))
    post.cycle()
    post.remove(old)
    post.cycle()
    assert seen == [["old"], []]


def test_a_failing_cycle_loses_no_death_and_leaves_no_old_picture(engine: ScriptedEngine, tmp_path: Path) -> None:
    poison = Poison()
    post = WatchPost(engine, tmp_path, Options(policies={**POLICIES, "poison": poison}))
    web = engine.add("web")
    poison.ails = False
    post.cycle()
    poison.ails = True
    post.die(web, 3)
    post.clock.advance(SECOND)
    post.watch.start()
    assert wait_until(lambda: post.watch.failures, "a cycle that fails") == 1
    assert post.watch.snapshot is None
    assert not post.watch.ready
    poison.ails = False
    post.watch.wake()
    wait_until(lambda: post.watch.snapshot, "a cycle that ends well")
    assert post.watch.ready
    assert deaths_counted(post, "web") == 1
    assert [death.name for death in post.stored_deaths()] == ["web"]
    post.close()


def test_the_thread_starts_at_once_cycles_when_woken_and_ends_when_told(post: WatchPost) -> None:
    post.watch.start()
    wait_until(lambda: post.watch.ready, "the first cycle")
    cycles = post.watch.cycles
    post.watch.wake()
    wait_until(lambda: post.watch.cycles > cycles, "another cycle")
    post.watch.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "watch"]


def test_it_rests_the_shorter_the_more_is_undecided(post: WatchPost) -> None:
    web = post.engine.add("web", health="unhealthy")
    idle, soon, unsettled = timedelta(seconds=15), timedelta(seconds=5), timedelta(seconds=1)
    assert post.cycle() == unsettled, "an alert is pending"
    post.cycle(MINUTE)
    assert post.cycle() == idle
    web.health = "healthy"
    post.emit("health_status: healthy", web)
    assert post.cycle() == soon, "it clears"
    post.cycle(MINUTE)
    assert post.cycle() == idle
    post.view.set(EngineState.HUNG)
    post.cycle()
    assert post.cycle(MINUTE) == soon, "docker is unknown"


def test_a_storm_of_ends_found_after_a_gap_is_a_few_messages_that_name_them_all(post: WatchPost) -> None:
    fleet = [
        post.engine.add(f"web-{number}", labels=compose(f"shop-{number // 20}", "web", number)) for number in range(500)
    ]
    post.cycle()
    for number, container in enumerate(fleet):
        post.die(container, 3, told=number >= 44)
    post.events.lose()
    post.cycle(5 * SECOND)
    post.cycles(40)
    assert post.told() == [(CRASHED, "fired")] * 500
    sizes, named = [], set()
    while batch := outbox.next_batch(post.store, "console", post.steady.now()):
        outbox.mark_sent(post.store, batch.ids, post.steady.now())
        sizes.append(len(batch.states))
        named |= {state.subject.name for state in batch.states}
    assert sizes == [outbox.MOST_IN_STORM] * 4, "at most five messages, of 25 compose projects together"
    assert len(named) == 500


def test_a_storm_of_ends_is_counted_to_the_last(post: WatchPost) -> None:
    fleet = [post.engine.add(f"web-{number}") for number in range(200)]
    post.cycle()
    for container in fleet:
        post.die(container, 3)
    post.cycle()
    assert Counter(death.name for death in post.stored_deaths()) == Counter(container.name for container in fleet)
    assert post.watch.snapshot is not None
    assert sum(value for _, value in post.watch.snapshot.counters[DEATHS]) == 200


def charged(post: WatchPost, family: str) -> float:
    """Give the seconds that the page shows for the only container."""
    assert post.watch.snapshot is not None
    return sum(value for _, value in post.watch.snapshot.counters.get(family, ()))


@pytest.mark.parametrize(("uses", "least", "most"), [(False, 0, 120), (True, 500, 720)])
def test_while_docker_cannot_be_asked_only_use_that_is_seen_is_charged(
    post: WatchPost,
    uses: bool,  # noqa: FBT001  a parameter
    least: float,
    most: float,
) -> None:
    wants = {"DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]}
    trainer = post.engine.add("trainer", inspect_extra={"HostConfig": wants})
    write_processes(post.folder / "proc", {7: in_container([trainer.id])})
    gpu = a_gpu(0, a_process(7, GIB, 0.5)) if uses else a_gpu(0)

    def sampled(times: int) -> None:
        for _ in range(times):
            post.gpus.show(gpu)
            post.cycle(15 * SECOND)

    sampled(8)
    post.engine.stop()
    post.view.set(EngineState.CRASHED, "Docker is down")
    post.die(trainer, 137, told=False)
    sampled(40)
    assert least <= charged(post, GPU_ALLOCATED) <= most


def test_what_is_charged_for_gpus_goes_on_through_a_restart_and_a_recreation_and_never_back(
    post: WatchPost,
) -> None:
    trainer = post.engine.add("trainer")
    write_processes(post.folder / "proc", {7: in_container([trainer.id])})
    shown = []
    for _ in range(10):
        post.gpus.show(a_gpu(0, a_process(7, GIB, 0.5)))
        post.cycle(15 * SECOND)
        shown.append(charged(post, GPU_ALLOCATED))
    assert shown[0] == 0
    assert shown[-1] >= 120
    assert charged(post, GPU_SM) == shown[-1] / 2
    post.remove(trainer)
    recreated = post.engine.containers["f" * 64] = replace(trainer, id="f" * 64)
    after = post.restarted()
    write_processes(after.folder / "proc", {8: in_container([recreated.id])})
    for _ in range(10):
        after.gpus.show(a_gpu(0, a_process(8, GIB, 0.5)))
        after.cycle(15 * SECOND)
        shown.append(charged(after, GPU_ALLOCATED))
    after.close()
    assert shown == sorted(shown)
    assert shown[-1] >= 240
