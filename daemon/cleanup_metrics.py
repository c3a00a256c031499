"""The metric families of what lies unused, and of what each policy would remove now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import SourceName
from collectors.families import Family, label_block
from daemon.plans import total_bytes
from policies import ages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts
    from daemon.decide import Decision


def cleanup_families(decision: Decision | None) -> Iterator[Family]:
    """Give the candidates of each policy; one that could not be asked, or is switched off, has no series."""
    by_policy = (
        {name: [each for each in decision.removals if each.policy == name] for name in decision.cleanups}
        if (decision)
        else {}
    )
    yield Family(
        "shipkeeper_cleanup_candidates",
        "gauge",
        "Objects that the policy would remove now.",
        [(label_block(policy=name), len(removals)) for name, removals in by_policy.items()],
    )
    sizes = {name: total_bytes(removals) for name, removals in by_policy.items()}
    yield Family(
        "shipkeeper_cleanup_reclaimable_bytes",
        "gauge",
        "What their removal frees at least, as far as it was measured; of images what no other image shares.",
        [(label_block(policy=name), size) for name, size in sizes.items() if size is not None],
    )


def image_families(facts: Facts | None) -> Iterator[Family]:
    """Give how long the oldest unused image has lain there; no series while images cannot be read, or all are used."""
    known = facts is not None and facts.known(frozenset({SourceName.DOCKER, SourceName.IMAGES}))
    idle = [ages.unused_for(image, facts.now).total_seconds() for image in facts.images] if facts and known else []
    oldest = max(idle, default=0.0)
    yield Family(
        "shipkeeper_image_oldest_unused_seconds",
        "gauge",
        "For how long the image that was not used for longest has certainly not been used.",
        [("", oldest)] if oldest else [],
    )
