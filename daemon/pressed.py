"""Remembers which filesystems are too full: from several samples in a row on, until they have reached their target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import Known, SourceName
from policies.gauges import Level

if TYPE_CHECKING:
    from datetime import datetime

    from collectors.facts import Facts
    from policies.disk_pressure import DiskPressure


class Pressed:
    """For the watch thread alone; nothing of it outlives a restart, for two samples tell it anew."""

    def __init__(self) -> None:
        self._sampled: datetime | None = None
        self._low: dict[str, int] = {}
        """How many samples in a row showed a filesystem at the act level or beyond."""
        self._pressed: frozenset[str] = frozenset()

    def look(self, facts: Facts, policy: DiskPressure | None) -> frozenset[str]:
        """Give the mount points that are pressed by now; an unreadable sample changes nothing."""
        if policy is None:
            self._low, self._pressed = {}, frozenset()
            return self._pressed
        source = facts.sources.get(SourceName.FILESYSTEMS)
        if isinstance(source, Known) and source.at != self._sampled:
            self._sampled = source.at
            self._count(facts, policy)
        return self._pressed

    def _count(self, facts: Facts, policy: DiskPressure) -> None:
        judged = [each for each in facts.filesystems if policy.concerns(each)]
        levels = {each.mountpoint: policy.level(each, facts) for each in judged}
        self._low = {
            mountpoint: self._low.get(mountpoint, 0) + 1
            for mountpoint, level in levels.items()
            if level is not None and level.rank >= Level.ACT.rank
        }
        lasting = {each for each, samples in self._low.items() if samples >= policy.sustain_samples}
        short = {each.mountpoint for each in judged if policy.missing(each, facts)}
        self._pressed = frozenset(lasting | (self._pressed & short))
