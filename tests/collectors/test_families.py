from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collectors.families import Family, as_lines, label_block, render, texts, with_label

if TYPE_CHECKING:
    from collectors.families import Kind

LABEL_VALUES = st.text(st.characters(exclude_categories=["Cs"]))  # lone surrogates cannot come out of UTF-8


def parsed(document: bytes) -> list[tuple[str, dict[str, str], float]]:
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(document.decode())
        for sample in family.samples
    ]


@given(first=LABEL_VALUES, second=LABEL_VALUES)
def test_any_label_value_comes_back_from_the_document(first: str, second: str) -> None:
    block = with_label(label_block(a=first), "b", second)
    document = render([Family("x", "gauge", "Help.", [(block, 1)])])
    assert parsed(document) == [("x", {"a": first, "b": second}, 1.0)]


@given(value=st.floats() | st.integers(-(2**63), 2**64) | st.booleans())
def test_any_value_comes_back_from_the_document(value: float) -> None:
    [(_, _, back)] = parsed(render([Family("x", "gauge", "Help.", [("", value)])]))
    assert float(back) == float(value) or (math.isnan(back) and math.isnan(value))


def test_a_family_is_help_type_and_samples() -> None:
    family = Family("x_total", "counter", "One\nline \\ only.", [(label_block(a='"'), 1), ("", 2.5)])
    assert render([family]) == (
        b'# HELP x_total One\\nline \\\\ only.\n# TYPE x_total counter\nx_total{a="\\""} 1\nx_total 2.5\n'
    )


def test_a_family_without_samples_leaves_no_trace() -> None:
    assert render([Family("x", "gauge", "Help.", [])]) == b""


def test_a_sample_looks_the_same_however_it_is_given() -> None:
    values: list[float] = [1, 2.5, True, math.inf, 0.0]
    blocks = [label_block(a=str(place)) for place in range(len(values))]
    samples = list(zip(blocks, values, strict=True))
    page = render([Family("x", "gauge", "Help.", samples)])
    assert render([Family("x", "gauge", "Help.", lines=as_lines(samples))]) == page
    assert render([Family("x", "gauge", "Help.", blocks=blocks, column=texts(values))]) == page
    mixed = Family(
        "x",
        "gauge",
        "Help.",
        lines=as_lines(samples[:2]),
        blocks=blocks[2:4],
        column=texts(values[2:4]),
        samples=samples[4:],
    )
    assert render([mixed]) == page


def test_what_stands_above_the_samples_is_of_this_family() -> None:
    kinds: list[Kind] = ["gauge", "counter", "gauge"]
    for kind, text in product(kinds, ("One.", "Another.")):
        [head, line, sample] = render([Family("x", kind, text, [("", 1)])]).decode().splitlines()
        assert (head, line, sample) == (f"# HELP x {text}", f"# TYPE x {kind}", "x 1")
