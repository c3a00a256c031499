"""Decides when pings that fail mean that the engine is down."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from collectors.facts import Engine, EngineState

if TYPE_CHECKING:
    from datetime import datetime

FAILURES: Final = 3
WITHIN_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Outage:
    """
    One sign that the engine is away: as which state that counts, why, and what a person can do.

    `settled` marks a word that needs no confirmation: systemd's. `hands_off` forbids to ask the engine itself.
    """

    state: EngineState
    why: str
    cure: str
    settled: bool = False
    hands_off: bool = False


class EngineJudge:
    """
    Holds the engine as we see it.

    It is called down after three failures in a row within 30 s, or on a settled word; up after one success.
    Until then what was thought before holds.
    """

    def __init__(self, now: datetime) -> None:
        self.engine = Engine(state=EngineState.STARTING, since=now)
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._failing_since: datetime | None = None

    @property
    def undecided(self) -> bool:
        """True while pings fail and the engine is not yet called down."""
        return bool(self._failures) and self.engine.state in {EngineState.UP, EngineState.STARTING}

    def answered(self) -> None:
        """Take note that an engine that was up still is."""
        self._failures.clear()
        self._failing_since = None

    def greeted(self, engine: Engine) -> None:
        """Take note of what an engine said of itself on being reached."""
        self.answered()
        since = self.engine.since if self.engine.state is EngineState.UP else engine.since
        self.engine = replace(engine, since=since)

    def failed(self, outage: Outage, now: datetime, monotonic: float) -> None:
        """Take note of a sign that it is away, seen at this wall and monotonic time."""
        self._failing_since = self._failing_since or now
        self._failures.append(monotonic)
        enough = len(self._failures) == FAILURES and monotonic - self._failures[0] <= WITHIN_SECONDS
        is_down = self.engine.state not in {EngineState.UP, EngineState.STARTING}
        if is_down or enough or outage.settled:
            since = self.engine.since if is_down else self._failing_since
            self.engine = replace(self.engine, state=outage.state, since=since, why=outage.why, cure=outage.cure)
