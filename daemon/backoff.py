"""Remembers what went wrong, to leave it alone for longer each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta


@dataclass(frozen=True, slots=True)
class _Wait:
    seconds: float
    until: float


class Backoff:
    """A pause for each key: `first` after the first failure, twice as long after each further one, up to `longest`."""

    def __init__(self, first: timedelta, longest: timedelta) -> None:
        self._first = first.total_seconds()
        self._longest = longest.total_seconds()
        self._waits: dict[str, _Wait] = {}

    def failed(self, key: str, now: float) -> None:
        """Begin the next pause of a key at this monotonic time."""
        known = self._waits.get(key)
        seconds = min(known.seconds * 2, self._longest) if known else self._first
        self._waits[key] = _Wait(seconds, now + seconds)

    def over(self, key: str) -> None:
        """Begin anew with a key: it went well."""
        self._waits.pop(key, None)

    def left(self, key: str, now: float) -> float:
        """Give the seconds that a key has still to wait; 0 when it need not."""
        wait = self._waits.get(key)
        return max(wait.until - now, 0.0) if wait else 0.0

    def forget_all_but(self, keys: Collection[str]) -> None:
        """Forget the keys that exist no more."""
        self._waits = {key: wait for key, wait in self._waits.items() if key in keys}
