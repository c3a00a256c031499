"""How our own work goes, put together from the parts that do it, for the alerts about ourselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collectors.own_facts import Awaiting, OwnWork
from daemon.plans import total_bytes
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from daemon.alerts.lane import SinkStats
    from daemon.clock import Clock
    from daemon.reload import Standing
    from daemon.rulebook import Rulebook
    from daemon.run_figures import RunFigures
    from daemon.snapshot import Snapshot

LATE: Final = timedelta(minutes=5)
"""A message that could not be delivered for so long is a fault of its sink."""
_WHY: Final = 120
"""Characters of why a sink takes nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnWorkView:
    """Asked by the watch thread in every cycle: every part is read through what it has published."""

    sinks: Callable[[], Sequence[SinkStats]]
    overdue: Callable[[], Mapping[str, timedelta]]
    standing: Callable[[], Standing]
    figures: RunFigures
    answers_within: Callable[[], timedelta | None]
    last: Callable[[], tuple[Snapshot | None, Rulebook]]
    """What the last cycle knew, and by what it judged."""
    clock: Clock
    """The one that the outbox is dated by."""

    def look(self, no_events_for: timedelta | None) -> OwnWork:
        """Give how it goes now."""
        now = self.clock.now()
        return OwnWork(
            no_events_for=no_events_for,
            engine_answers_within=self.answers_within(),
            undelivered=dict(_undelivered(self.sinks(), now)),
            overdue={name: f"not done for {words.about(span)}" for name, span in self.overdue().items()},
            reload_fault=_mistakes(self.standing().problem),
            cleanup_fault=self.figures.fault,
            awaiting=_awaiting(*self.last()),
        )


def _undelivered(sinks: Sequence[SinkStats], now: datetime) -> Iterator[tuple[str, str]]:
    for sink in sinks:
        late = sink.state == "retrying" and sink.oldest is not None and now - sink.oldest >= LATE
        if sink.state == "down" or late:
            yield sink.name, f"takes none: {words.one_line(sink.last_error, _WHY)}"


def _mistakes(problem: str) -> str:
    """Give the lines of a bad configuration that name what is wrong; its first and last say which file and how many."""
    lines = problem.splitlines()
    return "; ".join(" ".join(line.split()) for line in lines[1:-1] or lines)


def _awaiting(snapshot: Snapshot | None, book: Rulebook) -> Awaiting | None:
    """Give what only an approval can remove, in a mode that asks for one."""
    if snapshot is None or book.mode == "observe":
        return None
    waiting = [each for each in snapshot.decision.removals if book.mode_of(each.policy) == "approve"]
    if not waiting:
        return None
    return Awaiting(objects=len(waiting), size_bytes=total_bytes(waiting))
