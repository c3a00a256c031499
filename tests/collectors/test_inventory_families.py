from __future__ import annotations

from datetime import timedelta

import pytest

from collectors.facts import ContainerState, SourceName, Unknown
from collectors.inventory_families import MOST_IMAGES, MOST_VOLUMES, inventory_families
from tests.collectors.page import shown
from tests.policies.build import NOW, container, exited, facts, image, volume

HOST = facts(
    containers=[container("a"), container("b"), exited("job", ago=timedelta(hours=1))],
    images=[image("app:1", last_used_at=NOW), image()],
    volumes=[volume("data"), volume("remote", size_bytes=None)],
)


def test_containers_are_counted_in_every_state_there_is() -> None:
    counts = shown(inventory_families(HOST))["shipkeeper_containers"]
    assert counts == {f'{{state="{state}"}}': 0 for state in ContainerState} | {
        '{state="running"}': 2,
        '{state="exited"}': 1,
    }


def test_images_are_counted_and_told_with_size_age_and_last_use() -> None:
    page = shown(inventory_families(HOST))
    app, untagged = (f'{{image="{name}",image_id="{each.id}"}}' for each in HOST.images for name in [each.ref.name])
    assert page["shipkeeper_images"] == {'{dangling="false"}': 1, '{dangling="true"}': 1}
    assert page["shipkeeper_image_size_bytes"] == {app: 100 << 20, untagged: 100 << 20}
    assert page["shipkeeper_image_created_timestamp_seconds"][app] == (NOW - timedelta(days=90)).timestamp()
    assert page["shipkeeper_image_last_used_timestamp_seconds"] == {app: NOW.timestamp()}


def test_a_volume_that_was_not_measured_has_no_size() -> None:
    page = shown(inventory_families(HOST))
    assert page["shipkeeper_volume_size_bytes"] == {'{volume="data",driver="local"}': 2 << 30}


def test_only_the_largest_are_told_one_by_one() -> None:
    many = facts(
        images=[image(f"app:{number}", size_bytes=number) for number in range(500)],
        volumes=[volume(f"data-{number}", size_bytes=number) for number in range(500)],
    )
    page = shown(inventory_families(many))
    assert page["shipkeeper_images"]['{dangling="false"}'] == 500
    assert set(page["shipkeeper_image_size_bytes"].values()) == set(range(500 - MOST_IMAGES, 500))
    assert set(page["shipkeeper_volume_size_bytes"].values()) == set(range(500 - MOST_VOLUMES, 500))


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        (SourceName.DOCKER, set()),
        (SourceName.IMAGES, {"shipkeeper_containers", "shipkeeper_volume_size_bytes"}),
        (
            SourceName.VOLUMES,
            {
                "shipkeeper_containers",
                "shipkeeper_images",
                "shipkeeper_image_size_bytes",
                "shipkeeper_image_created_timestamp_seconds",
                "shipkeeper_image_last_used_timestamp_seconds",
            },
        ),
    ],
)
def test_what_cannot_be_read_has_no_series(lost: SourceName, left: set[str]) -> None:
    world = facts(
        containers=HOST.containers,
        images=HOST.images,
        volumes=HOST.volumes,
        sources={**HOST.sources, lost: Unknown("it hangs", NOW)},
    )
    assert {name for name, series in shown(inventory_families(world)).items() if series} == left
