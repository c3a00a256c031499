from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.decide import decide
from policies.bounds import Bounds, ask, observed, too_many, within
from policies.containers import ExitedContainers
from policies.policy import Kept, Removal
from policies.selection import parse
from tests.policies.build import DAY, GIB, container, exited, facts, image

if TYPE_CHECKING:
    from datetime import timedelta

POLICY = ExitedContainers()


def removal(name: str, *, policy: str = "p", size: int | None = 1, idle: timedelta | None = DAY) -> Removal:
    ref = image(f"{name}:1").ref
    return Removal(object=ref, size_bytes=size, filesystem="/", policy=policy, reason="old", idle=idle)


def names(removals: tuple[Removal, ...]) -> list[str]:
    return [each.object.name.removesuffix(":1") for each in removals]


def test_a_run_takes_what_has_been_of_no_use_for_longest_and_the_rest_waits() -> None:
    removals = [removal(name, idle=days * DAY) for name, days in (("a", 1), ("b", 3), ("c", 2))]
    taken, waiting = within(removals, {"p": Bounds(max_removals=2)})
    assert names(taken) == ["b", "c"]
    assert [each.reason for each in waiting] == ["next run: one removes 2 at most (max_removals)"]


def test_a_run_stays_below_its_bytes_and_takes_nothing_whose_size_is_unknown() -> None:
    removals = [removal("a", size=3 * GIB, idle=3 * DAY), removal("b", size=None), removal("c", size=2 * GIB)]
    taken, waiting = within([*removals, removal("d", size=GIB)], {"p": Bounds(max_bytes=4 * GIB)})
    assert names(taken) == ["a", "d"]
    assert {each.reason for each in waiting} == {
        "next run: one removes 4.0 GiB at most (max_bytes)",
        "size unknown: max_bytes counts sizes, and its own is not known yet",
    }


@pytest.mark.parametrize("in_order", [False, True])
def test_what_is_larger_than_any_run_may_be_is_not_put_off_to_the_next_one(*, in_order: bool) -> None:
    taken, waiting = within([removal("a", size=5 * GIB)], {"p": Bounds(max_bytes=4 * GIB, in_order=in_order)})
    assert taken == ()
    assert waiting[0].reason == "too large: 5.0 GiB, and no run removes more than 4.0 GiB (max_bytes)"


def test_every_policy_has_bounds_of_its_own_and_zero_bounds_nothing() -> None:
    removals = [removal(f"{policy}{n}", policy=policy) for policy in "pq" for n in range(200)]
    taken, _ = within(removals, {"p": Bounds(max_removals=0), "q": Bounds(max_removals=1)})
    assert (sum(each.policy == "p" for each in taken), sum(each.policy == "q" for each in taken)) == (200, 1)
    assert len(within(removals, {})[0]) == 200, "100 of each by default"


@pytest.mark.parametrize(
    ("selected", "population", "percent", "halts"),
    [
        (5, 9, 50, False),
        (9, 9, 50, False),
        (5, 10, 50, False),
        (6, 10, 50, True),
        (10, 10, 100, False),
        (2, 10, 19, True),
    ],
)
def test_of_ten_or_more_objects_no_policy_takes_more_than_half_by_itself(
    selected: int, population: int, percent: float, *, halts: bool
) -> None:
    said = too_many(selected, population, Bounds(abort_over_percent=percent))
    assert (said is not None) is halts
    if said:
        assert said.startswith(f"it would remove {selected} of {population}, more than {percent} %")


def test_a_policy_that_selects_too_much_is_told_and_the_others_are_not() -> None:
    world = facts(
        containers=[exited(f"job-{n}", ago=30 * DAY) for n in range(11)] + [container(f"web-{n}") for n in range(9)],
        images=[image(name=f"i{n}", watched_for=DAY / 2) for n in range(20)],
    )
    assert decide({"containers": POLICY}, world).too_many == {
        "containers": "it would remove 11 of 20, more than 50 %: nothing goes by itself until a person approves that"
        " plan or raises abort_over_percent"
    }
    assert decide({"containers": POLICY}, world, {"containers": Bounds(abort_over_percent=60)}).too_many == {}


def test_only_what_the_rules_name_is_removed_and_the_rest_says_why() -> None:
    world = facts(containers=[exited("ci-1", ago=30 * DAY), exited("job", ago=30 * DAY), container("web")])
    bounds = Bounds(include=(parse("ci-*"),))
    verdicts = list(ask(POLICY, world, bounds))
    assert [each.object.name for each in verdicts if isinstance(each, Removal)] == ["ci-1"]
    assert {each.object.name: each.reason for each in verdicts if isinstance(each, Kept)} == {
        "job": "left out: include does not name it",
        "web": "in use: running",
    }


def test_what_a_policy_only_observes_stays_with_its_reason() -> None:
    [kept] = observed([removal("a")])
    assert kept.reason == "only observed: [policies.p] mode is observe; old"


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.none() | st.integers(0, 9), st.none() | st.timedeltas(DAY, 9 * DAY))),
    st.integers(0, 4),
    st.integers(0, 12),
)
def test_caps_hold_and_nothing_gets_lost(
    drawn: list[tuple[str, int | None, timedelta | None]], count: int, size: int
) -> None:
    removals = [removal(f"i{n}", policy=p, size=s, idle=i) for n, (p, s, i) in enumerate(drawn)]
    bounds = dict.fromkeys("pq", Bounds(max_removals=count, max_bytes=size))
    taken, waiting = within(removals, bounds)
    assert {each.object for each in taken} | {each.object for each in waiting} == {each.object for each in removals}
    assert len(taken) + len(waiting) == len(removals)
    for policy in "pq":
        own = [each for each in taken if each.policy == policy]
        assert not count or len(own) <= count
        if size:
            assert all(each.size_bytes is not None for each in own)
            assert sum(each.size_bytes or 0 for each in own) <= size
