"""Metric families of what Docker has: containers by state, images, and the largest images and volumes one by one."""

from __future__ import annotations

from collections import Counter
from heapq import nlargest
from typing import TYPE_CHECKING, Final

from collectors.facts import ContainerState, SourceName
from collectors.families import Family, label_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collectors.facts import Facts, Image
    from collectors.storage_facts import Volume

MOST_IMAGES: Final = 20
"""Images told one by one, the largest ones: whoever builds has thousands, ever other ones."""
MOST_VOLUMES: Final = 20
"""The same of volumes."""

_IMAGES: Final = frozenset({SourceName.DOCKER, SourceName.IMAGES})
_VOLUMES: Final = frozenset({SourceName.DOCKER, SourceName.VOLUMES})


def inventory_families(facts: Facts) -> Iterator[Family]:
    """Give the families; what cannot be read has no series."""
    states: Counter[ContainerState] = Counter(each.state for each in facts.containers)
    known = facts.known(frozenset({SourceName.DOCKER}))
    yield Family(
        "shipkeeper_containers",
        "gauge",
        "Containers in each state.",
        [(label_block(state=state), states[state]) for state in ContainerState if known],
    )
    yield from _images(facts.images if facts.known(_IMAGES) else None)
    yield from _volumes(facts.volumes if facts.known(_VOLUMES) else ())


def _images(images: Sequence[Image] | None) -> Iterator[Family]:
    counts = Counter(image.dangling for image in images or ())
    yield Family(
        "shipkeeper_images",
        "gauge",
        "Images, with a tag or without any.",
        [(label_block(dangling=str(dangling).lower()), counts[dangling]) for dangling in (False, True)]
        if images is not None
        else [],
    )
    largest = nlargest(MOST_IMAGES, images or (), key=lambda image: (image.size_bytes, image.id))
    rows = [(label_block(image=image.ref.name, image_id=image.id), image) for image in largest]
    prefix = "shipkeeper_image_"
    yield Family(
        f"{prefix}size_bytes",
        "gauge",
        "Size of each of the largest images, layers that others share included.",
        [(block, image.size_bytes) for block, image in rows],
    )
    yield Family(
        f"{prefix}created_timestamp_seconds",
        "gauge",
        "When each of the largest images was built.",
        [(block, image.created_at.timestamp()) for block, image in rows if image.created_at],
    )
    yield Family(
        f"{prefix}last_used_timestamp_seconds",
        "gauge",
        "When each of the largest images was last used, as far as we watched.",
        [(block, image.last_used_at.timestamp()) for block, image in rows if image.last_used_at],
    )


def _volumes(volumes: Sequence[Volume]) -> Iterator[Family]:
    sizes = [(each.size_bytes, each.name, each.driver) for each in volumes if each.size_bytes is not None]
    yield Family(
        "shipkeeper_volume_size_bytes",
        "gauge",
        "What each of the largest volumes holds, as last measured.",
        [(label_block(volume=name, driver=driver), size) for size, name, driver in nlargest(MOST_VOLUMES, sizes)],
    )
