"""A crew that takes on threads of any name."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.clock import SystemClock
from daemon.crew import Crew
from daemon.heartbeats import Heartbeats

if TYPE_CHECKING:
    from daemon.clock import Clock


def a_crew(clock: Clock | None = None) -> Crew:
    """Give an empty one; by default it goes by the machine's clock."""
    clock = clock or SystemClock()
    return Crew(Heartbeats(defaultdict(lambda: timedelta(minutes=1)), clock), clock)
