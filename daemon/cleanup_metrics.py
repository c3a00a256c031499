"""The metric families of what lies unused, and of what each policy would remove now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from collectors.facts import SourceName, SubjectKind
from collectors.families import Family, label_block
from daemon.plans import total_bytes
from policies import ages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collectors.facts import Facts
    from daemon.decide import Decision
    from policies.policy import Removal


_KINDS: Final[Mapping[str, SubjectKind]] = {
    "containers": SubjectKind.CONTAINER,
    "images_dangling": SubjectKind.IMAGE,
    "images_unused": SubjectKind.IMAGE,
    "networks": SubjectKind.NETWORK,
    "volumes": SubjectKind.VOLUME,
    "build_cache": SubjectKind.BUILD_CACHE,
}
"""Of which kind a policy shows 0 where it would remove nothing."""


def cleanup_families(decision: Decision | None) -> Iterator[Family]:
    """Give the candidates of each policy; one that could not be asked, or is switched off, has no series."""
    candidates = _candidates(decision) if decision else {}
    yield Family(
        "shipkeeper_cleanup_candidates",
        "gauge",
        "Objects that the policy would remove now.",
        [(label_block(kind=kind, policy=policy), len(each)) for (kind, policy), each in candidates.items()],
    )
    sizes = {key: total_bytes(removals) for key, removals in candidates.items()}
    yield Family(
        "shipkeeper_cleanup_reclaimable_bytes",
        "gauge",
        "What their removal frees at least, as far as it was measured; of images what no other image shares.",
        [(label_block(kind=kind, policy=policy), size) for (kind, policy), size in sizes.items() if size is not None],
    )


def _candidates(decision: Decision) -> Mapping[tuple[str, str], list[Removal]]:
    """Give the removals by kind and policy, none where a policy that was asked found none."""
    found: dict[tuple[str, str], list[Removal]] = {
        (_KINDS[policy].value, policy): [] for policy in decision.cleanups if policy in _KINDS
    }
    for removal in decision.removals:
        found.setdefault((removal.object.kind.value, removal.policy), []).append(removal)
    return found


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
