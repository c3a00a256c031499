"""Tagged images go by their last use, never by their build date, and the newest of each repository stay."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from collectors.facts import Engine, EngineState, Protection
from policies.images_unused import MOST_TAGS, UnusedImages
from policies.policy import Removal
from tests.policies.build import DAY, GIB, HOUR, MINUTE, NOW, container, exited, facts, image, kept, object_id, removed

if TYPE_CHECKING:
    from collectors.facts import Image

POLICY = UnusedImages()
ALL = UnusedImages(keep_last_per_repository=0)
CONTAINERD = Engine(state=EngineState.UP, since=NOW - DAY, storage_driver="overlayfs", containerd_store=True)


def old(*tags: str, days: int = 41, **changes: Any) -> Image:
    """Give an image from a registry that was last used so many days ago, while we watched."""
    plain: dict[str, Any] = {
        "digests": (f"{tags[0].rpartition(':')[0]}@sha256:1",),
        "last_used_at": NOW - days * DAY,
        "last_tagged_at": NOW - days * DAY,
        "watched_for": days * DAY,
    }
    return image(*tags, **(plain | changes))


def removal(policy: UnusedImages, *images: Image) -> Removal:
    [found] = [each for each in policy.decide(facts(images=[*images])) if isinstance(each, Removal)]
    return found


def test_an_image_of_no_use_for_a_month_goes_when_newer_ones_stay() -> None:
    images = [old(f"train:{day}", days=day) for day in (35, 50, 41, 60)]
    assert removed(POLICY, facts(images=images)) == {
        "train:50": "unused for 50 days, 2 newer ones kept",
        "train:60": "unused for 60 days, 2 newer ones kept",
    }
    assert kept(POLICY, facts(images=images)) == {
        "train:35": "newest of its repository: docker.io/library/train",
        "train:41": "newest of its repository: docker.io/library/train",
    }


def test_an_image_pulled_a_minute_ago_but_built_years_ago_is_kept() -> None:
    built = datetime(2015, 1, 1, tzinfo=UTC)
    pulled = old("app:1", created_at=built, watched_for=MINUTE, last_tagged_at=NOW - MINUTE)
    assert kept(ALL, facts(images=[pulled])) == {"app:1": "too recent: seen unused for 1 min, kept for 30 days"}


def test_an_image_with_two_tags_of_which_one_is_in_use_is_kept() -> None:
    both = old("app:1", "app:stable")
    world = facts(images=[both], containers=[container(image="app:stable", image_id="sha256:other")])
    assert kept(ALL, world) == {"app:1": "in use: container web"}
    assert removed(ALL, world) == {}


@pytest.mark.parametrize("reference", ["app:1", object_id("app:1"), object_id("app:1")[:12], "app@sha256:1"])
def test_an_image_of_a_stopped_container_is_in_use_however_it_is_named(reference: str) -> None:
    job = exited("job", ago=300 * DAY, image=reference, image_id="sha256:other")
    assert kept(ALL, facts(images=[old("app:1")], containers=[job])) == {"app:1": "in use: container job"}


@pytest.mark.parametrize("changes", [{"watched_for": 29 * DAY}, {"last_tagged_at": NOW - 29 * DAY}])
def test_it_must_be_long_by_our_own_watch_and_by_the_time_of_its_tag(changes: dict[str, Any]) -> None:
    assert removed(ALL, facts(images=[old("app:1", **changes)])) == {}


@pytest.mark.parametrize("tagged", [datetime(1, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC), NOW + HOUR])
def test_an_absurd_date_counts_as_now(tagged: datetime) -> None:
    assert removed(ALL, facts(images=[old("app:1", last_tagged_at=tagged)])) == {}


def test_an_image_that_was_never_tagged_here_goes_by_our_own_watch() -> None:
    assert removed(ALL, facts(images=[old("app:1", last_tagged_at=None)])) == {"app:1": "unused for 41 days"}


def test_what_has_not_been_inspected_stays_and_takes_nobodys_place() -> None:
    policy = replace(POLICY, keep_last_per_repository=1)
    images = [old("app:1", days=41), old("app:2", days=41, inspected=False), old("app:3", days=50)]
    world = facts(images=images)
    assert kept(policy, world) == {
        "app:1": "newest of its repository: docker.io/library/app",
        "app:2": "age unknown: Docker has not told yet when it was tagged",
    }
    assert list(removed(policy, world)) == ["app:3"]


def test_images_in_use_are_among_the_newest() -> None:
    images = [old("app:1"), old("app:2"), old("app:3", last_used_at=NOW)]
    world = facts(images=images, containers=[container(image="app:3", image_id=images[2].id)])
    assert len(removed(POLICY, world)) == 1


def test_of_images_used_at_the_same_time_those_tagged_last_stay() -> None:
    seen = NOW - 41 * DAY
    images = [old(f"app:{n}", last_used_at=seen, last_tagged_at=seen - n * DAY) for n in range(4)]
    assert list(removed(POLICY, facts(images=images))) == ["app:2", "app:3"]


def test_repositories_count_apart_however_their_names_are_spelled() -> None:
    images = [old("app:1"), old("docker.io/library/app:2", days=42), old("registry:5000/app:1", days=43)]
    policy = replace(POLICY, keep_last_per_repository=1)
    assert list(removed(policy, facts(images=images))) == ["docker.io/library/app:2"]


def test_an_image_stays_if_it_is_the_newest_of_one_of_its_repositories() -> None:
    both = old("app:1", "other:1", days=50)
    policy = replace(POLICY, keep_last_per_repository=1)
    assert "app:1" in kept(policy, facts(images=[both, old("app:2")]))


def test_all_tags_of_an_image_are_named_and_go_with_it() -> None:
    found = removal(ALL, old("app:1", "app:stable", unique_bytes=GIB))
    assert found.reason == "unused for 41 days, goes with all its tags: app:1, app:stable"
    assert (found.tags, found.size_bytes, found.idle) == (("app:1", "app:stable"), GIB, 41 * DAY)


def test_an_image_with_300_tags_is_protected() -> None:
    tags = [f"app:{n}" for n in range(300)]
    assert kept(ALL, facts(images=[old(*tags)])) == {"app:0": f"protected: it bears 300 tags, more than {MOST_TAGS}"}


def test_what_it_would_free_is_not_known_before_docker_has_told() -> None:
    assert removal(ALL, old("app:1")).size_bytes is None


def test_what_was_only_built_here_stays_unless_it_is_asked_for() -> None:
    world = facts(images=[old("app:1", digests=())])
    assert kept(ALL, world) == {"app:1": "protected: built or loaded here and never pushed, nobody could pull it again"}
    assert removed(replace(ALL, include_local_builds=True), world) == {"app:1": "unused for 41 days"}


def test_the_containerd_store_does_not_tell_what_was_built_here() -> None:
    world = facts(images=[old("app:1")], engine=CONTAINERD)
    assert kept(ALL, world) == {"app:1": "protected: it may have been built here, the containerd store does not tell"}
    assert removed(ALL, facts(images=[old("app:1", pull_seen=True)], engine=CONTAINERD)) == {
        "app:1": "unused for 41 days"
    }


@pytest.mark.parametrize("glob", ["registry:5000/base/*", "registry:5000/base/app", "*/base/app:1"])
def test_a_registry_port_in_a_glob_is_no_tag(glob: str) -> None:
    pinned = old("registry:5000/base/app:1")
    world = facts(images=[pinned], protection=Protection(images=(glob,)))
    assert kept(ALL, world) == {"registry:5000/base/app:1": f'protected: [protect] images names "{glob}"'}


def test_images_without_a_tag_are_left_to_the_other_policy() -> None:
    assert list(ALL.decide(facts(images=[image()]))) == []


def test_a_parent_stays_while_its_child_is_there() -> None:
    base = old("base:1")
    child = old("app:1", parent_id=base.id)
    assert list(removed(ALL, facts(images=[base, child]))) == ["app:1"]
    assert list(removed(ALL, facts(images=[base]))) == ["base:1"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"unused_for": timedelta(0)}, "unused_for must be longer than zero"),
        ({"min_age": timedelta(0)}, "min_age must be longer than zero"),
        ({"keep_last_per_repository": -1}, "keep_last_per_repository must be 0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        UnusedImages(**wrong)


def test_however_short_it_may_lie_unused_it_is_as_old_as_min_age() -> None:
    policy = replace(ALL, unused_for=MINUTE)
    assert removed(policy, facts(images=[old("app:1", watched_for=23 * HOUR)])) == {}
    assert removed(policy, facts(images=[old("app:1", watched_for=24 * HOUR)])) == {"app:1": "unused for 1 day"}
