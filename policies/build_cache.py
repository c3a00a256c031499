"""What of the build cache a cleanup would remove."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from collectors.storage_facts import BuildPrune
from policies import ages, knobs, places, words
from policies.policy import Kept, Removal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from collectors.facts import Facts
    from collectors.storage_facts import BuildRecord

_OWN = frozenset({"frontend", "internal"})
"""Types of records that BuildKit keeps for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildCache:
    """Remove records of the build cache that no build has used for long, down to a floor."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.BUILD_CACHE})
    alerts: ClassVar[tuple[str, ...]] = ()

    unused_for: timedelta = timedelta(hours=168)
    floor_bytes: int = 20 * 1024**3
    """So much stays, the most recently used."""
    all_records: bool = False
    """Also records that images share, and those that BuildKit keeps for itself."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(unused_for=self.unused_for)
        if self.unused_for % timedelta(seconds=1):
            raise ValueError("unused_for must be whole seconds: Docker takes no fractions")
        if self.floor_bytes < 0:
            raise ValueError("floor_bytes must be 0 or more")

    def decide(self, facts: Facts) -> Iterator[Removal | Kept]:
        """Yield one answer for the cache as a whole, none where there is no cache: Docker takes it in one go."""
        yield from self.judge(facts)

    def judge(self, facts: Facts, *, despite_builds: bool = False) -> Iterator[Removal | Kept]:
        """Do the same; a build that runs does not postpone it `despite_builds`: Docker takes no record in use."""
        if not facts.build_records:
            return
        prune = BuildPrune(unused_for=self.unused_for, floor_bytes=self.floor_bytes, all_records=self.all_records)
        idle = self._idle(facts)
        busy = 0 if despite_builds else sum(record.in_use for record in facts.build_records)
        if reason := self._why_kept(facts, idle, busy):
            yield Kept(object=prune.ref, reason=reason)
            return
        records = words.count(len(facts.build_records), "record")
        yield Removal(
            object=prune.ref,
            size_bytes=self._gain(facts.build_records, idle),
            filesystem=places.of_layers(facts.engine, facts.filesystems),
            policy="build_cache",
            reason=f"{len(idle)} of {records}, {words.size(self.floor_bytes)} of cache stay",
        )

    def _why_kept(self, facts: Facts, idle: Sequence[BuildRecord], busy: int) -> str:
        if facts.engine.podman:
            return "protected: Podman does not know how to keep a part of its build cache"
        if busy:
            return f"in use: a build seems to run, it holds {words.count(busy, 'record')}"
        unused_for = words.duration(self.unused_for)
        if not idle:
            return f"too recent: no record has been unused for {unused_for}"
        if self._gain(facts.build_records, idle) == 0:
            return f"within its floor: {words.size(self.floor_bytes)} of cache stay"
        return self._why_unsure(facts)

    def _why_unsure(self, facts: Facts) -> str:
        """Say why Docker, which goes by dates, might take what is not old; empty if it would not."""
        if facts.clock_set_ago is not None and facts.clock_set_ago < self.unused_for:
            since = words.duration(facts.clock_set_ago)
            return f"age unknown: the clock was set forward {since} ago, and older dates say nothing since"
        young = sum(self._is_undated(record, facts) for record in facts.build_records)
        return (
            f"too recent: {words.count(young, 'record')} would go that no build has come back to yet" if young else ""
        )

    def _idle(self, facts: Facts) -> list[BuildRecord]:
        """Give the records that Docker would take, were there no floor."""
        return [each for each in facts.build_records if self._may_go(each) and self._is_idle(each, facts)]

    def _may_go(self, record: BuildRecord) -> bool:
        return not record.in_use and (self.all_records or not (record.shared or record.type in _OWN))

    def _is_idle(self, record: BuildRecord, facts: Facts) -> bool:
        unused = ages.age(record.last_used_at or record.created_at, facts.now)
        return unused is not None and unused >= self.unused_for

    def _is_undated(self, record: BuildRecord, facts: Facts) -> bool:
        """Tell whether Docker, which takes what has no date of use whatever its age, would take it too early."""
        return record.last_used_at is None and self._may_go(record) and not self._is_idle(record, facts)

    def _gain(self, records: Sequence[BuildRecord], idle: Sequence[BuildRecord]) -> int | None:
        """
        Give the bytes that a prune frees, `None` where a part of them is not known.

        Docker leaves what images share out of the sum that it compares with the floor.
        """
        sizes = [record.size_bytes for record in records if not record.shared]
        if None in sizes:
            return None
        old = sum(record.size_bytes or 0 for record in idle if not record.shared)
        return min(old, max(sum(filter(None, sizes)) - self.floor_bytes, 0))
