"""A scripted host whose one disk is as full as the layers of its images make it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from policies.bounds import Bounds
from policies.disk_pressure import DiskPressure
from policies.images import DanglingImages
from tests.daemon.deck import DAY, Deck
from tests.lab.scripted_engine import stamp
from tests.policies.build import GIB, filesystem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from collectors.facts import Filesystem
    from daemon.runs import Run

PRESSURE = {"images_dangling": DanglingImages(), "disk_pressure": DiskPressure()}


class FullDisk:
    """A disk of 100 GiB on `/`, with images made of shared layers and `foreign_gib` that nobody can remove."""

    def __init__(self, deck: Deck, foreign_gib: int = 0) -> None:
        self.deck = deck
        self.foreign = foreign_gib
        self.layers: dict[str, Mapping[str, int]] = {}
        """By image id what each layer takes, by the layer's name, in GiB."""
        self.writes = 0
        """So many GiB somebody writes with every removal."""
        deck.adopt(policies=PRESSURE, bounds={"disk_pressure": Bounds(in_order=True)})
        deck.measure = lambda _: self.now()
        deck.engine.after_delete = self._written

    def add(self, digit: str, *tags: str, layers: Mapping[str, int], idle: timedelta = 40 * DAY) -> str:
        """Add an image that a registry has."""
        id_ = self.deck.dangling(digit, *tags)
        self.deck.engine.images[-1]["RepoDigests"] = [f"{tag.partition(':')[0]}@{id_}" for tag in tags]
        self.deck.engine.last_tagged[id_] = stamp(self.deck.engine.now - idle)
        self.layers[id_] = layers
        return id_

    def now(self) -> Filesystem:
        """Give the disk as it is now, and let the engine know what its images share."""
        here = [image["Id"] for image in self.deck.engine.images if image["Id"] in self.layers]
        users = Counter(layer for id_ in here for layer in self.layers[id_])
        sizes = {layer: size for id_ in here for layer, size in self.layers[id_].items()}
        for image in self.deck.engine.images:
            own = self.layers.get(image["Id"], {})
            image["Size"] = sum(own.values()) * GIB
            image["SharedSize"] = sum(size for layer, size in own.items() if users[layer] > 1) * GIB
        self.deck.post.unique_bytes = {
            each["Id"]: each["Size"] - each["SharedSize"] for each in self.deck.engine.images
        }
        return filesystem(available=(100 - self.foreign - sum(sizes.values())) * GIB)

    def meet(self) -> None:
        """Let the watch see the images for the first time, before anybody has measured the disk."""
        self.now()
        self.deck.look()

    def sample(self, after: timedelta) -> None:
        """Let the sampler see it, and the watch do a cycle."""
        self.deck.post.disks.filesystems = (self.now(),)
        self.deck.look(after)

    def by_itself(self, after: timedelta) -> Run | None:
        """Let the sampler see it, and give the run that this caused."""
        self.deck.post.disks.filesystems = (self.now(),)
        return self.deck.by_itself(after)

    @property
    def names(self) -> set[str]:
        """The tags that are still there."""
        return {tag for image in self.deck.engine.images for tag in image["RepoTags"]}

    def told(self) -> set[str]:
        """Give the alerts that fire."""
        return {state.alert for state in self.deck.post.alerts.values() if state.phase.told}

    def _written(self) -> None:
        self.foreign += self.writes
