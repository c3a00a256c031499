"""What a run against a full disk removes next, and when it is enough: measured after each removal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collectors.engine_errors import EngineError
from collectors.facts import SubjectKind
from collectors.storage_facts import BuildPrune, Relieved
from collectors.storage_facts import ReliefEnd as End
from daemon.outcome import Outcome
from policies import relief
from policies.bounds import ask
from policies.gauges import Missing
from policies.policy import Removal
from policies.relief import Gain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from collectors.facts import Filesystem
    from daemon.clock import Clock
    from daemon.outcome import Answer
    from daemon.recheck import Recheck
    from daemon.rulebook import Rulebook

SETTLES: Final = timedelta(seconds=10)
"""Docker deletes some of it after its answer: what may still come and matters is measured again for so long."""
_SLICE_SECONDS: Final = 0.5
_SHORT: Final = 0.5
"""Of what a removal was expected to free: with less it is measured again."""


class Relieving:
    """
    One run's removals from one filesystem, as an iterator over the places in the plan with what goes next.

    Before each the containers and images are listed anew and the filesystem is measured; of what is planned the
    policy says which is the cheapest to lose now. Once it is exhausted, `outcome` tells why.
    """

    def __init__(  # noqa: PLR0913  each is another part of the daemon
        self,
        planned: Sequence[tuple[int, Removal]],
        *,
        recheck: Recheck,
        measure: Callable[[str], Filesystem | None],
        book: Callable[[], Rulebook],
        clock: Clock,
        wait: Callable[[float], bool],
        settles: timedelta,
    ) -> None:
        """
        Take the places and removals of one filesystem, at least one.

        `wait` lets so many seconds pass, and tells whether there is time for more.
        """
        self._planned = list(planned)
        self._mountpoint = planned[0][1].filesystem
        self._recheck = recheck
        self._measure = measure
        self._book = book
        self._clock = clock
        self._wait = wait
        self._settles = settles
        self._begun = clock.monotonic()
        self._gains: list[Gain] = []
        self._claimed: int | None = None
        self._missing = Missing()
        """What the filesystem lacked before the removal that was made last."""
        self._before: Filesystem | None = None
        """The filesystem before the removal that was made last and has not been measured yet."""
        self._went = False
        self._end = End.STOPPED

    def __iter__(self) -> Iterator[tuple[int, Removal]]:
        """Give itself."""
        return self

    def __next__(self) -> tuple[int, Removal]:
        """Give the next one with its place in the plan; StopIteration when there is none, or it is enough."""
        if self._went and self._before is not None:
            self._gains.append(self._gain(self._before))
        self._went = False
        found = self._next()
        if isinstance(found, End):
            self._end = found
            raise StopIteration
        return found

    def note(self, answer: Answer) -> None:
        """Note what came of the one that was given last."""
        self._went = answer.outcome is Outcome.REMOVED

    def outcome(self) -> Relieved:
        """Say what it came to so far."""
        now = self._measure(self._mountpoint)
        return Relieved(
            mountpoint=self._mountpoint,
            at=self._clock.now(),
            end=self._end,
            removed=len(self._gains),
            freed_bytes=sum(gain.bytes for gain in self._gains),
            freed_inodes=sum(gain.inodes for gain in self._gains),
            left_bytes=now.available_bytes if now else None,
        )

    def _next(self) -> tuple[int, Removal] | End:
        book = self._book()
        policy = book.pressure
        try:
            facts = self._recheck.look()
        except EngineError:
            return End.UNREAD
        filesystem = next((each for each in facts.filesystems if each.mountpoint == self._mountpoint), None)
        if policy is None or filesystem is None:
            return End.UNREAD
        bounds = book.bounds_of(relief.NAME)
        missing = policy.missing(filesystem, facts)
        if end := self._why_enough(missing, filesystem, policy.timeout, bounds.max_bytes):
            return end
        self._before, self._missing = filesystem, missing
        return self._choice([each for each in ask(policy, facts, bounds) if isinstance(each, Removal)])

    def _why_enough(self, missing: Missing, filesystem: Filesystem, timeout: timedelta, max_bytes: int) -> End | None:
        if not missing:
            return End.TARGET
        if relief.stalled(self._gains, missing, filesystem.size_bytes):
            return End.NO_PROGRESS
        if self._clock.monotonic() - self._begun >= timeout.total_seconds():
            return End.TIMEOUT
        freed = sum(gain.bytes for gain in self._gains)
        return End.CAPPED if max_bytes and freed >= max_bytes else None

    def _choice(self, candidates: Sequence[Removal]) -> tuple[int, Removal] | End:
        """Give the first of the candidates that the plan names, in the plan's words."""
        for candidate in candidates:
            for index, (position, planned) in enumerate(self._planned):
                if _same(candidate, planned):
                    del self._planned[index]
                    self._claimed = candidate.size_bytes
                    return position, _in_terms_of(planned, candidate)
        return End.EXHAUSTED

    def _gain(self, before: Filesystem) -> Gain:
        """Measure what the last removal gave, again as long as more may come on which it depends what is done next."""
        until = self._clock.monotonic() + self._settles.total_seconds()
        last: Gain | None = None
        while True:
            now = self._measure(self._mountpoint)
            gain = Gain(
                claimed_bytes=self._claimed,
                bytes=now.available_bytes - before.available_bytes if now else 0,
                inodes=(now.inodes_free or 0) - (before.inodes_free or 0) if now else 0,
            )
            short = gain.bytes < _SHORT * (self._claimed or 0)
            rises = gain != last and self._is_near(gain)
            if not (short or rises) or self._clock.monotonic() >= until:
                return gain
            last = gain
            if not self._wait(_SLICE_SECONDS):
                return gain

    def _is_near(self, gain: Gain) -> bool:
        """Tell whether the target is so near that the rest of this gain may reach it: else one too many would go."""
        bytes_left, inodes_left = self._missing.bytes - gain.bytes, self._missing.inodes - gain.inodes
        if bytes_left <= 0 and inodes_left <= 0:
            return False
        return bytes_left <= max(gain.bytes, self._claimed or 0) and inodes_left <= gain.inodes


def _same(candidate: Removal, planned: Removal) -> bool:
    if candidate.object.kind is SubjectKind.BUILD_CACHE:
        return planned.object.kind is SubjectKind.BUILD_CACHE
    return candidate.object.id == planned.object.id


def _in_terms_of(planned: Removal, candidate: Removal) -> Removal:
    """Give the planned removal; of the build cache the newer terms where they take less."""
    if planned.object.kind is not SubjectKind.BUILD_CACHE:
        return planned
    terms, newer = BuildPrune.of(planned.object.id), BuildPrune.of(candidate.object.id)
    less = newer.floor_bytes >= terms.floor_bytes and newer.unused_for >= terms.unused_for
    return replace(planned, object=candidate.object, size_bytes=candidate.size_bytes) if less else planned
