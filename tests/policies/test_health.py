from __future__ import annotations

import pytest

from collectors.facts import Container, ContainerState, Health, HealthStatus
from policies.health import ContainerHealth
from policies.policy import ConditionState, Severity
from tests.policies.build import (
    HOUR,
    MINUTE,
    NOW,
    conditions,
    container,
    exited,
    facts,
    never_started,
    state,
    unhealthy,
)

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
UNHEALTHY, START_FAILED = ContainerHealth.alerts
POLICY = ContainerHealth()


def reason(thing: Container, alert: str) -> str:
    [condition] = conditions(POLICY, facts(containers=[thing]), alert)
    return condition.reason


def test_of_a_container_that_docker_cannot_inspect_nothing_is_said() -> None:
    assert list(POLICY.decide(facts(containers=[container(inspected=False)]))) == []


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (container(health=unhealthy()), BAD),
        (container(health=Health(HealthStatus.HEALTHY, 0, "")), OK),
        (container(health=Health(HealthStatus.STARTING, 0, "")), BETWEEN),
        (container(), OK),
        (exited(ago=MINUTE, health=unhealthy()), OK),
        (container(health=unhealthy(), state=ContainerState.PAUSED), BETWEEN),
        (container(health=unhealthy(), state=ContainerState.RESTARTING), BETWEEN),
        (container(health=unhealthy(streak=0)), BETWEEN),
    ],
    ids=["unhealthy", "healthy", "starting", "no check", "exited", "paused", "restarting", "not probed since a pause"],
)
def test_health_is_judged_while_the_container_runs(thing: Container, expected: ConditionState) -> None:
    assert state(POLICY, facts(containers=[thing]), UNHEALTHY) is expected


def test_an_unhealthy_container_is_told_with_its_last_probe_on_one_line() -> None:
    assert reason(container(health=unhealthy(3, "curl: (7)\n  refused\n")), UNHEALTHY) == (
        "3 probes failed in a row: curl: (7) refused"
    )
    assert reason(container(health=unhealthy(1, "")), UNHEALTHY) == "1 probe failed in a row"


def test_a_long_probe_output_is_cut() -> None:
    assert reason(container(health=unhealthy(1, "x" * 400)), UNHEALTHY).endswith("xxx…")
    assert len(reason(container(health=unhealthy(1, "x" * 400)), UNHEALTHY)) < 240


def test_a_stopped_container_says_why_its_health_is_no_matter() -> None:
    assert reason(exited(ago=MINUTE, health=unhealthy()), UNHEALTHY) == "not running: exited"


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (never_started(ago=MINUTE, exit_code=127, error="exec: not found"), BAD),
        (exited(ago=HOUR, code=128, error="could not select device driver"), BAD),
        (exited(ago=HOUR, code=127), OK),
        (exited(ago=HOUR, code=1, error="an error of long ago"), OK),
        (container(), OK),
        (never_started(ago=MINUTE), BETWEEN),
    ],
    ids=["failed", "failed to start again", "its own 127", "ran", "running", "not tried yet"],
)
def test_a_start_has_failed_when_the_engine_itself_says_so(thing: Container, expected: ConditionState) -> None:
    assert state(POLICY, facts(containers=[thing]), START_FAILED) is expected


def test_a_failed_start_is_told_in_the_engines_words() -> None:
    failed = never_started(ago=MINUTE, exit_code=127, error="OCI runtime:\n exec: no such file")
    assert reason(failed, START_FAILED) == "exited 127 (command not found): OCI runtime: exec: no such file"


def test_what_containerd_and_runc_put_around_the_cause_is_left_out() -> None:
    words = (
        "failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: "
        'exec: "migrate": executable file not found in $PATH: unknown'
    )
    failed = never_started(ago=MINUTE, exit_code=127, error=words)
    told = 'exited 127 (command not found): exec: "migrate": executable file not found in $PATH'
    assert reason(failed, START_FAILED) == told


def test_a_muted_container_is_well() -> None:
    world = facts(containers=[container("ci-1", health=unhealthy())], ignore=("ci-*",))
    assert state(POLICY, world, UNHEALTHY) is OK


def test_the_container_that_runs_speaks_for_its_name() -> None:
    old = container("web", id="1", health=unhealthy(), created_at=NOW - HOUR, state=ContainerState.EXITED)
    new = container("web", id="0", health=unhealthy(), created_at=NOW - 2 * HOUR)
    for both in ([old, new], [new, old]):
        assert state(POLICY, facts(containers=both), UNHEALTHY) is BAD


@pytest.mark.parametrize(("minutes", "severity"), [(14, Severity.WARNING), (15, Severity.CRITICAL)])
def test_what_is_unhealthy_for_a_quarter_of_an_hour_is_critical(minutes: int, severity: Severity) -> None:
    world = facts(containers=[container("web", health=unhealthy())], unhealthy_for={"web": minutes * MINUTE})
    [found] = conditions(POLICY, world, UNHEALTHY)
    assert found.severity is severity
