"""What cleanup runs did since the start, counted, and when the last one went well."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from collectors.families import Family, label_block
from daemon.outcome import Outcome
from daemon.runs import RunState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from daemon.outcome import Answer
    from policies.policy import Removal

_COUNTED: Final = tuple(each for each in Outcome if each not in {Outcome.UNKNOWN, Outcome.NOT_BEGUN})
"""What one step can come to; the others are of runs that ended before."""

Key = TypeVar("Key", bound=tuple[str, ...])


@dataclass(slots=True)
class RunFigures:
    """Counted by the executor's thread alone, read by any."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Objects, by kind, policy and outcome."""
    estimated_bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What the removed ones were said to take, by kind and policy, as far as that was known."""
    freed_bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """What their filesystems had more after each, by kind and policy, as far as that was measured."""
    runs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Runs that ended, by who asked for them (`schedule` or `person`) and how they ended."""
    reliefs: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Runs against full disks, by filesystem and why they left it alone."""
    fault: str = ""
    """How the last run failed; empty after one that went well, and before the first."""
    last_success: datetime | None = None
    """When the last run ended in which every object had its turn; a wall time, `None` before the first."""

    def meet(self, removals: Iterable[Removal]) -> None:
        """
        Start what will be counted of these at 0, so that `increase()` sees the first; from any thread.

        Most runs come long after what they remove was first planned. A key that is there stays as it is.
        """
        for kind, policy in {(removal.object.kind.value, removal.policy) for removal in removals}:
            for outcome in _COUNTED:
                self.outcomes.setdefault((kind, policy, outcome.value), 0)
            self.estimated_bytes.setdefault((kind, policy), 0)
            self.freed_bytes.setdefault((kind, policy), 0)

    def count(self, removal: Removal, answer: Answer) -> None:
        """Count what came of one object."""
        kind, policy = removal.object.kind.value, removal.policy
        self.outcomes[kind, policy, answer.outcome.value] += 1
        if answer.outcome is Outcome.REMOVED:
            self.estimated_bytes[kind, policy] += removal.size_bytes or 0
            # What others wrote meanwhile makes it less than nothing: a counter never falls.
            self.freed_bytes[kind, policy] += max(answer.freed_bytes or 0, 0)

    def ended(self, trigger: str, state: RunState, at: datetime, fault: str = "") -> None:
        """Count a run that has ended so at this wall time, and note with which fault."""
        self.runs[trigger, state.value] += 1
        if state in {RunState.DONE, RunState.FAILED}:
            self.fault = fault
        if state is RunState.DONE:
            self.last_success = at

    def families(self) -> Iterator[Family]:
        """Give the figures of this moment."""
        yield Family(
            "shipkeeper_removals_total",
            "counter",
            "Objects of cleanup runs, by what came of each.",
            [
                (label_block(kind=kind, policy=policy, outcome=outcome), count)
                for (kind, policy, outcome), count in _sorted(self.outcomes)
            ],
        )
        yield Family(
            "shipkeeper_cleanup_estimated_bytes_total",
            "counter",
            "What the removed objects were said to take, as far as that was known.",
            _by_kind(self.estimated_bytes),
        )
        yield Family(
            "shipkeeper_cleanup_freed_bytes_total",
            "counter",
            "What their filesystems were measured to have more after each removal.",
            _by_kind(self.freed_bytes),
        )
        yield Family(
            "shipkeeper_cleanup_runs_total",
            "counter",
            "Cleanup runs that ended, by who asked for them and how they ended.",
            [(label_block(trigger=trigger, state=state), count) for (trigger, state), count in _sorted(self.runs)],
        )
        yield Family(
            "shipkeeper_cleanup_reliefs_total",
            "counter",
            "Runs against full disks, by filesystem and why they left it alone.",
            [(label_block(mountpoint=place, end=end), count) for (place, end), count in _sorted(self.reliefs)],
        )
        yield Family(
            "shipkeeper_cleanup_last_success_timestamp_seconds",
            "gauge",
            "When the last cleanup run ended in which every object had its turn.",
            [("", self.last_success.timestamp())] if self.last_success else [],
        )


def _by_kind(counted: Counter[tuple[str, str]]) -> list[tuple[str, float]]:
    return [(label_block(kind=kind, policy=policy), count) for (kind, policy), count in _sorted(counted)]


def _sorted(counted: Counter[Key]) -> list[tuple[Key, int]]:
    # A copy first: the executor's thread may add a key meanwhile.
    return sorted(dict(counted).items())
