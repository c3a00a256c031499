"""The immutable status that the web pages and the command line read; they never touch the store or Docker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import Known, SourceName

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from collectors.facts import Facts
    from daemon.alerts.state import AlertState
    from daemon.counters import Samples
    from daemon.decide import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What the last cycle of the watch thread knew, decided and counted."""

    facts: Facts
    taken_at: float
    """Monotonic seconds."""
    decision: Decision
    alerts: Mapping[str, AlertState]
    """By fingerprint; resolved ones stay for a while."""
    counters: Samples
    complete: bool
    """True once every container has been seen at least once."""

    def now(self, monotonic: float) -> datetime:
        """
        Give the wall time at these monotonic seconds, by the wall clock of that cycle.

        Whoever set the clock since then made nothing old: what that means is for the next cycle to judge.
        """
        return self.facts.now + timedelta(seconds=monotonic - self.taken_at)

    @property
    def docker_known(self) -> bool:
        """True while Docker could be read at the time."""
        return isinstance(self.facts.sources[SourceName.DOCKER], Known)
