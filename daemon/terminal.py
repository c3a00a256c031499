"""How the daemon's answers look in a terminal."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from daemon.lines import BAD, GOOD, WARNING, Line
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_SEVERITY_STYLES = {"critical": BAD, "warning": WARNING}


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


def alert_lines(alerts: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts`: the worst first."""
    if not alerts:
        yield Line("none", GOOD)
    order = ("critical", "warning", "info")
    for alert in sorted(alerts, key=lambda alert: (order.index(alert["severity"]), alert["since"])):
        parts = [alert["summary"], f"{alert['state']} since {_moment(alert['since'])}"]
        if alert["count"] > 1:
            parts.append(f"{alert['count']} times")
        text = " · ".join(_said(part) for part in parts)
        yield Line(f"{alert['severity']:<8}  {text}", _SEVERITY_STYLES.get(alert["severity"], ""))


def outcome_lines(outcomes: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Render the answer of `/alerts/test`: what each sink said."""
    for outcome in outcomes:
        yield Line(f"{_said(outcome['sink'])}: {_said(outcome['said'])}", GOOD if outcome["ok"] else BAD)


def _said(value: object) -> str:
    return "unknown" if value is None else words.plain(str(value))


def _moment(text: str) -> str:
    return words.moment(datetime.fromisoformat(text))
