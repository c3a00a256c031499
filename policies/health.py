"""Which containers fail their health check, or could not start at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import ContainerState, HealthStatus, SourceName
from policies import words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Facts

_UNHEALTHY = "container-unhealthy"
_START_FAILED = "container-start-failed"
_NEVER_RAN = frozenset({125, 126, 127, 128})
"""Exit codes that the engine sets itself when there is no process whose code it could report."""
_LONG = timedelta(minutes=15)
"""What is unhealthy for so long does not mend by itself."""
_QUOTED = 200
"""Characters of foreign text in a reason."""
_WRAPPING = re.compile(
    r"\A.*(?:unable to start container process|starting container process caused): |: unknown\Z", re.DOTALL
)
"""What the engine, containerd and runc each put around the cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerHealth:
    """Judge each container by its health check and by whether it could be started."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = (_UNHEALTHY, _START_FAILED)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield both conditions for every container."""
        for container in speakers(facts.containers):
            if not audible(container.name, container.labels, facts.ignore):
                yield from muted(self.alerts, container.subject)
                continue
            lasting = facts.unhealthy_for.get(container.subject.key)
            severe = Severity.CRITICAL if lasting is not None and lasting >= _LONG else Severity.WARNING
            for alert, severity, (state, reason) in (
                (_UNHEALTHY, severe, _health(container)),
                (_START_FAILED, Severity.WARNING, _start(container)),
            ):
                yield Condition(alert=alert, subject=container.subject, severity=severity, state=state, reason=reason)


def _health(container: Container) -> tuple[ConditionState, str]:
    health = container.health
    if health is None:
        return ConditionState.OK, "it has no health check"
    if container.state is not ContainerState.RUNNING:
        # Paused or between two restarts no probe runs: the last result is neither news nor a recovery.
        waiting = container.state in {ContainerState.PAUSED, ContainerState.RESTARTING}
        return (ConditionState.BETWEEN if waiting else ConditionState.OK), f"not running: {container.state}"
    match container.probed:
        case None:
            return ConditionState.BETWEEN, "no probe since it was paused"
        case HealthStatus.HEALTHY:
            return ConditionState.OK, "healthy again"
        case HealthStatus.STARTING:
            return ConditionState.BETWEEN, "its first probes have not passed yet"
        case HealthStatus.UNHEALTHY:
            failed = f"{words.count(health.failing_streak, 'probe')} failed in a row"
            output = words.one_line(health.last_output, _QUOTED)
            return ConditionState.BAD, f"{failed}: {output}" if output else failed


def _start(container: Container) -> tuple[ConditionState, str]:
    if container.state in ALIVE:
        return ConditionState.OK, "it runs"
    # The engine empties `State.Error` at each good start, so words in it are about the newest try.
    if container.error and container.exit_code in _NEVER_RAN:
        error = words.one_line(_WRAPPING.sub("", container.error), _QUOTED)
        return ConditionState.BAD, f"{words.exit_code(container.exit_code)}: {error}"
    if container.started_at is not None:
        return ConditionState.OK, "it has run"
    return ConditionState.BETWEEN, "created, not started yet"
