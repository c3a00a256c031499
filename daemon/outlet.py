"""A standard stream that does not hold up who writes to it: a full pipe or a stopped terminal costs its own lines."""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PATIENCE_SECONDS = 2.0
"""How long a reader that does not read is waited for: once, and not again before it has read."""


def outlet(stream: TextIO | None, patience: float = PATIENCE_SECONDS) -> TextIO:
    """Give a stream that writes where this one does, without a buffer; to nowhere where it was closed at the start."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123  it lives as long as the process
    return io.TextIOWrapper(
        _Outlet(stream.fileno(), patience), encoding=stream.encoding, errors="backslashreplace", write_through=True
    )


class _Outlet(io.FileIO):
    """
    Writes as much as the descriptor takes without blocking; raises TimeoutError for the rest.

    The descriptor is not set to non-blocking: that would hold for the shell that shares the terminal, too.
    """

    def __init__(self, descriptor: int, patience: float) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._patience = patience
        self._stuck = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        poll = select.poll()  # one for each: two threads that print must not share it
        poll.register(self.fileno(), select.POLLOUT)
        while rest:
            self._stuck = not poll.poll(0 if self._stuck else self._patience * 1000)
            if self._stuck:
                raise TimeoutError("nobody reads it")
            # So much a pipe takes at once when it takes anything at all.
            rest = rest[super().write(rest[: select.PIPE_BUF]) :]
        return length
