"""What people are told that is no episode of any alert, fixed when it happens: the end of a silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.alerts.message import summary
from daemon.stored import Stored
from policies import words
from policies.policy import Severity

if TYPE_CHECKING:
    from daemon.alerts.telling import SilenceEnd

MOST_LISTED = 40
"""Alerts that a report lists; the others are counted, and `shipkeeper alerts list` has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A message that is ready: `key` is what it is recognised by, so that it is told once."""

    key: str
    severity: Severity
    title: str
    lines: tuple[str, ...]
    what_to_do: str = ""


RECORD = Stored(Report)
"""Writes a report as JSON, reads it back."""


def of_end(end: SilenceEnd) -> Report:
    """Say what a silence, or a maintenance window, leaves behind."""
    silence, firing = end.silence, end.firing
    still = f"{words.count(len(firing), 'alert')} still {'fires' if len(firing) == 1 else 'fire'}"
    lasted = words.duration(silence.until - silence.begun)
    more = [f"and {len(firing) - MOST_LISTED} more"] if len(firing) > MOST_LISTED else []
    return Report(
        key=f"silence-{silence.id}",
        severity=max((state.severity for state in firing), key=lambda each: each.rank, default=Severity.INFO),
        title=f"{silence.name} is over: {still if firing else 'nothing fires'}",
        lines=(
            f"It was about {silence.about} and lasted {lasted}. {silence.by}: {silence.why}",
            *(f"{summary(state)} · since {words.moment(state.since)}" for state in firing[:MOST_LISTED]),
            *more,
        ),
        what_to_do="docs/silences.md#silences-and-maintenance-windows",
    )
