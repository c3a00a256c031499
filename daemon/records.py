"""Reads stored records one by one, so that what a bad disk has spoiled costs itself only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator

log = logging.getLogger(__name__)

T = TypeVar("T")


def readable(rows: Iterable[sqlite3.Row], load: Callable[[sqlite3.Row], T]) -> Iterator[T]:
    """Give what the rows hold; one that `load` cannot make sense of is left out, and said."""
    for row in rows:
        try:
            yield load(row)
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as fault:
            log.warning("a record of the state cannot be read, it is left out: %r", fault)
