"""What counters remember of containers that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.counters import Counters
from tests.fakes.cgroup_tree import a_container

if TYPE_CHECKING:
    from collections.abc import Mapping


def total(counters: Counters) -> Mapping[str, int]:
    return {family: len(samples) for family, samples in counters.samples().items()}


def test_jobs_with_random_names_leave_nothing_behind_but_the_bounded_counters() -> None:
    counters = Counters({})
    for number in range(600):
        counters.meet([a_container(number)])
    series = total(counters)
    assert counters._met == {("web-599", "", "")}
    counters.meet([a_container(1)])
    assert total(counters) == series
