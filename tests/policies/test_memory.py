from __future__ import annotations

import pytest

from collectors.facts import SourceName, Unknown
from collectors.own_facts import HostMemory, MemoryUse
from policies import memory
from policies.memory import ContainerMemory, HostMemoryLow
from policies.policy import ConditionState
from tests.policies.build import GIB, MIB, MINUTE, NOW, SECOND, conditions, container, exited, facts, state

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
WEB = container("web", memory_limit_bytes=100 * MIB)


@pytest.mark.parametrize(("percent", "expected"), [(95, BAD), (94, BETWEEN), (85, BETWEEN), (84, OK)])
def test_a_container_is_judged_by_its_limit_with_room_between_coming_and_going(
    percent: int, expected: ConditionState
) -> None:
    world = facts(containers=[WEB], memory={WEB.id: MemoryUse(used_bytes=percent * MIB)})
    assert state(ContainerMemory(), world, memory.NEAR_LIMIT) is expected


def test_without_a_limit_or_a_process_all_is_well_and_without_a_reading_nothing_is_said() -> None:
    free, gone = container("free"), exited("gone", ago=MINUTE, memory_limit_bytes=GIB)
    found = conditions(ContainerMemory(), facts(containers=[free, gone, WEB]), memory.NEAR_LIMIT)
    assert {each.subject.name: each.state for each in found} == {"free": OK, "gone": OK}


@pytest.mark.parametrize(("available", "expected"), [(4, BAD), (5, BETWEEN), (10, BETWEEN), (11, OK)])
def test_the_machine_is_judged_by_what_is_available_whether_docker_answers_or_not(
    available: int, expected: ConditionState
) -> None:
    host = HostMemory(total_bytes=100 * MIB, available_bytes=available * MIB)
    world = facts(host_memory=host, sources={SourceName.DOCKER: Unknown("away", NOW)})
    assert world.known(HostMemoryLow.needs)
    assert state(HostMemoryLow(), world, memory.HOST_LOW) is expected


def test_the_largest_containers_are_named_and_no_more_than_three() -> None:
    fleet = [container(f"web-{number}") for number in range(5)]
    world = facts(
        containers=fleet,
        memory={each.id: MemoryUse(used_bytes=number * GIB) for number, each in enumerate(fleet)},
        host_memory=HostMemory(total_bytes=100 * MIB, available_bytes=MIB),
    )
    [found] = conditions(HostMemoryLow(), world, memory.HOST_LOW)
    assert found.details == ("The largest containers: web-4 4.0 GiB, web-3 3.0 GiB, web-2 2.0 GiB.",)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (MemoryUse(used_bytes=GIB), ""),
        (MemoryUse(used_bytes=GIB, rose_bytes=MIB, over=9 * MINUTE), ""),
        (MemoryUse(used_bytes=GIB, rose_bytes=-GIB, over=9 * MINUTE), ""),
        (
            MemoryUse(used_bytes=10 * GIB, rose_bytes=9 * GIB, over=9 * MINUTE + 15 * SECOND),
            "Memory rose 996.3 MiB/min over the last 9 min.",
        ),
        (
            MemoryUse(used_bytes=GIB, largest="python", largest_bytes=GIB),
            "The largest process was python (1.0 GiB).",
        ),
    ],
)
def test_a_trend_is_said_where_there_is_one(use: MemoryUse, said: str) -> None:
    assert memory.told(use) == said


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: ContainerMemory(warn_percent=80),
        lambda: ContainerMemory(clear_percent=0),
        lambda: HostMemoryLow(clear_percent=4),
    ],
)
def test_levels_that_make_no_sense_are_refused(nonsense: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        nonsense()  # type: ignore[operator]
