"""Runs the daemon and ends it, as `kill -9` does, when it passes a named point for the n-th time."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from daemon import app

if TYPE_CHECKING:
    import sqlite3
    from types import FrameType

_POST = "POST"
"""Stands for the moment before a request to Slack, beside the beginnings of SQL statements."""
_TELLER = "sender-slack"
_NOTHING_DUE = "SELECT MIN(not_before) AS at FROM outbox"
"""The sender asks this only when it has told everything that may be told now."""


@dataclass(frozen=True, slots=True)
class Point:
    """A moment in the daemon: a thread, by the beginning of its name, begins a statement, or has just ended it."""

    thread: str
    statement: str
    ended: bool = False


POINTS = {
    "start: the state is opened": Point("MainThread", "PRAGMA quick_check"),
    "start: within a migration": Point("MainThread", "PRAGMA user_version ="),
    "start: the baseline is read": Point("MainThread", "SELECT container_id, record FROM baseline"),
    "watch: before its transaction": Point("watch", "BEGIN"),
    "watch: amid its transaction": Point("watch", "INSERT INTO outbox"),
    "watch: before the commit": Point("watch", "COMMIT"),
    "watch: after the commit": Point("watch", "COMMIT", ended=True),
    "sender: before the post": Point(_TELLER, _POST),
    "sender: answered, not noted": Point(_TELLER, "BEGIN"),
    "sender: amid the noting": Point(_TELLER, "UPDATE outbox SET state = 'sent'"),
    "sender: before the commit": Point(_TELLER, "COMMIT"),
    "sender: after the commit": Point(_TELLER, "COMMIT", ended=True),
    "housekeeping: amid a prune": Point("job-prune-store", "DELETE FROM"),
    "housekeeping: after a prune": Point("job-prune-store", "COMMIT", ended=True),
    "closing: before the checkpoint": Point("MainThread", "PRAGMA wal_checkpoint"),
}

EDIT_POINTS = {
    "sender: amid the noting of a post": Point(_TELLER, "INSERT INTO posts"),
    "sender: amid the noting of an edit": Point(_TELLER, "UPDATE posts SET edited"),
}
"""The same of a sink that edits."""
SILENCE_POINTS = {
    "silence: amid its storing": Point("control-answer", "INSERT INTO silences"),
    "silence: stored, not answered": Point("control-answer", "COMMIT", ended=True),
    "watch: amid the noting of the end of a silence": Point("watch", "DELETE FROM silences"),
}
"""The same of a daemon that is asked for silences."""
ALL_POINTS = {**POINTS, **EDIT_POINTS, **SILENCE_POINTS}


class Reaper:
    """
    Watches what Python and SQLite themselves report of this process, and kills it at its point.

    `after_calm` lets the passages count only once the sender had nothing left to tell.
    """

    def __init__(self, point: Point, passage: int, *, after_calm: bool) -> None:
        self._point = point
        self._left = passage
        self._armed = not after_calm

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one of Python's audit events."""
        if event == "sqlite3.connect/handle":
            # The connection cannot be traced before it is complete: the thread's next call is soon enough.
            sys.setprofile(partial(self._trace_from_now, arguments[0]))
        elif event == "http.client.connect":
            self._passed(_POST)

    def _trace_from_now(self, connection: sqlite3.Connection, frame: FrameType, what: str, _: object) -> None:
        if what in {"c_call", "return"} and frame.f_globals is not globals():
            sys.setprofile(None)
            connection.set_trace_callback(self._passed)

    def _passed(self, statement: str) -> None:
        text, thread = statement.lstrip(), threading.current_thread().name
        if not self._armed:
            self._armed = thread == _TELLER and text.startswith(_NOTHING_DUE)
        elif thread.startswith(self._point.thread) and text.startswith(self._point.statement):
            self._left -= 1
            if self._left == 0:
                self._end()

    def _end(self) -> None:
        if self._point.ended:
            sys.setprofile(_die_on_return)
        else:
            _die()


def _die_on_return(frame: FrameType, what: str, _: object) -> None:
    if what == "return" and frame.f_globals is not globals():
        _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Run the daemon with the arguments after ours."""
    parser = argparse.ArgumentParser(prog="mortal", description=__doc__)
    parser.add_argument("point", choices=list(ALL_POINTS))
    parser.add_argument("passage", type=int)
    parser.add_argument("--after-calm", action="store_true")
    options, rest = parser.parse_known_args()
    sys.addaudithook(Reaper(ALL_POINTS[options.point], options.passage, after_calm=options.after_calm).audit)
    sys.argv = [sys.argv[0], *rest]
    return app.main()


if __name__ == "__main__":
    sys.exit(main())
