"""A page that is shown again and again until somebody ends it, in a terminal that is left as it was found."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import contextmanager, nullcontext, suppress
from threading import Event
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len, set_cell_size

from daemon.lines import BAD, GOOD, WARNING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from daemon.lines import Line

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""To the alternate screen, without a cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN, _PLAIN = "\x1b[H", "\x1b[K", "\x1b[J", "\x1b[0m"
_COLOURS: Final = {BAD: "\x1b[31m", WARNING: "\x1b[33m", GOOD: "\x1b[32m"}
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def show_live(page: Callable[[], Sequence[Line]], seconds: float) -> None:
    """
    Show what `page` gives every so many seconds; returns when somebody ends it, by Ctrl-C or a signal.

    Where the output is no terminal each page is printed below the one before; pages of several lines with an empty
    one between them.
    """
    woken = Event()
    screen = _screen(woken) if sys.stdout.isatty() else nullcontext(_print)
    with _ended_by_signals(woken), suppress(KeyboardInterrupt), screen as draw:
        while True:
            draw(page())
            woken.wait(seconds)
            woken.clear()


def _print(lines: Sequence[Line]) -> None:
    _write("".join(f"{line.text}\n" for line in lines) + ("\n" if len(lines) > 1 else ""))


def _draw(lines: Sequence[Line]) -> None:
    """Write over what is there, line by line: a screen that is cleared first flickers."""
    size = shutil.get_terminal_size()
    room = max(size.lines - 1, 1)
    shown = list(lines[:room]) if len(lines) <= room else list(lines[: room - 1])
    drawn = [f"{_coloured(line, size.columns)}{_REST_OF_LINE}" for line in shown]
    if len(shown) < len(lines):
        drawn.append(f"… {len(lines) - len(shown)} more lines: make the window larger{_REST_OF_LINE}")
    _write(_HOME + "\r\n".join(drawn) + _REST_OF_SCREEN)


def _coloured(line: Line, columns: int) -> str:
    """Cut a line at the edge, as wide as its characters are, and give it its colour."""
    text = line.text if cell_len(line.text) <= columns else set_cell_size(line.text, columns - 1) + "…"
    colour = "" if os.environ.get("NO_COLOR") else _COLOURS.get(line.style, "")
    return f"{colour}{text}{_PLAIN}" if colour else text


@contextmanager
def _screen(woken: Event) -> Iterator[Callable[[Sequence[Line]], None]]:
    """Take the alternate screen to draw on, give it back however this ends, and while Ctrl-Z stops the process."""

    def pause(_: int, __: FrameType | None) -> None:
        _write(_LEAVE)
        signal.raise_signal(signal.SIGSTOP)
        _write(_ENTER)  # here it goes on
        woken.set()

    signal.signal(signal.SIGTSTP, pause)
    _write(_ENTER)
    try:
        yield _draw
    finally:
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        with suppress(OSError):  # the terminal itself has gone
            _write(_LEAVE)


@contextmanager
def _ended_by_signals(woken: Event) -> Iterator[None]:
    """Let the signals that end a program come as KeyboardInterrupt does, and another window size draw anew."""

    def end(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    kinds = (*_ENDING, signal.SIGWINCH)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    for kind in _ENDING:
        signal.signal(kind, end)
    signal.signal(signal.SIGWINCH, lambda _, __: woken.set())
    try:
        yield
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
