"""Which volumes nothing uses, and which of them a cleanup may remove where the owner asks for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import COMPOSE_PROJECT, SourceName
from policies import knobs, places, words
from policies.policy import Kept, Removal
from policies.protection import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts
    from collectors.storage_facts import Volume

EPHEMERAL = "shipkeeper.ephemeral"
"""The label by which the owner of a named volume says that its data may be lost."""
_ANONYMOUS = "com.docker.volume.anonymous"
_GENERATED = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedVolumes:
    """Report volumes that nothing has used for long; remove them only where the owner has said so twice."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.VOLUMES})
    alerts: ClassVar[tuple[str, ...]] = ()

    unused_for: timedelta = timedelta(hours=720)
    """Never longer than we have watched the volume."""
    i_understand_data_loss: bool = False
    """Remove anonymous volumes, and named ones with the label `shipkeeper.ephemeral=true`; else report only."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(unused_for=self.unused_for)

    def decide(self, facts: Facts) -> Iterator[Removal | Kept]:
        """Yield a reason to stay for every volume, or a removal."""
        guard = Guard.of(facts)
        for volume in facts.volumes:
            reason = (
                guard.why_volume(volume.name, volume.labels, volume.watched_for)
                or _why_in_use(volume)
                or _why_elsewhere(volume)
                or self._why_kept(volume)
            )
            yield Kept(object=volume.ref, reason=reason) if reason else self._removal(volume, facts)

    def _why_kept(self, volume: Volume) -> str:
        idle, kept_for = words.duration(volume.watched_for), words.duration(self.unused_for)
        if volume.watched_for < self.unused_for:
            return f"too recent: seen unused for {idle}, reported after {kept_for}"
        what = "anonymous" if _anonymous(volume) else "named"
        if not self.i_understand_data_loss:
            return f"report only: {what}, seen unused for {idle}, {words.size(volume.size_bytes)}"
        if what == "named" and volume.labels.get(EPHEMERAL, "").strip().lower() != "true":
            return f"named: seen unused for {idle}, and without the label {EPHEMERAL}=true it stays for good"
        return ""

    @staticmethod
    def _removal(volume: Volume, facts: Facts) -> Removal:
        what = "anonymous" if _anonymous(volume) else f"labelled {EPHEMERAL}"
        return Removal(
            object=volume.ref,
            size_bytes=volume.size_bytes,
            filesystem=places.of_role("volumes", facts.filesystems),
            policy="volumes",
            reason=f"{what}, seen unused for {words.duration(volume.watched_for)}",
            idle=volume.watched_for,
        )


def _why_in_use(volume: Volume) -> str | None:
    """Say what Docker itself knows of its use; what it does not tell counts as a use."""
    if volume.references:
        return f"in use: mounted by {words.count(volume.references, 'container')} that Docker knows of"
    if volume.dangling is None:
        return "in use: Docker does not say that it is not"
    return None if volume.dangling else "in use: Docker says that a container refers to it"


def _why_elsewhere(volume: Volume) -> str | None:
    """Say why its data may not be this engine's alone."""
    if volume.driver != "local" or volume.scope != "local":
        return f"protected: of the driver {volume.driver or 'unknown'}, whose data other hosts may use"
    if volume.options:
        return "protected: mounted by its options from elsewhere"
    return None


def _anonymous(volume: Volume) -> bool:
    """Tell whether nobody gave it a name: the label since Engine 23, before that the form of the name."""
    if COMPOSE_PROJECT in volume.labels:  # compose knows which service it belongs to
        return False
    return _ANONYMOUS in volume.labels or (not volume.labels and _GENERATED.fullmatch(volume.name) is not None)
