"""Which containers should run and do not, or are stuck between two states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import ContainerState, Intent, SourceName
from policies import words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Facts

EXPECT = "shipkeeper.expect"
_NOT_RUNNING = "container-not-running"
_STUCK = "container-stuck"
_SEVERITY = {_NOT_RUNNING: Severity.CRITICAL, _STUCK: Severity.WARNING}
_PASSING = {
    ContainerState.PAUSED: "it is paused",
    ContainerState.RESTARTING: "it waits to be started again",
    ContainerState.REMOVING: "its removal does not end",
    ContainerState.DEAD: "its removal failed halfway",
}
"""States that nothing should stay in for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStates:
    """
    Judge each container by its state.

    What is to run says its label `shipkeeper.expect` (`running` or `batch`), else its restart policy.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = (_NOT_RUNNING, _STUCK)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield both conditions for every container."""
        for container in speakers(facts.containers):
            if not audible(container.name, container.labels, facts.ignore):
                yield from muted(self.alerts, container.subject)
                continue
            intent = facts.ended_by.get(container.id)
            for alert, (state, reason) in ((_NOT_RUNNING, _runs(container, intent)), (_STUCK, _moves(container))):
                yield Condition(
                    alert=alert, subject=container.subject, severity=_SEVERITY[alert], state=state, reason=reason
                )


def _runs(container: Container, intent: Intent | None) -> tuple[ConditionState, str]:
    expected = container.labels.get(EXPECT, "").strip().lower()
    if container.state in ALIVE:
        return ConditionState.OK, "it runs"
    if expected == "batch":
        return ConditionState.OK, "it need not run all the time"
    if container.state in {ContainerState.RESTARTING, ContainerState.REMOVING}:
        return ConditionState.BETWEEN, f"{container.state}"
    if intent is Intent.API:
        return ConditionState.OK, "somebody stopped it"
    if expected == "running":
        return ConditionState.BAD, f"{_ended(container)}, and its label says that it should run"
    return _by_policy(container, intent)


def _by_policy(container: Container, intent: Intent | None) -> tuple[ConditionState, str]:
    policy = container.restart_policy
    if container.state is ContainerState.CREATED:
        return ConditionState.BETWEEN, "created, not started yet"
    if not policy.restarts(container.exit_code):
        return ConditionState.OK, "nothing says that it should run"
    if intent is None:
        return ConditionState.BETWEEN, "nobody saw it end, so somebody may have stopped it"
    if policy.name == "on-failure" and policy.maximum_retries:
        if container.restart_count >= policy.maximum_retries:
            tries = words.count(policy.maximum_retries, "try", "tries")
            return ConditionState.BAD, f"{_ended(container)}, and the {tries} of its restart policy are used up"
        return ConditionState.BETWEEN, "its restart policy has tries left"
    came = "with the engine, which did not start it again" if intent is Intent.ENGINE else "and Docker leaves it so"
    return ConditionState.BAD, f"{_ended(container)} {came}, though its restart policy is {policy.name}"


def _ended(container: Container) -> str:
    if container.finished_at is None:
        return "it was never started"
    return words.exit_code(container.exit_code)


def _moves(container: Container) -> tuple[ConditionState, str]:
    if stuck := _PASSING.get(container.state):
        return ConditionState.BAD, stuck
    return ConditionState.OK, f"{container.state}"
