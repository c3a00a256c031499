"""The one answer to "may this ever be removed?"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from collectors.facts import Container, ContainerState, SourceName, Unknown
from policies import ages, durations, references, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from collectors.facts import Facts, Image

PROTECT = "shipkeeper.protect"
KEEP_UNTIL = "shipkeeper.keep-until"
TTL = "shipkeeper.ttl"

_ENDED = frozenset({ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD})
_IMAGE_ID = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")
# RFC 3339 alone, with its offset: `fromisoformat` takes week dates and naive times too, and a guess about
# the owner's time zone could remove what was to be kept.
_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Guard:
    """
    What protects the objects of one snapshot; built once a cycle, asked for each object.

    Reasons open with `in use:` or `protected:`.
    """

    facts: Facts
    used_by: Mapping[str, str]
    """Image ids and canonical references → the name of a container, in whatever state, that refers to them."""
    children: Mapping[str, Image]
    """Image ids → an image that was built on them: Docker refuses to remove a parent."""

    @classmethod
    def of(cls, facts: Facts) -> Guard:
        """Index who uses what."""
        users: dict[tuple[str, str], str] = {}
        for container in facts.containers:
            users.setdefault((container.image_id, container.image), container.name)
        used_by: dict[str, str] = {}
        for (image_id, reference), name in users.items():  # far fewer than containers, and a spelling takes a while
            for key in (image_id, *_keys(reference)):
                used_by.setdefault(key, name)
        return cls(facts, used_by, {image.parent_id: image for image in facts.images if image.parent_id})

    def why_protected(self, thing: Container | Image) -> str | None:
        """Say why this may not be removed; None when nothing speaks against it."""
        if isinstance(thing, Container):
            return _in_use(thing) or _unread(thing) or self._on_gpu(thing) or self._container(thing)
        return self._used(thing) or self._image(thing)

    def _on_gpu(self, container: Container) -> str | None:
        """Say so if processes of it still hold memory of a GPU, as those stuck in its driver do, or may hold some."""
        if any(use.container_id == container.id and use.processes for use in self.facts.gpus.use):
            return "in use: its processes hold memory of a GPU"
        if container.gpu_requests and isinstance(self.facts.sources.get(SourceName.GPU), Unknown):
            return "protected: whether it still holds memory of a GPU cannot be read"
        return None

    def _container(self, container: Container) -> str | None:
        clock = ages.since_end(container, self.facts.now)
        if reason := _labelled(container.labels, clock, self.facts.now):
            return reason
        if glob := _match(self.facts.protection.containers, [container.name]):
            return f'protected: [protect] containers names "{glob}"'
        if container.restart_policy.name in {"always", "unless-stopped"}:
            return f"protected: a service that somebody stopped (restart policy {container.restart_policy.name})"
        return None

    def _image(self, image: Image) -> str | None:
        if reason := _labelled(image.labels, ages.unused_for(image, self.facts.now), self.facts.now):
            return reason
        if glob := _match(self.facts.protection.images, _names(image)):
            return f'protected: [protect] images names "{glob}"'
        return None

    def _used(self, image: Image) -> str | None:
        spelled = (references.canonical(name) for name in (*image.tags, *image.digests))
        for key in (image.id, _short(image.id), *spelled):
            if name := self.used_by.get(key):
                return f"in use: container {name}"
        if child := self.children.get(image.id):
            return f"in use: image {child.ref.name} is built on it"
        return None


def _in_use(container: Container) -> str | None:
    return None if container.state in _ENDED else f"in use: {container.state}"


def _unread(container: Container) -> str | None:
    return None if container.inspected else "protected: Docker cannot inspect it, so nobody knows what it is for"


def _labelled(labels: Mapping[str, str], clock: timedelta | None, now: datetime) -> str | None:
    """Say which label protects; one that cannot be understood does: its owner wanted something kept."""
    if labels.get(PROTECT, "false").strip().lower() != "false":
        return f"protected: label {PROTECT}"
    if (text := labels.get(KEEP_UNTIL)) is not None:
        until = _timestamp(text)
        if until is None:
            return f'protected: label {KEEP_UNTIL} is malformed ("{text}" is no RFC 3339 time)'
        if now < until:
            return f"protected: label {KEEP_UNTIL}, until {words.moment(until)}"
    if (text := labels.get(TTL)) is not None:
        return _ttl(text, clock)
    return None


def _ttl(text: str, clock: timedelta | None) -> str | None:
    """Say how long a `ttl` still keeps it after its end; a `ttl` never makes a policy remove sooner."""
    try:
        ttl = durations.parse(text)
    except ValueError:
        return f'protected: label {TTL} is malformed ("{text}" is no duration such as "72h")'
    if clock is None:
        return f"protected: label {TTL}, and it is not known since when it counts"
    return f"protected: label {TTL}, for {words.duration(ttl - clock)} more" if clock < ttl else None


def _timestamp(text: str) -> datetime | None:
    stamp = text.strip().upper()
    if not _RFC3339.fullmatch(stamp):
        return None
    try:
        return datetime.fromisoformat(stamp).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _match(globs: Iterable[str], names: Iterable[str]) -> str | None:
    """Give the first glob that fits a name; case never decides, so it protects rather too much than too little."""
    lowered = [name.lower() for name in names]
    return next((glob for glob in globs if any(fnmatchcase(name, glob.lower()) for name in lowered)), None)


def _names(image: Image) -> frozenset[str]:
    spelled = (references.spellings(name) for name in (*image.tags, *image.digests))
    return frozenset({image.id, image.id.removeprefix("sha256:"), _short(image.id)}).union(*spelled)


def _keys(reference: str) -> tuple[str, ...]:
    """Give the keys of what a container's `Config.Image` may mean: an id, whole or cut short, or a reference."""
    if found := _IMAGE_ID.fullmatch(reference):
        return (_short(found[1]), references.canonical(reference))
    return (references.canonical(reference),)


def _short(image_id: str) -> str:
    return image_id.removeprefix("sha256:")[:12]
