from __future__ import annotations

import io
import os

from daemon.alerts.console import ConsoleSink
from daemon.alerts.message import Message
from daemon.alerts.sink import Retry, Sent

MESSAGE = Message(mark="🔴", title="trainer-3 crashed", host="h", lines=("exited 7 (error)",), log_tail=("bye",))


class Terminal(io.StringIO):
    """Text that calls itself a terminal."""

    def isatty(self) -> bool:
        """Claim to be one."""
        return True


def test_a_terminal_without_unicode_still_shows_the_message() -> None:
    paper = io.BytesIO()
    terminal = io.TextIOWrapper(paper, encoding="ascii")
    assert ConsoleSink(terminal).send(MESSAGE) == Sent()
    assert paper.getvalue().startswith(b"\\U0001f534 trainer-3 crashed \\xb7 h\n   exited 7 (error)\n")


def test_at_a_terminal_a_blank_line_stands_between_messages() -> None:
    terminal = Terminal()
    sink = ConsoleSink(terminal)
    sink.send(MESSAGE)
    sink.send(MESSAGE)
    assert terminal.getvalue() == 2 * "\n🔴 trainer-3 crashed · h\n   exited 7 (error)\n   │ bye\n"


def test_a_reader_that_went_away_is_tried_again_later() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as paper:
        os.close(reading)
        sink = ConsoleSink(paper)
        assert sink.send(MESSAGE) == Retry("standard output cannot be written (Broken pipe)")
        assert isinstance(sink.send(MESSAGE), Retry)
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
        assert sink.send(MESSAGE) == Sent()


def test_a_closed_output_is_tried_again_later() -> None:
    paper = io.StringIO()
    sink = ConsoleSink(paper)
    paper.close()
    assert isinstance(sink.send(MESSAGE), Retry)
