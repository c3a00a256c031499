"""Whether images lie where their owner believes them to lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import places, words
from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlace:
    """
    Judge where containerd keeps the images.

    Who moves Docker's data-root to a disk of its own moves volumes and logs; containerd's folder stays behind, and
    images fill the system's disk.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.FILESYSTEMS})
    alerts: ClassVar[tuple[str, ...]] = ("images-on-system-disk",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the one condition; while a filesystem is not known, neither is that."""
        data, system = (places.of_role(role, facts.filesystems) for role in ("data-root", "os-root"))
        layers = places.of_layers(facts.engine, facts.filesystems)
        if not (data and system and layers):
            return
        apart = facts.engine.containerd_store and layers == system != data
        left = next(each.available_bytes for each in facts.filesystems if each.mountpoint == layers)
        yield Condition(
            alert="images-on-system-disk",
            subject=facts.engine.subject,
            severity=Severity.INFO,
            state=ConditionState.BAD if apart else ConditionState.OK,
            reason=f"images live on {layers} (containerd's folder, {words.size(left)} left), not in the data-root "
            f"{facts.engine.data_root}"
            if apart
            else f"they lie on {layers}",
            details=("`shipkeeper doctor` says how to move them; until then both disks are watched.",) if apart else (),
        )
