"""The list of images stays true and asks no more than it must."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_api import EngineApi
from collectors.engine_errors import EngineUnavailable
from collectors.engine_http import Endpoint
from collectors.image_inventory import ImageInventory, ImageList

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.scripted_engine import ScriptedEngine


class House:
    """A scripted engine with what is known of its images."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.api = EngineApi.connect(Endpoint(host=engine.host), timedelta(seconds=5))
        self.inventory = ImageInventory()
        self.images = ImageList()

    def read(self) -> None:
        """Read them once more."""
        self.images = self.inventory.read(self.api)


@pytest.fixture
def house(scripted_engine: ScriptedEngine) -> Iterator[House]:
    house = House(scripted_engine)
    yield house
    house.api.close()


def listed(n: int, *tags: str) -> dict[str, object]:
    return {"Id": f"sha256:{n:04}", "RepoTags": list(tags), "Size": 1, "Created": 1_700_000_000}


def test_an_image_is_inspected_once_and_again_when_it_bears_other_tags(house: House) -> None:
    house.engine.images = [listed(0), listed(1), listed(2, "a:1")]
    house.engine.last_tagged["sha256:0002"] = "2026-11-20T10:00:00Z"
    house.read()
    house.read()
    assert house.engine.count("/images/sha256:*/json") == 3
    assert [image.last_tagged_at is not None for image in house.images.images.values()] == [False, False, True]
    house.engine.images[2]["RepoTags"] = ["a:2"]
    house.read()
    assert house.engine.count("/images/sha256:*/json") == 4


def test_of_very_many_images_some_are_inspected_with_each_reading_dangling_ones_first(house: House) -> None:
    house.engine.images = [listed(n, f"a:{n}") for n in range(300)] + [listed(n) for n in range(300, 310)]
    house.read()
    known = house.images.images
    assert sum(image.inspected for image in known.values()) == 256
    assert all(image.inspected for image in known.values() if image.dangling)
    assert house.images.pending
    house.read()
    assert all(image.inspected for image in house.images.images.values())
    assert not house.images.pending
    assert house.engine.count("/images/sha256:*/json") == 310


def test_an_image_that_docker_fails_over_costs_no_other(house: House) -> None:
    house.engine.images = [listed(0, "a:0"), listed(1, "a:1")]
    house.engine.statuses["/images/sha256:0000/json"] = 500
    house.read()
    assert [image.inspected for image in house.images.images.values()] == [False, True]
    assert (house.images.unread, house.images.pending) == ("", False)
    house.engine.statuses.clear()
    house.read()
    assert all(image.inspected for image in house.images.images.values())


def test_an_image_that_lost_its_tag_is_inspected_then(house: House) -> None:
    house.engine.images = [{"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 1, "Created": 1_700_000_000}]
    house.engine.last_tagged["sha256:1"] = "2026-11-20T10:00:00Z"
    house.read()
    house.engine.images[0]["RepoTags"] = []
    house.read()
    assert house.images.images["sha256:1"].last_tagged_at is not None


def test_forbidden_images_are_no_images(house: House) -> None:
    house.engine.statuses["/images/*"] = 403
    house.read()
    assert not house.images.images
    assert "forbids GET" in house.images.unread


def test_images_that_docker_fails_over_are_unknown_until_it_lists_them(house: House) -> None:
    house.engine.images = [{"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 1, "Created": 1_700_000_000}]
    house.read()
    house.engine.statuses["/images/json"] = 500
    house.read()
    assert not house.images.images, "what was known of them is old"
    assert "500" in house.images.unread
    house.engine.statuses.clear()
    house.read()
    assert (len(house.images.images), house.images.unread) == (1, "")


def test_images_that_docker_does_not_list_in_time_are_unknown(house: House) -> None:
    house.api = EngineApi.connect(Endpoint(host=house.engine.host), timedelta(seconds=0.2))
    house.engine.hung_paths.add("/images/json")
    house.read()
    assert "in time" in house.images.unread


def test_an_engine_that_is_away_is_an_error(house: House) -> None:
    house.engine.stop()
    with pytest.raises(EngineUnavailable):
        house.read()
