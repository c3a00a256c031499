"""How the daemon's answers look in a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from daemon.lines import BAD, GOOD, Line
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence


def show(lines: Iterable[Line]) -> None:
    """Print lines: in colour at a terminal, as they are for a program."""
    if not sys.stdout.isatty():
        for line in lines:
            typer.echo(line.text)
        return
    console = Console(highlight=False)
    for line in lines:
        # `Text` takes every character as it is: a name in square brackets is no markup.
        console.print(Text(line.text, style=line.style), soft_wrap=True)


def outcome_lines(outcomes: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/test`: what each sink said."""
    for outcome in outcomes:
        yield Line(f"{_said(outcome['sink'])}: {_said(outcome['said'])}", GOOD if outcome["ok"] else BAD)


def _said(value: object) -> str:
    return "unknown" if value is None else words.plain(str(value))
