"""Who refers to an image, a volume, a network or a container: every container counts, in whatever state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from policies import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from collectors.facts import Container, Facts, Image

_CUT_ID = re.compile(r"[0-9a-f]{1,63}")
_SHORT_ID = re.compile(r"[0-9a-f]{1,11}")
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")


@dataclass(frozen=True, slots=True)
class Users:
    """The index of one snapshot; each mapping leads to the name of a container, the first one found."""

    images: Mapping[str, str]
    """By image id, whole and short, and by canonical reference."""
    volumes: Mapping[str, str]
    """By name."""
    networks: Mapping[str, str]
    """By name and by id."""
    projects: Mapping[str, str]
    """By compose project."""
    containers: Mapping[str, str]
    """By name or id: on whom another one leans."""
    cut_ids: tuple[str, ...]
    """Those of the same that may be the beginning of an id, and are the name of none."""
    mounts: tuple[tuple[str, Container], ...]
    """Beginnings of ids, too short to be told from names, by which images are mounted, each with a container."""
    moved: tuple[Container, ...]
    """Who mounts an image by a name that may have meant another one when they were made: Docker tells no id."""
    children: Mapping[str, Image]
    """Image ids → an image that was built on them: Docker refuses to remove a parent."""

    @classmethod
    def of(cls, facts: Facts) -> Users:
        """Index who uses what."""
        containers = facts.containers
        names = {each.name for each in containers}
        leaned_on = _first((each, one.name) for one in containers for each in one.leans_on)
        return cls(
            images=_image_users(containers),
            volumes=_first((name, each.name) for each in containers for name in each.volumes),
            networks=_first((name, each.name) for each in containers for name in each.networks),
            containers=leaned_on,
            cut_ids=tuple(each for each in leaned_on if each not in names and _CUT_ID.fullmatch(each)),
            projects=_first((each.compose_project, each.name) for each in containers if each.compose_project),
            mounts=tuple(
                (name, each) for each in containers for name in each.mounted_images if _SHORT_ID.fullmatch(name)
            ),
            moved=_moved(facts),
            children={image.parent_id: image for image in facts.images if image.parent_id},
        )

    def of_image(self, image: Image) -> str | None:
        """Say who uses an image; None when nobody does."""
        if name := self.container_of(image):
            return f"in use: container {name}"
        if child := self.children.get(image.id):
            return f"in use: image {child.ref.name} is built on it"
        if name := self.may_be_mounted_by(image):
            return f"in use: container {name} may mount it, by a name that has moved on since"
        return None

    def of_container(self, container: Container) -> str | None:
        """Say which other container could not start without this one; None when none is known."""
        cut = (each for each in self.cut_ids if container.id.startswith(each))
        keys = (container.name, container.id, *cut)
        name = next((self.containers[key] for key in keys if key in self.containers), None)
        return f"in use: container {name} leans on it" if name else None

    def container_of(self, image: Image) -> str | None:
        """Give the name of a container that refers to an image, however it spells it; None when none does."""
        spelled = (references.canonical(name) for name in (*image.tags, *image.digests))
        found = (self.images[key] for key in (image.id, short(image.id), *spelled) if key in self.images)
        cut = (each.name for start, each in self.mounts if short(image.id).startswith(start))
        return next(chain(found, cut), None)

    def may_be_mounted_by(self, image: Image) -> str | None:
        """Give the name of a container that may mount this image without a tag; None when none can."""
        return next((each.name for each in self.moved if image.dangling and _was_there(image, each)), None)


def short(image_id: str) -> str:
    """Give the twelve digits by which people call an image."""
    return image_id.removeprefix("sha256:")[:12]


def _image_users(containers: Iterable[Container]) -> Mapping[str, str]:
    users: dict[tuple[str, str], str] = {}
    for container in containers:
        for image_id, reference in (
            (container.image_id, container.image),
            *(("", m) for m in container.mounted_images),
        ):
            users.setdefault((image_id, reference), container.name)
    used_by: dict[str, str] = {}
    for (image_id, reference), name in users.items():  # far fewer than containers, and a spelling takes a while
        for key in (image_id, *_keys(reference)):
            used_by.setdefault(key, name)
    return used_by


def _moved(facts: Facts) -> tuple[Container, ...]:
    mounting = [each for each in facts.containers if each.mounted_images]
    if not mounting:
        return ()
    bearers = {references.canonical(tag): image for image in facts.images for tag in image.tags}
    return tuple(each for each in mounting if any(_has_moved(name, each, bearers) for name in each.mounted_images))


def _has_moved(name: str, user: Container, bearers: Mapping[str, Image]) -> bool:
    """Tell whether another image may have borne this name when its user was made."""
    if "@" in name or _IMAGE_ID.fullmatch(name):
        return False
    bearer = bearers.get(references.canonical(name))
    return bearer is None or bearer.last_tagged_at is None or bearer.last_tagged_at > user.created_at


def _was_there(image: Image, user: Container) -> bool:
    """Tell whether an image may have been here when a container was made."""
    return image.last_tagged_at is None or image.last_tagged_at <= user.created_at


def _keys(reference: str) -> tuple[str, ...]:
    """Give the keys of what a container's `Config.Image` may mean: an id, whole or cut short, or a reference."""
    if found := _IMAGE_ID.fullmatch(reference):
        return (short(found[1]), references.canonical(reference))
    return (references.canonical(reference),)


def _first(pairs: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for key, name in pairs:
        found.setdefault(key, name)
    return found
