"""When an image was last used survives restarts, and neither an event nor a container is missed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from collectors.engine_events import parse_event
from daemon.lookout import COMPARE_EVERY
from tests.daemon.watchpost import HOUR, MINUTE, SECOND, WatchPost
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from collectors.facts import Image
    from tests.lab.scripted_engine import ScriptedEngine

LATER = COMPARE_EVERY + MINUTE
DAY = 24 * HOUR
ZERO = timedelta(0)


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    made = WatchPost(engine, tmp_path)
    yield made
    made.close()


def add(post: WatchPost, digit: str, *tags: str, **listed: Any) -> str:
    """Let the engine have an image, and give its id."""
    image_id = f"sha256:{digit * 64}"
    post.engine.images.append(
        {"Id": image_id, "RepoTags": list(tags), "RepoDigests": [], "Size": 9, "Created": 1_400_000_000} | listed
    )
    return image_id


def tell(post: WatchPost, action: str, name: str) -> None:
    """Let the engine tell of an image."""
    post.events.put(post.engine.emit(action, name, kind="image", name=name))


def look(post: WatchPost, after: timedelta = LATER) -> dict[str, Image]:
    """Give the images after a cycle, by the digit of their id."""
    post.cycle(after)
    assert post.watch.snapshot is not None
    return {image.id[7]: image for image in post.watch.snapshot.facts.images}


def test_an_image_is_watched_from_the_moment_we_first_see_it(post: WatchPost) -> None:
    add(post, "1", "app:1")
    assert look(post)["1"].watched_for == ZERO
    assert look(post, 2 * DAY)["1"].watched_for == 2 * DAY
    assert look(post, SECOND)["1"].last_used_at == post.clock.now() - 2 * DAY - SECOND


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ("pull", "app:1"),
        ("pull", "docker.io/library/app:1"),
        ("pull", "app@sha256:aaa"),
        ("push", "app:1"),
        ("tag", f"sha256:{'1' * 64}"),
        ("load", f"sha256:{'1' * 64}"),
        ("import", f"sha256:{'1' * 64}"),
        ("save", "1" * 12),
    ],
)
def test_an_event_that_names_an_image_is_a_use_of_it(post: WatchPost, action: str, named: str) -> None:
    add(post, "1", "app:1", RepoDigests=["app@sha256:aaa"])
    add(post, "2", "other:1")
    look(post)
    look(post, DAY)
    tell(post, action, named)
    images = look(post, SECOND)
    assert (images["1"].watched_for, images["2"].watched_for) == (ZERO, DAY + SECOND)
    assert images["1"].last_used_at == post.clock.now()
    assert images["1"].pull_seen is (action in {"pull", "push"})
    assert look(post, DAY)["1"].watched_for == DAY


@pytest.mark.parametrize("action", ["untag", "delete", "prune"])
def test_what_takes_something_from_an_image_is_no_use_of_it(post: WatchPost, action: str) -> None:
    add(post, "1", "app:1", "app:2")
    look(post)
    post.engine.images[0]["RepoTags"] = ["app:1"]
    tell(post, action, f"sha256:{'1' * 64}")
    assert look(post, DAY)["1"].watched_for == DAY


def test_a_container_that_came_and_went_between_two_looks_has_used_its_image(post: WatchPost) -> None:
    add(post, "1", "app:1")
    look(post)
    look(post, DAY)
    for action in ("create", "start", "die", "destroy"):
        post.events.put(post.engine.emit(action, "d" * 64, image="app:1", name="short"))
    assert look(post, SECOND)["1"].watched_for == ZERO


def test_the_name_of_a_pull_means_the_image_that_it_brought_and_not_the_one_before(post: WatchPost) -> None:
    add(post, "1", "app:1")
    look(post)
    look(post, DAY)
    look(post, SECOND)  # the images are not listed again within the next second
    post.engine.images[0]["RepoTags"] = []
    add(post, "2", "app:1")
    tell(post, "pull", "app:1")
    look(post, timedelta(0))
    images = look(post, 2 * SECOND)
    assert (images["1"].pull_seen, images["2"].pull_seen) == (False, True)


@pytest.mark.parametrize("tags", [["app:1", "app:2"], ["other:1"], []])
def test_a_new_tag_is_a_use_and_so_is_the_loss_of_the_last_one_even_while_nobody_watched(
    post: WatchPost, tags: list[str]
) -> None:
    add(post, "1", "app:1")
    look(post)
    look(post, DAY)
    again = post.restarted()
    again.engine.images[0]["RepoTags"] = tags
    assert look(again)["1"].watched_for == ZERO
    again.close()


@pytest.mark.parametrize("state", ["running", "exited", "created"])
def test_a_container_in_any_state_uses_its_image_until_it_is_gone(post: WatchPost, state: str) -> None:
    add(post, "b", "bb:latest")
    job = post.engine.add("job", state=state)
    look(post)
    assert look(post, 40 * DAY)["b"].watched_for == ZERO
    post.remove(job)
    assert look(post)["b"].watched_for == ZERO
    assert look(post, DAY)["b"].watched_for == DAY


def test_a_use_of_an_image_is_one_of_all_that_it_is_built_on(post: WatchPost) -> None:
    base = add(post, "1", "base:1")
    middle = add(post, "2", ParentId=base)
    add(post, "3", "app:1", ParentId=middle)
    look(post)
    look(post, DAY)
    tell(post, "tag", f"sha256:{'3' * 64}")
    assert {image.watched_for for image in look(post, SECOND).values()} == {ZERO}
    look(post, DAY)
    add(post, "4", ParentId=base)
    tell(post, "tag", f"sha256:{'4' * 64}")
    images = look(post, SECOND)
    assert images["1"].watched_for == ZERO, "a new image is a use of its parent"
    assert images["3"].watched_for == DAY + SECOND


def test_parents_in_a_circle_end_no_cycle(post: WatchPost) -> None:
    add(post, "1", "a:1", ParentId=f"sha256:{'2' * 64}")
    add(post, "2", "b:1", ParentId=f"sha256:{'1' * 64}")
    assert len(look(post)) == 2


def test_what_we_know_of_uses_survives_a_restart_and_our_absence_makes_nothing_old(post: WatchPost) -> None:
    add(post, "1", "app:1")
    look(post)
    tell(post, "pull", "app:1")
    look(post, DAY)
    used = look(post, HOUR)["1"].last_used_at
    again = post.restarted(30 * DAY)
    image = look(again)["1"]
    assert (image.last_used_at, image.pull_seen) == (used, True)
    assert image.watched_for <= HOUR + LATER
    again.close()


@pytest.mark.parametrize("step", [400 * DAY, -400 * DAY])
def test_a_wall_clock_that_is_set_makes_no_use_old(post: WatchPost, step: timedelta) -> None:
    add(post, "1", "app:1")
    look(post)
    post.clock.step(step)
    image = look(post, DAY)["1"]
    assert image.watched_for == DAY
    assert image.last_used_at is not None
    assert post.clock.now() - image.last_used_at == DAY


def test_an_image_that_is_gone_is_forgotten(post: WatchPost) -> None:
    add(post, "1", "app:1")
    look(post)
    post.engine.images.clear()
    tell(post, "delete", f"sha256:{'1' * 64}")
    look(post)
    look(post)
    assert post.store.read("SELECT id FROM image_uses") == []


def test_when_more_images_are_named_than_can_be_kept_all_of_them_count_as_used(post: WatchPost) -> None:
    add(post, "1", "app:1")
    look(post)
    post.last_use.hear(parse_event(_line(number)) for number in range(6_000))
    assert look(post, DAY)["1"].watched_for == ZERO
    assert look(post, DAY)["1"].watched_for == DAY


def _line(number: int) -> bytes:
    event = {"Type": "image", "Action": "tag", "Actor": {"ID": f"sha256:{number}"}, "timeNano": number + 1}
    return json.dumps(event).encode()


def test_what_was_used_at_one_look_has_one_date(engine: ScriptedEngine, tmp_path: Path) -> None:
    class Ticking(FakeClock):
        def now(self) -> datetime:
            self.advance(timedelta(microseconds=1))
            return super().now()

    post = WatchPost(engine, tmp_path, clock=Ticking())
    for digit in "123":
        add(post, digit, f"app:{digit}")
    assert len({image.last_used_at for image in look(post).values()}) == 1
    post.close()


def test_an_image_in_use_is_not_written_at_every_look(post: WatchPost) -> None:
    add(post, "b", "bb:latest")
    post.engine.add("web")
    look(post)
    written = [row["used_at"] for row in post.store.read("SELECT used_at FROM image_uses")]
    look(post, 2 * MINUTE)
    assert [row["used_at"] for row in post.store.read("SELECT used_at FROM image_uses")] == written
    look(post, 10 * MINUTE)
    assert [row["used_at"] for row in post.store.read("SELECT used_at FROM image_uses")] > written
