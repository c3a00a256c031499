"""Metric families, and their rendering as one Prometheus text document (format 0.0.4)."""

from __future__ import annotations

from functools import lru_cache
from operator import add
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Column: TypeAlias = "Sequence[str | None]"
"""Of each row a blank and its number, ready to follow a label block; `None` where the number is not known."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

_LABEL_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_SPECIAL_VALUES = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN", "True": "1", "False": "0"}


class Family(NamedTuple):
    """
    All series of one metric name.

    A sample is a label block as `label_block` gives it, with its value: blocks are rendered once per
    container and used in every scrape, which is what makes a scrape cheap. A counter's name ends in `_total`.
    The blocks of a histogram have `_bucket`, `_sum` or `_count` before them.
    """

    name: str
    kind: Kind
    help: str
    samples: Sequence[tuple[str, float]] = ()
    blocks: Sequence[str] = ()
    column: Column = ()
    """Samples apart, for those that are many: label blocks, and what follows each of them."""
    lines: Sequence[str] = ()
    """Samples as `as_lines` gives them, for those that seldom change."""


def label_block(**labels: str) -> str:
    """Render labels as `{name="value"}` with every value escaped; an empty string for none."""
    if not labels:
        return ""
    return "{" + ",".join([f'{name}="{value.translate(_LABEL_ESCAPES)}"' for name, value in labels.items()]) + "}"


def with_label(block: str, name: str, value: str) -> str:
    """Give a non-empty label block with one more label."""
    return f'{block[:-1]},{name}="{value.translate(_LABEL_ESCAPES)}"}}'


def render(families: Iterable[Family]) -> bytes:
    """Give the text document of these families; a family without samples leaves no trace."""
    parts: list[bytes] = []
    for family in families:
        lines = _in_pairs(family.samples)
        if family.blocks or family.lines:
            lines = [*family.lines, *_side_by_side(family.blocks, family.column), *lines]
        if not lines:
            continue
        samples = f"\n{family.name}".join(lines)  # the name stands between the lines
        # Encoded in parts: a page of text beside its bytes is memory that the kernel has to find for each scrape.
        parts += _head(family.name, family.kind, family.help), samples.encode(), b"\n"
    return b"".join(parts)


def texts(values: Iterable[float | None]) -> Column:
    """Give numbers as a column."""
    return tuple(
        [None if value is None else f" {value}" if value.__class__ is int else f" {_number(value)}" for value in values]
    )


@lru_cache(maxsize=1024)  # the same few hundred in every scrape
def _head(name: str, kind: Kind, text: str) -> bytes:
    """Give what stands above the samples, and the name of the first of them."""
    return f"# HELP {name} {text.translate(_HELP_ESCAPES)}\n# TYPE {name} {kind}\n{name}".encode()


def _side_by_side(blocks: Sequence[str], column: Column) -> Iterable[str]:
    if None in column:
        return [block + text for block, text in zip(blocks, column, strict=True) if text is not None]
    return map(add, blocks, column)


def as_lines(samples: Iterable[tuple[str, float]]) -> tuple[str, ...]:
    """Give samples as they stand on the page, but for the name."""
    return tuple(_in_pairs(samples))


def _in_pairs(samples: Iterable[tuple[str, float]]) -> list[str]:
    # Most values are whole numbers, which look the same here as in Python.
    return [f"{block} {value}" if value.__class__ is int else f"{block} {_number(value)}" for block, value in samples]


def _number(value: float) -> str:
    text = repr(value)
    return _SPECIAL_VALUES.get(text, text)
