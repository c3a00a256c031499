"""Which images without a tag a cleanup would remove."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import ages, knobs, places, words
from policies.policy import Kept, Removal
from policies.protection import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts, Image


@dataclass(frozen=True, slots=True, kw_only=True)
class DanglingImages:
    """Remove images without a tag that nothing has used for longer than `unused_for`."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.IMAGES})
    alerts: ClassVar[tuple[str, ...]] = ()

    unused_for: timedelta = timedelta(hours=24)
    """Counted from the loss of its use as far as we saw it ourselves: never longer than we have watched the image."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(unused_for=self.unused_for)

    def decide(self, facts: Facts) -> Iterator[Removal | Kept]:
        """Yield a removal or a reason to stay for every image."""
        guard = Guard.of(facts)
        for image in facts.images:
            if reason := guard.why_protected(image):
                yield Kept(object=image.ref, reason=reason)
            elif not image.dangling:
                yield Kept(object=image.ref, reason="tagged: only images without a tag are removed")
            else:
                yield self._by_age(image, facts)

    def _by_age(self, image: Image, facts: Facts) -> Removal | Kept:
        idle = ages.unused_for(image, facts.now)
        if idle < self.unused_for:
            kept_for = words.duration(self.unused_for)
            reason = f"too recent: seen unused for {words.duration(idle)}, kept for {kept_for}"
            return Kept(object=image.ref, reason=reason)
        return Removal(
            object=image.ref,
            size_bytes=image.unique_bytes,
            filesystem=places.of_layers(facts.engine, facts.filesystems),
            policy="images_dangling",
            reason=f"no tag, unused for {words.duration(idle)}",
            idle=idle,
        )
