"""Says whether a disk of Docker's is so full that a cleanup may be less patient."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daemon.rulebook import Rulebook
    from daemon.snapshot import Snapshot


def critical(snapshot: Snapshot | None, book: Rulebook) -> bool:
    """Tell whether one is at its critical level; what is not known is not critical."""
    policy = book.pressure
    return snapshot is not None and policy is not None and policy.any_critical(snapshot.facts)
