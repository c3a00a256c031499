"""What events alone make the watch do: judge the containers they speak of, tell what is news at once, and no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_http import Endpoint
from collectors.facts import EngineState, SourceName
from daemon.alerts.state import Phase
from daemon.image_lane import ImageLane
from daemon.watch import FULL_AFTER, MOST_GLANCED_AT
from policies.catalogue import BY_NAME
from tests.daemon.watchpost import MINUTE, POLICIES, SECOND, Options, WatchPost
from tests.fakes.clock import NOW
from tests.fakes.images import PromptImages
from tests.policies.build import GIB, filesystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from collectors.facts import Facts, Image
    from policies.policy import Condition
    from tests.lab.scripted_engine import ScriptedEngine

CRASHED, LOOP, UNHEALTHY, DISK = "container-crashed", "container-restart-loop", "container-unhealthy", "disk-low"
AT_ONCE = {**BY_NAME, CRASHED: replace(BY_NAME[CRASHED], hold=timedelta(0))}
SOON = SECOND / 10


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    post = WatchPost(engine, tmp_path, Options(rules=AT_ONCE))
    post.engine.add("db")
    yield post
    post.close()


class Counting:
    """Counts how often it is asked."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = (DISK,)

    def __init__(self) -> None:
        self.asked = 0

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Find nothing."""
        del facts
        self.asked += 1
        yield from ()


class SlowImages(PromptImages):
    """Reads only when a test lets it, once it is `slow`."""

    def __init__(self, engine: ScriptedEngine) -> None:
        super().__init__(partial(EngineApi.connect, Endpoint(host=engine.host), SECOND))
        self.slow = False

    def ask(self) -> None:
        """Read, or not yet."""
        if self.slow:
            ImageLane.ask(self)
        else:
            super().ask()


def images(post: WatchPost) -> list[Image]:
    """Give what the pages know of images."""
    assert post.watch.snapshot is not None
    return list(post.watch.snapshot.facts.images)


def test_a_crash_is_told_by_the_glance_and_never_again(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.die(web, 3)
    post.glance(SOON)
    assert post.told() == [(CRASHED, "fired")]
    assert len(post.stored_deaths()) == 1
    post.cycles(20)
    assert post.told() == [(CRASHED, "fired")]


def test_what_waits_by_a_timer_is_left_to_the_full_round(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.die(web, 3)
    post.disks.filesystems = (filesystem(available=1 * GIB),)
    post.glance(20 * SECOND)
    assert set(post.alerts) == {(CRASHED, "web")}
    post.cycle(SOON)
    assert post.phase(DISK, "/") is Phase.PENDING
    post.emit("start", web)
    post.glance(20 * SECOND)
    post.cycle(5 * SECOND)
    assert post.phase(DISK, "/") is Phase.PENDING, "each second counts once"
    post.cycle(6 * SECOND)
    assert post.phase(DISK, "/") is Phase.FIRING


def test_a_timer_does_not_take_the_time_before_it_began(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    web.health = "unhealthy"
    post.emit("health_status: unhealthy", web)
    post.glance(59 * SECOND)
    post.cycle(SECOND)
    assert post.phase(UNHEALTHY, "web") is Phase.PENDING
    post.cycle(59 * SECOND)
    assert post.phase(UNHEALTHY, "web") is Phase.PENDING
    post.cycle(SECOND)
    assert post.phase(UNHEALTHY, "web") is Phase.FIRING


def test_a_glance_asks_nobody_about_the_rest_of_the_host_and_a_full_round_follows_soon(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    counting = Counting()
    post = WatchPost(engine, tmp_path, Options(rules=AT_ONCE, policies={**POLICIES, "disk_pressure": counting}))
    post.engine.add("old", state="exited", finished_at=NOW - timedelta(days=30))
    web = post.engine.add("web")
    post.cycle()
    asked, handed_over = counting.asked, len(post.handed_over)
    rests = []
    for _ in range(9):
        post.emit("exec_die", web)
        rests.append(post.glance(SOON))
    assert (counting.asked, len(post.handed_over)) == (asked, handed_over)
    assert rests == sorted(rests, reverse=True)
    assert rests[0] == FULL_AFTER
    post.emit("exec_die", web)
    post.glance(FULL_AFTER)
    assert (counting.asked, len(post.handed_over)) == (asked + 1, handed_over + 1)
    assert post.watch.snapshot is not None
    assert [each.object.name for each in post.watch.snapshot.decision.removals] == ["old"]
    post.close()


def test_what_a_glance_learned_is_on_the_next_page(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.die(web, 3)
    post.glance(SOON)
    assert post.watch.snapshot is not None
    assert {each.name: each.state for each in post.watch.snapshot.facts.containers} == {
        "db": "running",
        "web": "exited",
    }


def test_many_at_once_are_judged_with_all(post: WatchPost) -> None:
    fleet = [post.engine.add(f"web-{number}") for number in range(MOST_GLANCED_AT + 1)]
    post.cycle()
    for each in fleet:
        post.die(each, 3)
    assert post.glance(SOON) > FULL_AFTER
    assert post.told() == [(CRASHED, "fired")] * len(fleet)


def test_the_engine_speaks_for_its_containers_in_a_glance_too(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    post.view.set(EngineState.HUNG, "Docker does not answer")
    post.cycle()
    post.view.set(EngineState.UP)
    post.cycle()
    assert post.phase("engine-down", "Docker Engine") is Phase.CLEARING
    post.die(web, 3)
    post.glance(SOON)
    assert (CRASHED, "fired") not in post.told()


def test_a_loop_speaks_for_the_crash_that_makes_it(post: WatchPost) -> None:
    web = post.engine.add("web")
    post.cycle()
    for _ in range(5):
        post.die(web, 3)
        post.glance(MINUTE)
        web.state, web.started_at = "running", post.clock.now()
        post.emit("start", web)
        post.cycle()
    assert post.told()[-1] == (LOOP, "fired")
    assert post.told().count((LOOP, "fired")) == 1


def test_a_crash_does_not_wait_for_images_that_docker_does_not_list(engine: ScriptedEngine, tmp_path: Path) -> None:
    engine.images = [{"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 1, "Created": 1_700_000_000}]
    lane = SlowImages(engine)
    post = WatchPost(engine, tmp_path, Options(rules=AT_ONCE, images=lane))
    web = engine.add("web")
    post.cycle()
    assert len(images(post)) == 1
    lane.slow = True
    engine.images = []
    post.events.put(engine.emit("delete", "sha256:1", kind="image"))
    post.die(web, 3)
    post.glance(2 * SECOND)
    assert post.told() == [(CRASHED, "fired")]
    assert len(images(post)) == 1
    post.cycle()
    assert len(images(post)) == 1, "they are still being read"
    lane.read()
    post.cycle()
    assert images(post) == []
    post.close()


def test_images_that_changed_while_they_were_read_are_read_again(engine: ScriptedEngine, tmp_path: Path) -> None:
    lane = SlowImages(engine)
    post = WatchPost(engine, tmp_path, Options(rules=AT_ONCE, images=lane))
    post.cycle()
    lane.slow = True
    post.events.put(engine.emit("pull", "a:1", kind="image"))
    post.cycle(2 * SECOND)
    lane.read()
    engine.images = [{"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 1, "Created": 1_700_000_000}]
    post.events.put(engine.emit("pull", "a:1", kind="image"))
    assert post.cycle() == SECOND
    assert images(post) == []
    lane.slow = False
    post.cycles(40)
    assert [image.pull_seen for image in images(post)] == [True]
    post.close()


def test_after_a_cycle_that_failed_all_is_judged(engine: ScriptedEngine, tmp_path: Path) -> None:
    counting = Counting()
    post = WatchPost(engine, tmp_path, Options(rules=AT_ONCE, policies={**POLICIES, "disk_pressure": counting}))
    web = post.engine.add("web")
    post.die(web, 3)
    post.glance()
    assert counting.asked == 1, "there was no round before"
    post.close()
