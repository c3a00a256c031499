"""Reads families as whoever scrapes them does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.families import render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collectors.families import Family


def shown(families: Iterable[Family]) -> dict[str, dict[str, float]]:
    """Give all series, by name of the family and by label block."""
    return {
        family.name: {block: float(number) for block, _, number in (line.rpartition(" ") for line in _lines(family))}
        for family in families
    }


def _lines(family: Family) -> list[str]:
    lines = render([family]).decode().splitlines()[2:]
    return [line.removeprefix(family.name) for line in lines]
