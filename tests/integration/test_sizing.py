"""The figures of the page about sizing, measured anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bench import sizing
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.sizing_page import FIGURES

if TYPE_CHECKING:
    from tests.lab.slack import FakeSlack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CONTAINERS = 20
MINUTES = 8
COUNTED = {
    "series of each container, cgroup v2 and one network",
    "the same without cAdvisor's names, cgroup v2 and one network",
    "series of 8 GPUs with 20 processes",
}
"""Those that `tests/test_sizing_page.py` counts on golden pages."""
WITHIN = 1.33
"""The greater of the two, told and measured, by the smaller one: what is random in such a run, and not more."""


def test_a_host_costs_what_the_page_says(slack: FakeSlack) -> None:
    with PrivateEngine(Suite.SID) as engine:
        chapters = list(sizing.measure(engine, slack.webhook_url, CONTAINERS, MINUTES))
    measured = {figure.name: figure.value for chapter in chapters for figure in chapter.figures}
    print("\n".join(f"{name}: {value:.2f}" for name, value in measured.items()))
    assert {name for name in measured if name in FIGURES} == set(FIGURES) - COUNTED
    wrong = {
        name: (told, measured[name])
        for name, told in FIGURES.items()
        if name not in COUNTED and max(told, measured[name]) > WITHIN * min(told, measured[name])
    }
    assert wrong == {}
