from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.alerts.patterns import DEEPEST, LONGEST, Pattern

ATOMS = st.sampled_from(["a", "b", "-", ".", r"\.", r"\d", r"\w", r"\S", "[ab]", "[^a]", "[0-9a-f]", r"[\d.-]", "ä"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"({'|'.join(parts)})"),
        inner.map(lambda part: f"(?:{part})"),
        st.tuples(inner, st.sampled_from("*+?")).map(lambda parts: f"({parts[0]}){parts[1]}"),
    ),
    max_leaves=8,
)
TEXTS = st.text(alphabet="ab-.1ä\n ", max_size=8)


@given(PATTERNS, TEXTS)
def test_what_fits_is_what_fits_everywhere_else(pattern: str, text: str) -> None:
    assert Pattern(pattern).fits(text) == bool(re.fullmatch(pattern, text))


@given(st.text(alphabet=r"ab.*+?()[]{}|\^$-d:", max_size=12), TEXTS)
def test_whatever_is_typed_is_understood_as_elsewhere_or_refused(pattern: str, text: str) -> None:
    try:
        fits = Pattern(pattern).fits(text)
        elsewhere = bool(re.fullmatch(pattern.removeprefix("^"), text))
    except (ValueError, re.error):
        return
    # A "$" elsewhere lets a line feed follow; here it means the end and nothing else.
    assert fits == elsewhere or pattern.endswith("$")


@pytest.mark.parametrize(
    "pattern", ["(a+)+", "(a|a)*", "(a*)*", "a*" * 100, "(.*a)" * 40, "(" * DEEPEST + "a" + ")+" * DEEPEST + "b"]
)
def test_no_pattern_takes_long(pattern: str) -> None:
    assert not Pattern(pattern).fits("a" * 300 + "c")


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a{3}", r'has a "\{": write out'),
        ("a+?", r'has a "\?" behind a "\+"'),
        ("(?=a)", r'has a "\(\?"'),
        ("(a", "never closed"),
        ("a)", r'has a "\)" too many'),
        ("[a", r'has a "\[" that is never closed'),
        ("[]", "nothing in it"),
        ("[z-a]", "ends before it begins"),
        (r"\b", r'has a "\\b"'),
        ("a\\", "not understood"),
        ("*a", r'has a "\*" where it means nothing'),
        ("a" * (LONGEST + 1), "longer than 200"),
        ("(" * LONGEST, "more than 20 groups"),
    ],
)
def test_what_is_not_understood_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Pattern(pattern)


@pytest.mark.parametrize("pattern", ["ci-.*", "^ci-.*", "ci-.*$", "^ci-.*$"])
def test_the_ends_of_a_pattern_are_the_ends_of_the_text_anyway(pattern: str) -> None:
    assert Pattern(pattern).fits("ci-1")
    assert not Pattern(pattern).fits("my-ci-1")
    assert Pattern(r"cost\$").fits("cost$")
