"""The metric families of what each policy would remove now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.families import Family, label_block
from daemon.plans import total_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        "What these objects take, as far as it was measured; layers that images share are counted with each.",
        [(label_block(policy=name), size) for name, size in sizes.items() if size is not None],
    )
