"""Which tagged images a cleanup would remove: those of no use for long, but for the newest of each repository."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import ages, knobs, places, references, words
from policies.policy import Kept, Removal
from policies.protection import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from collectors.facts import Facts, Image

MOST_TAGS = 32
"""An image with more of them is somebody's system of its own; and they would go one request at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedImages:
    """Remove images with tags that nothing has used for longer than `unused_for`."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.IMAGES})
    alerts: ClassVar[tuple[str, ...]] = ()

    unused_for: timedelta = timedelta(hours=720)
    """Since its last use or tag; never longer than we have watched the image ourselves."""
    keep_last_per_repository: int = 2
    """So many images of each repository stay, those used or tagged last."""
    min_age: timedelta = timedelta(hours=24)
    """However short `unused_for` is, an image that came or was tagged within this time stays."""
    include_local_builds: bool = False
    """Also those that no registry is known to have: nobody could pull them again."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(unused_for=self.unused_for, min_age=self.min_age)
        if self.keep_last_per_repository < 0:
            raise ValueError("keep_last_per_repository must be 0 or more")

    def decide(self, facts: Facts) -> Iterator[Removal | Kept]:
        """Yield a removal or a reason to stay for every image that bears a tag."""
        guard = Guard.of(facts)
        newest = self._newest(facts)
        for image in facts.images:
            if image.dangling:
                continue
            if reason := guard.why_protected(image) or self._why_kept(image, guard):
                yield Kept(object=image.ref, reason=reason)
            else:
                yield self._by_age(image, facts, newest.get(image.id))

    def _why_kept(self, image: Image, guard: Guard) -> str | None:
        if len(image.tags) > MOST_TAGS:
            return f"protected: it bears {len(image.tags)} tags, more than {MOST_TAGS}"
        return None if self.include_local_builds else guard.why_never_pushed(image)

    def _by_age(self, image: Image, facts: Facts, newest_of: str | None) -> Removal | Kept:
        if not image.inspected:
            return Kept(object=image.ref, reason="age unknown: Docker has not told yet when it was tagged")
        idle, limit = ages.unused_for(image, facts.now), max(self.unused_for, self.min_age)
        if idle < limit:
            reason = f"too recent: seen unused for {words.duration(idle)}, kept for {words.duration(limit)}"
            return Kept(object=image.ref, reason=reason)
        if newest_of is not None:
            return Kept(object=image.ref, reason=f"newest of its repository: {newest_of}")
        return Removal(
            object=image.ref,
            size_bytes=image.unique_bytes,
            filesystem=places.of_layers(facts.engine, facts.filesystems),
            policy="images_unused",
            reason=self._story(image, idle),
            tags=image.tags if len(image.tags) > 1 else (),
            idle=idle,
        )

    def _story(self, image: Image, idle: timedelta) -> str:
        parts = [f"unused for {words.duration(idle)}"]
        if self.keep_last_per_repository:
            parts.append(f"{words.count(self.keep_last_per_repository, 'newer one')} kept")
        if len(image.tags) > 1:
            parts.append(f"goes with all its tags: {', '.join(image.tags)}")
        return ", ".join(parts)

    def _newest(self, facts: Facts) -> Mapping[str, str]:
        """Give the repository of which an image is one of the newest, by the image's id."""
        repositories: defaultdict[str, list[Image]] = defaultdict(list)
        # What is not known yet stays anyway, and takes nobody's place.
        for image in facts.images:
            if image.inspected:
                for repository in {references.repository(tag) for tag in image.tags}:
                    repositories[repository].append(image)
        keep = self.keep_last_per_repository
        return {
            image.id: repository
            for repository, group in repositories.items()
            for image in _latest_first(group, facts.now)[:keep]
        }


def _latest_first(images: Sequence[Image], now: datetime) -> list[Image]:
    """Sort by last use; of those used at the same time the one that was tagged last comes first."""
    return sorted(images, key=lambda image: (_since_use(image, now), _since_tag(image, now), image.id))


def _since_use(image: Image, now: datetime) -> timedelta:
    return min((now - at for at in (image.last_used_at, image.last_tagged_at) if at is not None), default=timedelta(0))


def _since_tag(image: Image, now: datetime) -> timedelta:
    return timedelta.max if image.last_tagged_at is None else now - image.last_tagged_at
