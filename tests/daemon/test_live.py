"""`status --watch` as a person sees it: in a terminal of its own, ended in every way."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from typing import TYPE_CHECKING, Self

import pytest
from rich.cells import cell_len

from daemon.control import ControlServer
from daemon.verbs import STATUS as PATH
from daemon.verbs import Role, Verb
from tests.daemon.answered import STATUS
from tests.fakes.crew import a_crew
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

ENTERED, LEFT = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
PATIENCE = 60.0
TABLE = (Verb("GET", PATH, Role.VIEWER, lambda _: STATUS),)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    """Give the control socket of a daemon that answers."""
    server = ControlServer(tmp_path / "control.sock", TABLE, a_crew())
    server.start()
    yield tmp_path / "control.sock"
    server.close()


def command(control: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    # pytest-xdist sets COLUMNS in its workers; a program believes that before it asks its terminal.
    inherited = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    environ = {**inherited, "SHIPKEEPER_CONTROL__SOCKET": str(control), "TERM": "xterm"}
    return [sys.executable, "-m", "daemon.cli", "status", "--watch", *arguments], environ


class Terminal:
    """A context manager around the command in a terminal of this size."""

    def __init__(self, control: Path, columns: int, lines: int) -> None:
        self.ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.ours)
        self.shown = ""
        line, environ = command(control, "0.2")
        # Its controlling terminal is this one, so that Ctrl-C reaches it as a person types it.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *line], env=environ, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size."""
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until a text was shown so often."""
        wait_until(lambda: self._read().count(text) >= times, f"{text!r} in the terminal", PATIENCE)

    def ended(self) -> int:
        """Wait for its end, reading on, and give its exit code."""
        wait_until(lambda: self._read() is not None and self.process.poll() is not None, "the end", PATIENCE)
        return int(self.process.returncode)

    def pages(self) -> list[list[str]]:
        """Give the lines of every page that was drawn, without what colours and places them."""
        plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", page) for page in self.shown.split("\x1b[H")[1:]]
        return [page.split("\r\n") for page in plain]

    def _read(self) -> str:
        while select.select([self.ours], [], [], 0)[0]:
            try:
                data = os.read(self.ours, 65536)
            except OSError:  # the other side has closed
                break
            if not data:
                break
            self.shown += data.decode(errors="replace")
        return self.shown


def test_it_fits_its_window_gives_the_terminal_back_on_ctrl_z_and_leaves_it_as_it_was_on_ctrl_c(control: Path) -> None:
    with Terminal(control, 40, 8) as terminal:
        terminal.wait_for("more lines: make the window larger")
        small = terminal.pages()[0]
        terminal.resize(120, 60)
        terminal.process.send_signal(signal.SIGWINCH)
        terminal.wait_for("state.db")
        terminal.process.send_signal(signal.SIGTSTP)
        stopped = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        wait_until(lambda: os.waitid(os.P_PID, terminal.process.pid, stopped), "it stops", PATIENCE)
        terminal.wait_for(LEFT)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for(ENTERED, times=2)
        terminal.wait_for("state.db", times=terminal.shown.count("state.db") + 1)
        os.write(terminal.ours, b"\x03")
        assert terminal.ended() == 0
        assert termios.tcgetattr(terminal.ours) == terminal.before
        large = terminal.pages()[-1]
    assert len(small) == 7
    assert all(cell_len(line) <= 40 for line in small)
    assert any(len(line) > 40 for line in large)
    assert terminal.shown.startswith(ENTERED)
    assert terminal.shown.endswith(LEFT)
    assert terminal.shown.count(ENTERED) == terminal.shown.count(LEFT) == 2


@pytest.mark.parametrize("ending", [signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_signals_end_it_and_the_terminal_is_as_it_was(control: Path, ending: signal.Signals) -> None:
    with Terminal(control, 200, 60) as terminal:
        terminal.wait_for("gpu-host-2", times=3)
        terminal.process.send_signal(ending)
        assert terminal.ended() == 0
        assert terminal.shown.endswith(LEFT)
        assert terminal.shown.count(ENTERED) == terminal.shown.count(LEFT) == 1
        assert termios.tcgetattr(terminal.ours) == terminal.before


@pytest.mark.slow
def test_without_a_terminal_it_prints_page_after_page_and_json_line_after_line(control: Path) -> None:
    for options, mark in (((), "shipkeeper 0.1.0 on gpu-host-2"), (("--json",), '{"version"')):
        line, environ = command(control, "0.1", *options)
        with subprocess.Popen(line, env=environ, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline()]
            while sum(mark in each for each in lines) < 3:
                lines.append(process.stdout.readline())
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
        assert process.returncode == 0
        assert "\x1b" not in "".join(lines)
        if options:
            assert [json.loads(each)["host"] for each in lines] == ["gpu-host-2"] * 3


@pytest.mark.slow
def test_a_daemon_that_goes_away_is_said_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    first = ControlServer(path, TABLE, a_crew())
    first.start()
    with Terminal(path, 120, 40) as terminal:
        terminal.wait_for("gpu-host-2")
        first.close()
        terminal.wait_for("no daemon answers")
        second = ControlServer(path, TABLE, a_crew())
        second.start()
        known = terminal.shown.count("gpu-host-2")
        terminal.wait_for("gpu-host-2", times=known + 1)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ended() == 0
        second.close()
