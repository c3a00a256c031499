from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from collectors.facts import Container, ContainerState
from daemon.trouble import troubles_json
from tests.policies.build import DAY, HOUR, MINUTE, NOW, container, exited, facts, never_started, unhealthy


def told(*containers: Container, **changes: Any) -> list[tuple[str, str]]:
    return [(each["name"], each["what"]) for each in troubles_json(facts(containers=containers, **changes))]


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (container(health=unhealthy(streak=3)), "is unhealthy: 3 checks failed in a row"),
        (
            container(state=ContainerState.RESTARTING, exit_code=7, finished_at=NOW - MINUTE),
            "keeps restarting: exited 7 (error)",
        ),
        (exited(ago=HOUR, code=137, oom_killed=True), "exited 137 (SIGKILL), killed for memory"),
        (exited(ago=HOUR, code=0, oom_killed=True), "exited 0 (clean exit), killed for memory"),
        (container(state=ContainerState.DEAD), "could not be removed: dead"),
        (never_started(ago=MINUTE, error="no such\nfile"), "could not start: no such file"),
    ],
)
def test_each_kind_of_trouble_is_said(one: Container, what: str) -> None:
    assert told(one) == [(one.name, what)]


@pytest.mark.parametrize(
    "one",
    [
        container(),
        exited(ago=HOUR, code=0),
        exited(ago=2 * DAY, code=1),
        never_started(ago=MINUTE),
        container(state=ContainerState.PAUSED),
        container(health=unhealthy(), labels={"shipkeeper.alerts": "off"}),
    ],
)
def test_what_is_well_long_over_or_not_to_be_heard_is_no_trouble(one: Container) -> None:
    assert told(one) == []


def test_the_newest_trouble_comes_first_and_what_is_ignored_does_not_come() -> None:
    fleet = [exited(name, ago=timedelta(minutes=ago), code=1) for name, ago in (("old", 50), ("new", 2), ("ci-1", 1))]
    assert [name for name, _ in told(*fleet, ignore=("ci-*",))] == ["new", "old"]
