"""What may go from a filesystem that is too full, the cheapest to lose first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from collectors.facts import SourceName
from collectors.storage_facts import ReliefEnd
from policies import ages, places, words
from policies.build_cache import BuildCache
from policies.images_unused import MOST_TAGS
from policies.policy import Removal
from policies.protection import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from collectors.facts import Facts, Filesystem, Image
    from collectors.storage_facts import Relieved
    from policies.gauges import Missing

NAME: Final = "disk_pressure"
"""The policy that these removals are of."""
_IMAGES = frozenset({SourceName.DOCKER, SourceName.IMAGES})
_CACHE = frozenset({SourceName.DOCKER, SourceName.BUILD_CACHE})
_SIZE_WEIGHT = 0.5
"""How much the rank of an image's size counts beside that of its idle time: 20 GiB go before fifty times 5 MiB."""
_LOOKBACK: Final = 3
_CLAIM_BYTES: Final = 1 << 30
_CLAIM_SHARE: Final = 0.02
_LEAST_OF_CLAIM: Final = 0.1
_LEAST_OF_NEED: Final = 0.01
_ENDS: Final = {
    ReliefEnd.TARGET: "the target is reached",
    ReliefEnd.EXHAUSTED: "nothing more may go",
    ReliefEnd.NO_PROGRESS: (
        "what went freed next to nothing: the space is not Docker's, or is taken as fast as it is freed"
    ),
    ReliefEnd.CAPPED: "a run frees no more than max_bytes",
    ReliefEnd.TIMEOUT: "a run begins nothing new after its timeout",
    ReliefEnd.UNREAD: "it cannot be read any more",
    ReliefEnd.STOPPED: "the run was ended",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What a filesystem is to gain, and how patient one may be about it."""

    filesystem: Filesystem
    missing: Missing
    min_age: timedelta
    """What was used or came more recently stays."""
    cache_min_age: timedelta
    cache_floor_bytes: int
    include_local_builds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What one removal was expected to free, and what the filesystem had more afterwards."""

    claimed_bytes: int | None
    bytes: int
    inodes: int


def in_words(relieved: Relieved) -> str:
    """Say what a run came to: `41.3 GiB freed, 52.7 GiB left: the target is reached`."""
    inodes = f" and {relieved.freed_inodes:,} inodes" if relieved.freed_inodes > 0 else ""
    freed = f"{words.size(max(relieved.freed_bytes, 0))}{inodes} freed"
    if relieved.left_bytes is None:
        return f"{freed} as far as it was measured, what is left is not known: {_ENDS[relieved.end]}"
    return f"{freed}, {words.size(relieved.left_bytes)} left: {_ENDS[relieved.end]}"


def staying(want: Want, facts: Facts) -> Mapping[str, int]:
    """Count the images that may not go, by the words for why: `in use`, `protected`, `too recent`."""
    guard = Guard.of(facts)
    reasons = Counter[str]()
    for image in facts.images:
        if reason := _why_kept(image, guard, want):
            reasons[reason.partition(":")[0]] += 1
        elif ages.unused_by_date(image, facts) < want.min_age:
            reasons["too recent"] += 1
    return reasons


def candidates(want: Want, facts: Facts) -> Iterator[Removal]:
    """Give all that may go, in the order in which it goes; what comes after the expected gain suffices is spare."""
    expected = 0
    for removal in _in_order(want, facts):
        # How many inodes an object takes nobody tells: only the next look at the filesystem does.
        spare = not want.missing.inodes and expected >= want.missing.bytes
        yield replace(removal, spare=True) if spare else removal
        expected += removal.size_bytes or 0


def stalled(gains: Sequence[Gain], missing: Missing, size_bytes: int) -> bool:
    """
    Tell whether going on is in vain: the last removals of a run gave next to nothing of what they were to give.

    Then the space is not Docker's, or something takes it as fast as it is freed.
    """
    last = gains[-_LOOKBACK:]
    if len(last) < _LOOKBACK:
        return False
    freed = sum(each.bytes for each in last)
    if missing.inodes and sum(each.inodes for each in last) >= _LEAST_OF_NEED * missing.inodes:
        return False
    if not missing.bytes:
        return True
    claimed = sum(each.claimed_bytes or 0 for each in last)
    if claimed >= min(_CLAIM_BYTES, _CLAIM_SHARE * size_bytes):
        return freed < _LEAST_OF_CLAIM * claimed
    return claimed == 0 and freed < _LEAST_OF_NEED * missing.bytes


def _in_order(want: Want, facts: Facts) -> Iterator[Removal]:
    if places.of_layers(facts.engine, facts.filesystems) != want.filesystem.mountpoint:
        return  # nothing that a cleanup removes lies there
    yield from _build_cache(want, facts)
    if facts.known(_IMAGES):
        guard = Guard.of(facts)
        free = [image for image in facts.images if _why_kept(image, guard, want) is None]
        idle = {image.id: ages.unused_by_date(image, facts) for image in free}
        old = [image for image in free if idle[image.id] >= want.min_age]
        for image in sorted(old, key=_score(old, idle)):
            yield _removal(image, idle[image.id], want)


def _build_cache(want: Want, facts: Facts) -> Iterator[Removal]:
    """Give the one prune that takes no more of the cache than is missing, what was used last stays."""
    if not facts.known(_CACHE):
        return
    size = sum(record.size_bytes or 0 for record in facts.build_records if not record.shared)
    # What a cache takes of the inodes nobody tells: it goes down to its floor.
    keep = 0 if want.missing.inodes else size - want.missing.bytes
    policy = BuildCache(unused_for=want.cache_min_age, floor_bytes=max(want.cache_floor_bytes, keep))
    for verdict in policy.judge(facts, despite_builds=True):
        if isinstance(verdict, Removal):
            yield replace(verdict, policy=NAME, reason=f"{want.filesystem.mountpoint} is too full: {verdict.reason}")


def _why_kept(image: Image, guard: Guard, want: Want) -> str | None:
    if reason := guard.why_protected(image):
        return reason
    if len(image.tags) > MOST_TAGS:
        return f"protected: it bears {len(image.tags)} tags, more than {MOST_TAGS}"
    return None if want.include_local_builds else guard.why_never_pushed(image)


def _score(images: Sequence[Image], idle: Mapping[str, timedelta]) -> Callable[[Image], tuple[bool, bool, float, str]]:
    """Order images: those without a tag first, then what frees something, then by idle time and size."""
    by_idle = _ranks(images, lambda image: -idle[image.id].total_seconds())
    # By powers of two: images that are about as large differ by how they were packed, not in what they are worth.
    by_size = _ranks(images, lambda image: -(image.unique_bytes or 0).bit_length())

    def score(image: Image) -> tuple[bool, bool, float, str]:
        rank = by_idle[image.id] + _SIZE_WEIGHT * by_size[image.id]
        return not image.dangling, image.unique_bytes == 0, rank, image.id

    return score


def _ranks(images: Sequence[Image], key: Callable[[Image], float]) -> dict[str, int]:
    """Give the place of each image by this key; equal ones share theirs."""
    ordered = groupby(sorted(images, key=key), key)
    return {image.id: place for place, (_, group) in enumerate(ordered) for image in group}


def _removal(image: Image, idle: timedelta, want: Want) -> Removal:
    story = "unused" if image.tags else "no tag, unused"
    also = f", goes with all its tags: {', '.join(image.tags)}" if len(image.tags) > 1 else ""
    return Removal(
        object=image.ref,
        size_bytes=image.unique_bytes,
        filesystem=want.filesystem.mountpoint,
        policy=NAME,
        reason=f"{want.filesystem.mountpoint} is too full: {story} for {words.duration(idle)}{also}",
        tags=image.tags if len(image.tags) > 1 else (),
        idle=idle,
    )
