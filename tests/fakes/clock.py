"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 11, 23, 16, 2, tzinfo=UTC)


class FakeClock:
    """Wall and monotonic time that `advance` moves together; `step` moves the wall alone, as an admin would."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now
        self._monotonic = 1000.0
        self.boot = "11111111-2222-3333-4444-555555555555"

    def now(self) -> datetime:
        """Give the wall time."""
        return self._now

    def monotonic(self) -> float:
        """Give the monotonic time."""
        return self._monotonic

    def boot_id(self) -> str:
        """Give one boot's id."""
        return self.boot

    def advance(self, span: timedelta) -> None:
        """Let time pass."""
        self._now += span
        self._monotonic += span.total_seconds()

    def step(self, span: timedelta) -> None:
        """Set the wall clock, forwards or backwards."""
        self._now += span
