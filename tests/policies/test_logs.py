from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from policies.logs import ALL, ONE, LargeLogs
from policies.policy import ConditionState
from tests.policies.build import GIB, MIB, conditions, container, facts, log_size, state

if TYPE_CHECKING:
    from collectors.facts import Container

POLICY = LargeLogs()
JSON = {"log_driver": "json-file"}
LIMITED = JSON | {"log_max_size": "50m"}


def web(**changes: object) -> Container:
    return container("web", **(JSON | changes))


def test_a_large_log_is_told_with_what_does_not_limit_it() -> None:
    world = facts(containers=[web()], logs=[log_size(web(), 3 * GIB)])
    [found] = conditions(POLICY, world, ONE)
    assert (found.state, found.reason) == (ConditionState.BAD, "3.0 GiB, no max-size limits it")
    assert (found.value, found.limit) == (3 * GIB, GIB)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(GIB + 1, ConditionState.BAD), (GIB, ConditionState.BETWEEN), (800 * MIB, ConditionState.OK)],
)
def test_it_clears_only_well_below_its_level(size: int, expected: ConditionState) -> None:
    assert state(POLICY, facts(containers=[web()], logs=[log_size(web(), size)]), ONE) is expected


def test_a_container_without_files_has_no_large_log() -> None:
    assert state(POLICY, facts(containers=[container("web", log_driver="journald")]), ONE) is ConditionState.OK


def test_all_logs_together_name_the_largest_and_count_who_has_no_limit() -> None:
    names = [container(f"c{n}", **(LIMITED if n == 1 else JSON)) for n in range(5)]
    world = facts(containers=names, logs=[log_size(each, (n + 1) * GIB) for n, each in enumerate(names)])
    [found] = conditions(POLICY, world, ALL)
    assert found.state is ConditionState.BAD
    assert found.reason == (
        "15.0 GiB, the largest: c4 5.0 GiB, c3 4.0 GiB, c2 3.0 GiB; 4 of 5 containers without max-size"
    )
    assert found.subject.name == "Docker Engine"


@pytest.mark.parametrize("driver", ["local", "journald", "none", "syslog"])
def test_other_drivers_limit_themselves_or_write_no_files(driver: str) -> None:
    [found] = conditions(POLICY, facts(containers=[container("web", log_driver=driver)]), ALL)
    assert "without max-size" not in found.reason


def test_what_the_owner_wants_to_hear_nothing_of_is_well() -> None:
    silent = web(labels={"shipkeeper.alerts": "off"})
    [found] = conditions(POLICY, facts(containers=[silent], logs=[log_size(silent, 3 * GIB)]), ONE)
    assert (found.state, found.reason) == (ConditionState.OK, "its alerts are switched off")


@pytest.mark.parametrize("knob", ["warn_bytes", "warn_total_bytes"])
def test_a_level_of_zero_is_refused(knob: str) -> None:
    with pytest.raises(ValueError, match=f"{knob} must be larger than zero"):
        LargeLogs(**{knob: 0})
