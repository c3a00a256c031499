"""How late an event loop gets round to what is due: the sign of something that blocks it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_EVERY_SECONDS = 5.0
_REMEMBERED = 12


class LoopLag:
    """Looks every 5 s; remembers the last minute."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=_REMEMBERED)

    @property
    def worst(self) -> float | None:
        """The longest delay of the last minute in seconds; `None` before the first look."""
        return max(tuple(self._late), default=None)

    def watch(self, loop: AbstractEventLoop) -> None:
        """Look from now on until the loop ends; called in the loop's thread."""
        due = loop.time() + _EVERY_SECONDS
        loop.call_at(due, self._look, loop, due)

    def _look(self, loop: AbstractEventLoop, due: float) -> None:
        self._late.append(max(loop.time() - due, 0.0))
        self.watch(loop)
