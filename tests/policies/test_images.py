from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from collectors.facts import Protection
from policies.images import DanglingImages
from tests.policies.build import DAY, HOUR, MINUTE, NOW, container, exited, facts, image, kept, object_id, removed

POLICY = DanglingImages()
NAME = object_id("dangling")[:12]


def test_a_dangling_image_that_nothing_used_for_a_day_is_removed() -> None:
    world = facts(images=[image(watched_for=2 * DAY)])
    assert removed(POLICY, world) == {NAME: "no tag, unused for 2 days"}


def test_no_age_rule_fires_before_we_have_watched_for_that_long() -> None:
    world = facts(images=[image(last_tagged_at=NOW - 300 * DAY, watched_for=HOUR)])
    assert kept(POLICY, world) == {NAME: "too recent: seen unused for 1 h, kept for 1 day"}


def test_an_image_built_in_2015_and_pulled_a_minute_ago_is_kept() -> None:
    pulled = image(created_at=datetime(2015, 1, 1, tzinfo=UTC), last_tagged_at=NOW - MINUTE)
    assert removed(POLICY, facts(images=[pulled])) == {}


@pytest.mark.parametrize("tagged", [datetime(1970, 1, 1, tzinfo=UTC), NOW + MINUTE], ids=["1970", "in the future"])
def test_an_absurd_date_counts_as_now(tagged: datetime) -> None:
    assert removed(POLICY, facts(images=[image(last_tagged_at=tagged)])) == {}


def test_a_tagged_image_stays() -> None:
    world = facts(images=[image("app:2")])
    assert kept(POLICY, world) == {"app:2": "tagged: only images without a tag are removed"}


def test_an_image_of_a_stopped_container_is_in_use() -> None:
    lost_its_tag = image()
    world = facts(images=[lost_its_tag], containers=[exited("old", ago=300 * DAY, image_id=lost_its_tag.id)])
    assert kept(POLICY, world) == {NAME: "in use: container old"}


@pytest.mark.parametrize("reference", [NAME, object_id("dangling"), f"sha256:{object_id('dangling')}", "app@sha256:1"])
def test_an_image_is_in_use_however_the_container_names_it(reference: str) -> None:
    dangling = image(digests=("docker.io/library/app@sha256:1",))
    world = facts(images=[dangling], containers=[container(image=reference, image_id="sha256:other")])
    assert kept(POLICY, world) == {NAME: "in use: container web"}


def test_the_parent_of_another_image_stays() -> None:
    world = facts(images=[parent := image(name="base"), image("app:1", parent_id=parent.id)])
    assert kept(POLICY, world)[parent.ref.name] == "in use: image app:1 is built on it"


def test_a_dangling_image_stays_protected_by_the_name_that_its_digest_bears() -> None:
    pinned = image(digests=("registry:5000/base@sha256:1",))
    world = facts(images=[pinned], protection=Protection(images=("registry:5000/base",)))
    assert kept(POLICY, world) == {NAME: 'protected: [protect] images names "registry:5000/base"'}


def test_a_limit_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="unused_for must be longer than zero"):
        DanglingImages(unused_for=timedelta(0))
