from __future__ import annotations

import io

from daemon.alerts.console import ConsoleSink
from daemon.alerts.message import Message
from daemon.alerts.sink import Retry, Sent

MESSAGE = Message(mark="🔴", title="trainer-3 crashed", host="h", lines=("exited 7 (error)",), log_tail=("bye",))


def test_a_terminal_without_unicode_still_shows_the_message() -> None:
    paper = io.BytesIO()
    terminal = io.TextIOWrapper(paper, encoding="ascii")
    assert ConsoleSink(terminal).send(MESSAGE) == Sent()
    assert paper.getvalue().startswith(b"\\U0001f534 trainer-3 crashed \\xb7 h\n   exited 7 (error)\n")


def test_a_closed_output_is_tried_again_later() -> None:
    paper = io.StringIO()
    paper.close()
    assert isinstance(ConsoleSink(paper).send(MESSAGE), Retry)
