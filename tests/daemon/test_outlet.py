from __future__ import annotations

import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import pytest

from daemon.alerts.console import ConsoleSink
from daemon.alerts.message import Message
from daemon.alerts.sink import Retry, Sent
from daemon.client import call
from daemon.errors import ShipkeeperError
from daemon.outlet import outlet
from daemon.verbs import STATUS
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MESSAGE = Message(mark="🔴", title="trainer-3 crashed", host="h", lines=("x" * 3000,))


@contextmanager
def a_pipe(patience: float = 0.05) -> Iterator[tuple[int, TextIO]]:
    """Give a pipe: the end to read, and the outlet into the other one."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream, os.fdopen(reading, "rb") as reader:
        yield reader.fileno(), outlet(stream, patience)


def drained(reading: int) -> bytes:
    os.set_blocking(reading, False)
    return os.read(reading, 1 << 20)


def filled(writing: int) -> None:
    """Write into a pipe until nothing more goes in."""
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)


def test_what_is_written_arrives_at_once_as_it_is() -> None:
    with a_pipe() as (reading, out):
        print("🔴 é \udc80", file=out)
        assert drained(reading) == "🔴 é \\udc80\n".encode()
        assert not out.isatty()


def test_a_message_waits_while_the_pipe_is_full_and_goes_out_once_when_it_is_not() -> None:
    with a_pipe() as (reading, out):
        sink = ConsoleSink(out)
        outcomes = [sink.send(MESSAGE) for _ in range(30)]
        assert outcomes[-1] == Retry("standard output cannot be written (nobody reads it)")
        drained(reading)
        assert sink.send(MESSAGE) == Sent()
        assert drained(reading).count("🔴".encode()) == 1


def test_two_threads_may_wait_for_a_full_pipe_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb"), os.fdopen(writing, "w", encoding="utf-8") as stream, ThreadPoolExecutor() as threads:
        filled(writing)
        out = outlet(stream, patience=30)
        prints = [threads.submit(print, "x" * 999, file=out) for _ in range(2)]
        assert not wait(prints, timeout=0.2).done
        drained(reading)
        assert [each.result() for each in prints] == [None, None]


def test_a_log_that_nobody_reads_holds_nobody_up_and_goes_on_when_somebody_does() -> None:
    with a_pipe(patience=0.5) as (reading, out):
        logger = logging.getLogger("tests.outlet")
        logger.propagate = False
        logger.addHandler(logging.StreamHandler(out))
        for number in range(1000):  # the pipe is full after 500: were each waited for, this would take minutes
            logger.warning("line %d %s", number, "x" * 100)
        assert drained(reading).startswith(b"line 0 x")
        logger.warning("again")
        assert drained(reading) == b"again\n"
        logger.handlers.clear()


def test_a_reader_that_went_away_is_an_error_and_leaves_nothing_to_be_flushed() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        os.close(reading)
        out = outlet(stream)
        with pytest.raises(BrokenPipeError):
            out.write("x")
        out.flush()


def test_an_output_that_was_closed_at_the_start_goes_nowhere() -> None:
    with outlet(None) as out:
        print("into the void", file=out)


@contextmanager
def a_daemon(folder: Path, stdout: int, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """Give a daemon without an engine that answers by now."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHIPKEEPER_")} | {
        "SHIPKEEPER_DOCKER__HOST": f"unix://{folder}/none.sock",
        "SHIPKEEPER_STATE__DIR": f"{folder}/state",
        "SHIPKEEPER_CONTROL__SOCKET": f"{folder}/control.sock",
        "SHIPKEEPER_WEB__LISTEN": "127.0.0.1:0",
        "SHIPKEEPER_LOG__LEVEL": "debug",
    }
    command = [sys.executable, "-P", "-m", "daemon.app"]
    with subprocess.Popen(command, env=environment, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL) as daemon:
        try:
            wait_until(lambda: answers(folder / "control.sock"), "the daemon to answer", 30)
            yield daemon
        finally:
            daemon.kill()


def answers(control: Path) -> bool:
    try:
        return bool(call(control, "GET", STATUS))
    except ShipkeeperError:
        return False


def test_a_daemon_whose_reader_went_away_watches_on_and_ends_well(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with (tmp_path / "log").open("wb") as log, a_daemon(tmp_path, writing, log.fileno()) as daemon:
        os.close(writing)
        wait_until(lambda: "alerts wait until it can be" in (tmp_path / "log").read_text(), "the word about it")
        daemon.terminate()
        assert daemon.wait(30) == 0


def test_a_daemon_whose_output_nobody_reads_watches_on_and_ends_well(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    filled(writing)
    with a_daemon(tmp_path, writing, writing) as daemon:
        os.close(writing)
        daemon.terminate()
        assert daemon.wait(30) == 0
    os.close(reading)
