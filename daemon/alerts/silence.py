"""A silence: which alerts nobody wants to hear of for a while, who said so and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from daemon.alerts.matchers import Matcher  # noqa: TC001  pydantic reads the annotation at run time
from daemon.stored import Stored
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """
    A silence, or a maintenance window, of whose end people are told in any case.

    `begun` and `until` are steady times. Without a matcher it is about everything on this host.
    """

    id: int = 0
    matchers: tuple[Matcher, ...]
    by: str
    why: str
    begun: datetime
    until: datetime
    window: bool = False

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with these labels is not to be heard of while the silence lasts."""
        return all(matcher.fits(labels) for matcher in self.matchers)

    @property
    def name(self) -> str:
        """What it is called: `silence 3`, `maintenance window 4`."""
        return f"{'maintenance window' if self.window else 'silence'} {self.id}"

    @property
    def about(self) -> str:
        """Give its matchers as people type them; `everything` without any."""
        return " ".join(map(str, self.matchers)) or "everything"

    @property
    def words(self) -> str:
        """Say all of it but when it ends: `silence 3 of project=ci by ada (uid 1000): load test`."""
        return words.plain(f"{self.name} of {self.about} by {self.by}: {self.why}")


RECORD = Stored(Silence)
"""Writes a silence as JSON, reads it back."""

LONGEST = timedelta(days=7)
"""Whatever is to be silent for longer belongs into the configuration, where others see it."""


def first_over(silences: Iterable[Silence], labels: Mapping[str, str]) -> Silence | None:
    """Give the silence by which an alert with these labels is silent; `None` if it is heard."""
    return next((silence for silence in silences if silence.covers(labels)), None)
