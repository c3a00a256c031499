"""Log lines suit their reader, and hold no secret."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, TextIO

import pytest

from daemon.config import Log
from daemon.logs import is_journal, log_handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

WEBHOOK = "https://hooks.example/verysecret"


class Writing:
    """A logger that writes to a file of its own."""

    def __init__(self, logger: logging.Logger, stream: TextIO) -> None:
        self.logger = logger
        self.stream = stream

    def to(self, log: Log, environ: Mapping[str, str] | None = None, secrets: Sequence[str] = ()) -> logging.Logger:
        """Set the logger up, and give it."""
        self.logger.addHandler(log_handler(log, secrets, environ or {}, self.stream))
        return self.logger

    def journal(self) -> dict[str, str]:
        """Give the environment in which the file is the journal."""
        opened = os.fstat(self.stream.fileno())
        return {"JOURNAL_STREAM": f"{opened.st_dev}:{opened.st_ino}"}

    def lines(self) -> list[str]:
        """Give what was written."""
        self.stream.seek(0)
        return self.stream.read().splitlines()


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[Writing]:
    logger = logging.getLogger("tests.watch")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    with (tmp_path / "log").open("w+") as stream:
        yield Writing(logger, stream)
    logger.handlers.clear()


def fail() -> None:
    raise RuntimeError(f"cannot reach {WEBHOOK}")


def test_a_terminal_gets_time_level_and_place(writing: Writing) -> None:
    writing.to(Log()).warning("disk %s is filling", "/")
    [line] = writing.lines()
    assert line.split("Z ", 1)[1] == "WARNING tests.watch: disk / is filling"


def test_the_journal_gets_a_priority_on_every_line_and_no_time(writing: Writing) -> None:
    log = writing.to(Log(), writing.journal())
    log.info("ready")
    try:
        fail()
    except RuntimeError:
        log.exception("cycle failed")
    lines = writing.lines()
    assert lines[0] == "<6>tests.watch: ready"
    assert lines[1] == "<3>tests.watch: cycle failed"
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines[1:])


def test_a_stream_that_is_not_the_journals_gets_no_priority(writing: Writing) -> None:
    writing.to(Log(), {"JOURNAL_STREAM": "1:1"}).info("ready")
    assert not writing.lines()[0].startswith("<")


def test_a_stream_without_a_descriptor_is_not_the_journals() -> None:
    assert not is_journal({"JOURNAL_STREAM": "1:1"}, io.StringIO())


def test_a_machine_gets_one_json_object_a_line(writing: Writing) -> None:
    log = writing.to(Log(format="json"))
    try:
        fail()
    except RuntimeError:
        log.exception("cycle\nfailed")
    [line] = writing.lines()
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "tests.watch", "cycle\nfailed")
    assert told["time"].endswith("Z")
    assert "RuntimeError" in told["traceback"]


@pytest.mark.parametrize("log", [Log(), Log(format="json")])
def test_a_secret_shows_neither_in_a_message_nor_in_a_traceback(writing: Writing, log: Log) -> None:
    logger = writing.to(log, secrets=(WEBHOOK, "/verysecret"))
    logger.warning("posting to %s", WEBHOOK)
    try:
        fail()
    except RuntimeError:
        logger.exception("failed at /verysecret")
    text = "\n".join(writing.lines())
    assert "verysecret" not in text
    assert "posting to ***" in text
    assert "cannot reach ***" in text


@pytest.mark.parametrize("raising", ["fail()", "t = threading.Thread(target=fail); t.start(); t.join(); sys.exit(1)"])
def test_an_error_that_nobody_catches_is_in_the_log_and_shows_no_secret(raising: str) -> None:
    script = (
        "import os, sys, threading; from daemon.config import Log; from daemon.logs import set_up_logging\n"
        "def fail(): raise RuntimeError('cannot reach https://hooks.example/verysecret')\n"
        "set_up_logging(Log(format='json'), ('https://hooks.example/verysecret',), os.environ, sys.stderr)\n"
        f"{raising}"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    [line] = done.stderr.splitlines()
    told = json.loads(line)
    assert done.returncode == 1
    assert told["level"] == "critical"
    assert "RuntimeError: cannot reach ***" in told["traceback"]
    assert "verysecret" not in line


def test_a_line_whose_arguments_do_not_fit_harms_nobody_and_shows_no_secret() -> None:
    written = io.StringIO()
    record = logging.LogRecord("test", logging.INFO, "daemon/watch.py", 7, "%d tries", (WEBHOOK,), None)
    log_handler(Log(), (WEBHOOK,), {}, written).handle(record)
    assert written.getvalue().endswith("arguments do not fit is left out: watch.py:7\n")
    assert "verysecret" not in written.getvalue()


def test_a_name_cannot_forge_a_line_or_move_the_cursor(writing: Writing) -> None:
    writing.to(Log(), writing.journal()).info("removed %s", "web\n<0>forged \x1b[2J")
    [line] = writing.lines()
    assert "\x1b" not in line


def test_libraries_that_would_tell_the_webhook_are_kept_quiet() -> None:
    script = (
        "import logging, os, sys; from daemon.config import Log; from daemon.logs import set_up_logging\n"
        "set_up_logging(Log(level='debug'), (), os.environ, sys.stderr)\n"
        "logging.getLogger('slack_sdk.webhook.client').debug('Sending a request - url: %s', 'verysecret')\n"
        "logging.getLogger('daemon').debug('a cycle')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "a cycle" in done.stderr
    assert "verysecret" not in done.stderr
