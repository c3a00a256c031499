"""A line of an answer as a terminal shows it, with the colours that there are."""

from __future__ import annotations

from dataclasses import dataclass

BAD, WARNING, GOOD = "red", "yellow", "green"


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and the colour that it has where there are colours."""

    text: str
    style: str = ""
