from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collectors.own_facts import HostOom
from policies.host_oom import HostOutOfMemory
from policies.policy import Condition, ConditionState, Occurrence
from tests.policies.build import GIB, MINUTE, NOW, SECOND, compose, container, death, facts

if TYPE_CHECKING:
    from collectors.facts import Facts

TRAINER = container("trainer", labels={**compose("nlp", "train"), "shipkeeper.owner": "vision"})
GONE = death("gone", ago=SECOND)


def an_oom(containers: tuple[str, ...] | None) -> HostOom:
    return HostOom(key="7@boot", at=NOW - SECOND, process="python", resident_bytes=3 * GIB, containers=containers)


def reasons(world: Facts) -> list[str]:
    return [each.reason for each in HostOutOfMemory().decide(world) if isinstance(each, Occurrence)]


@pytest.mark.parametrize(
    ("containers", "said"),
    [
        ((TRAINER.id,), " of nlp/train/1 (compose project nlp, owner vision)"),
        (("f" * 64, TRAINER.id), " of nlp/train/1 (compose project nlp, owner vision)"),
        ((GONE.container_id,), " of gone"),
        (("f" * 64,), " of container ffffffffffff"),
        ((), ", a process of the host"),
        (None, "; in which container is not told"),
    ],
)
def test_who_was_killed_is_named_as_far_as_it_is_known(containers: tuple[str, ...] | None, said: str) -> None:
    world = facts(containers=[TRAINER], deaths=(GONE,), owner_label="shipkeeper.owner", host_ooms=(an_oom(containers),))
    assert reasons(world) == [f"the kernel killed python (3.0 GiB){said}".replace("nlp/train/1", TRAINER.name)]


def test_what_was_found_late_is_told_with_its_time() -> None:
    late = HostOom(key="7@boot", at=NOW - 60 * MINUTE, process="", resident_bytes=0, containers=())
    said = "the kernel killed a process without a name (0 B), a process of the host, at 2026-11-23 15:02 UTC"
    assert reasons(facts(host_ooms=(late,))) == [said]


def test_a_log_that_is_read_and_shows_none_is_well_and_one_that_is_not_read_says_nothing() -> None:
    [found] = HostOutOfMemory().decide(facts(host_ooms=()))
    assert isinstance(found, Condition)
    assert found.state is ConditionState.OK
    assert list(HostOutOfMemory().decide(facts(host_ooms=None))) == []
