"""An acknowledgement: that somebody looks after an alert."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003  pydantic reads the annotation at run time
from typing import TYPE_CHECKING

from daemon.stored import Stored
from policies.policy import Severity  # noqa: TC001  pydantic reads the annotation at run time

if TYPE_CHECKING:
    from daemon.alerts.state import AlertState


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """Who has taken on an incident, at the severity that it had then; `at` is a steady time."""

    fingerprint: str
    incident: int
    severity: Severity
    by: str
    why: str
    at: datetime

    def holds(self, state: AlertState) -> bool:
        """Tell whether it is still about this: not about the next incident, nor about what has become worse."""
        return self.incident == state.incident and self.severity.rank >= state.severity.rank


RECORD = Stored(Ack)
"""Writes an acknowledgement as JSON, reads it back."""
