from __future__ import annotations

from typing import Any

import pytest

from collectors.facts import Container, ContainerState, Intent, RestartPolicy
from policies.container_states import ContainerStates
from policies.policy import ConditionState
from tests.policies.build import MINUTE, conditions, container, exited, facts, never_started, state

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
NOT_RUNNING, STUCK = ContainerStates.alerts
POLICY = ContainerStates()
ALWAYS, RETRIES = RestartPolicy("always"), RestartPolicy("on-failure", 3)


def ended(policy: RestartPolicy = ALWAYS, code: int = 1, **changes: Any) -> Container:
    return exited("web", ago=MINUTE, code=code, restart_policy=policy, **changes)


def expects(what: str) -> dict[str, Any]:
    return {"labels": {"shipkeeper.expect": what}}


@pytest.mark.parametrize(
    ("thing", "intent", "expected"),
    [
        (container(restart_policy=ALWAYS), None, OK),
        (ended(), Intent.NONE, BAD),
        (ended(), Intent.ENGINE, BAD),
        (ended(), Intent.API, OK),
        (ended(), None, BETWEEN),
        (ended(RestartPolicy("unless-stopped"), 0), Intent.NONE, BAD),
        (ended(RestartPolicy()), Intent.NONE, OK),
        (ended(RETRIES, restart_count=3), Intent.NONE, BAD),
        (ended(RETRIES, restart_count=2), Intent.NONE, BETWEEN),
        (ended(RETRIES, 0, restart_count=3), Intent.NONE, OK),
        (ended(RestartPolicy(), **expects("running")), Intent.NONE, BAD),
        (ended(RestartPolicy(), **expects("running")), None, BAD),
        (ended(RestartPolicy(), **expects("running")), Intent.API, OK),
        (ended(**expects("batch")), Intent.NONE, OK),
        (ended(state=ContainerState.RESTARTING), Intent.NONE, BETWEEN),
        (never_started(ago=MINUTE, restart_policy=ALWAYS), None, BETWEEN),
        (never_started(ago=MINUTE, **expects("running")), None, BAD),
    ],
)
def test_what_should_run_and_does_not_is_told_unless_somebody_stopped_it(
    thing: Container, intent: Intent | None, expected: ConditionState
) -> None:
    world = facts(containers=[thing], ended_by={thing.id: intent} if intent else {})
    assert state(POLICY, world, NOT_RUNNING) is expected


def test_it_says_why_it_should_run() -> None:
    thing = ended(RETRIES, 7, restart_count=3)
    [found] = conditions(POLICY, facts(containers=[thing], ended_by={thing.id: Intent.NONE}), NOT_RUNNING)
    assert found.reason == "exited 7 (error), and the 3 tries of its restart policy are used up"


@pytest.mark.parametrize("passing", list(ContainerState))
def test_states_to_pass_through_are_no_states_to_stay_in(passing: ContainerState) -> None:
    stays = {ContainerState.PAUSED, ContainerState.RESTARTING, ContainerState.REMOVING, ContainerState.DEAD}
    expected = BAD if passing in stays else OK
    assert state(POLICY, facts(containers=[container(state=passing)]), STUCK) is expected


def test_a_muted_container_is_well_in_both() -> None:
    quiet = ended(labels={"shipkeeper.alerts": "off"}, state=ContainerState.DEAD)
    world = facts(containers=[quiet], ended_by={quiet.id: Intent.NONE})
    assert {each.state for alert in POLICY.alerts for each in conditions(POLICY, world, alert)} == {OK}
