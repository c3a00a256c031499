"""The sink that needs nothing: messages as lines of text on standard output."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from daemon.alerts.sink import Outcome, Retry, Sent
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from daemon.alerts.message import Message


class ConsoleSink:
    """Prints each message as one block of lines, never mixed with another."""

    name = "console"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._apart = "\n" if stream.isatty() else ""  # at a terminal alone: the journal keeps entries apart itself
        self._lock = threading.Lock()

    def send(self, message: Message) -> Outcome:
        """Print it."""
        text = self._apart + "".join(f"{line}\n" for line in _lines(message))
        encoding = self._stream.encoding or "utf-8"
        printable = text.encode(encoding, "backslashreplace").decode(encoding)
        try:
            with self._lock:
                self._stream.write(printable)
                self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed
            return Retry(f"standard output cannot be written ({words.fault(error)})")
        return Sent()


def _lines(message: Message) -> Iterator[str]:
    yield message.headline
    for line in message.lines:
        yield f"   {line}"
    for line in message.log_tail:
        yield f"   │ {line}"
    if small := [*(f"{each.what} {words.moment(each.at)}" for each in message.moments), *message.commands]:
        yield f"   {' · '.join(small)}"
    if message.what_to_do:
        yield f"   What to do: {message.what_to_do}"
