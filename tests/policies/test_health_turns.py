from __future__ import annotations

import pytest

from policies.health_turns import HealthFlapping
from policies.policy import ConditionState
from tests.policies.build import container, facts, state

[FLAPPING] = HealthFlapping.alerts


@pytest.mark.parametrize(
    ("turns", "watched", "expected"),
    [
        (4, True, ConditionState.BAD),
        (4, False, ConditionState.BAD),
        (3, True, ConditionState.BETWEEN),
        (0, True, ConditionState.OK),
        (0, False, ConditionState.BETWEEN),
    ],
)
def test_four_turns_in_the_window_are_flapping_and_none_in_a_whole_one_is_stable(
    turns: int,
    watched: bool,  # noqa: FBT001
    expected: ConditionState,
) -> None:
    world = facts(containers=[container("web")], health_turns={"web": turns} if turns else {}, health_watched=watched)
    assert state(HealthFlapping(), world, FLAPPING) is expected


def test_a_muted_container_is_well() -> None:
    world = facts(containers=[container("web")], health_turns={"web": 9}, ignore=("web",))
    assert state(HealthFlapping(), world, FLAPPING) is ConditionState.OK
