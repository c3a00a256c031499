from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.selection import parse, why_left_out
from tests.policies.build import compose, container, image

WEB = container("shop-web-1", labels={"team": "ml"} | compose("shop", "web"))
APP = image("registry:5000/app:1", digests=("registry:5000/app@sha256:1",))


@pytest.mark.parametrize(
    "rule",
    ["shop-*", "name=shop-web-?", "label=team", "label=team=m*", "project=shop", "project=s* name=*-1 label=team=ml"],
)
def test_a_rule_fits_when_all_its_terms_do(rule: str) -> None:
    assert parse(rule).fits(WEB)


@pytest.mark.parametrize("rule", ["Shop-*", "label=owner", "label=team=x", "project=sho", "project=shop name=db-*"])
def test_a_rule_does_not_fit_when_one_term_does_not(rule: str) -> None:
    assert not parse(rule).fits(WEB)


@pytest.mark.parametrize(
    "rule", ["registry:5000/app", "registry:5000/app:1", "registry:5000/*", "registry:5000/app@sha256:*", "*/app:1"]
)
def test_an_image_goes_by_all_spellings_of_its_references_and_a_port_is_no_tag(rule: str) -> None:
    assert parse(rule).fits(APP)
    assert not parse(rule).fits(image("registry:6000/other:2"))


def test_an_image_without_a_name_fits_no_name() -> None:
    assert not parse("a*").fits(image())


def test_what_no_rule_includes_is_left_out_and_exclude_wins() -> None:
    web, shop = parse("shop-web-*"), parse("project=shop")
    assert why_left_out(WEB, [web], []) is None
    assert why_left_out(WEB, [parse("db-*"), shop], []) is None
    assert why_left_out(WEB, [parse("db-*")], []) == "left out: include does not name it"
    assert why_left_out(WEB, [web], [shop]) == 'left out: exclude names "project=shop"'
    assert why_left_out(WEB, [], []) is None


@pytest.mark.parametrize("rule", ["", "  ", "*", "**", "?*", "name=*", "project=* *"])
def test_a_rule_that_selects_nothing_or_everything_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"selects nothing|matches everything"):
        parse(rule)


@pytest.mark.parametrize("rule", ["tag=1", "name=", "label=", "label==x", "label=*", "=x", "a b=c"])
def test_a_condition_that_does_not_exist_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"no kind of condition|names nothing|needs the whole name"):
        parse(rule)


@given(st.text(max_size=40))
def test_every_text_is_a_rule_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert parse(text).text == text
