"""The table of all alerts: names, delays, and which alert speaks for which other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """
    One alert's defaults.

    `hold` is how long it must be bad before it fires (`for` in the configuration), `clear` how long it must
    be ok before it is resolved. While an alert of `folded_into` is pending or fires for the same subject,
    or for the engine, this one is not told.
    """

    name: str
    title: str
    """A clause after the subject's name: "trainer-3 {title}"."""
    hold: timedelta
    clear: timedelta
    folded_into: tuple[str, ...] = ()

    @property
    def camel(self) -> str:
        """The name toward Prometheus and Alertmanager."""
        return "".join(part.capitalize() for part in self.name.split("-"))


NOW = timedelta(0)

RULES: tuple[AlertRule, ...] = (
    AlertRule(
        name="container-crashed",
        title="crashed",
        hold=timedelta(seconds=30),
        clear=timedelta(minutes=2),
        folded_into=("container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-oom-killed",
        title="was killed for memory",
        hold=NOW,
        clear=timedelta(minutes=30),
        folded_into=("container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-restart-loop", title="keeps restarting", hold=NOW, clear=NOW, folded_into=("engine-down",)
    ),
    AlertRule(
        name="container-unhealthy",
        title="is unhealthy",
        hold=timedelta(seconds=60),
        clear=timedelta(seconds=60),
        folded_into=("container-health-flapping", "container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-health-flapping",
        title="is healthy and unhealthy in turn",
        hold=NOW,
        clear=NOW,
        folded_into=("container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-not-running",
        title="is not running",
        hold=timedelta(minutes=5),
        clear=timedelta(minutes=1),
        folded_into=("container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-stuck",
        title="is stuck",
        hold=timedelta(minutes=10),
        clear=timedelta(minutes=1),
        folded_into=("container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-memory-near-limit",
        title="is close to its memory limit",
        hold=timedelta(minutes=5),
        clear=timedelta(minutes=5),
        folded_into=("container-oom-killed", "container-restart-loop", "engine-down"),
    ),
    AlertRule(
        name="container-start-failed",
        title="could not start",
        hold=NOW,
        clear=NOW,
        folded_into=("container-gpu-refused", "engine-down"),
    ),
    AlertRule(name="container-gpu-refused", title="got no GPU", hold=NOW, clear=NOW, folded_into=("engine-down",)),
    AlertRule(
        name="container-gpu-lost",
        title="lost its GPU",
        hold=timedelta(seconds=30),
        clear=timedelta(minutes=1),
        folded_into=("engine-down",),
    ),
    AlertRule(
        name="container-gpu-missing",
        title="runs without a GPU",
        hold=timedelta(minutes=1),
        clear=NOW,
        folded_into=("engine-down",),
    ),
    AlertRule(name="engine-down", title="is down", hold=NOW, clear=timedelta(seconds=10)),
    AlertRule(
        name="engine-slow",
        title="is slow",
        hold=timedelta(minutes=5),
        clear=timedelta(minutes=5),
        folded_into=("engine-down",),
    ),
    AlertRule(
        name="event-stream-stale",
        title="sends no events",
        hold=timedelta(seconds=60),
        clear=timedelta(minutes=5),
        folded_into=("engine-down",),
    ),
    AlertRule(name="disk-low", title="is filling", hold=timedelta(seconds=30), clear=timedelta(minutes=5)),
    AlertRule(
        name="disk-relieved",
        title="was relieved",
        hold=NOW,
        clear=timedelta(minutes=30),
        folded_into=("disk-not-docker", "disk-target-missed"),
    ),
    AlertRule(
        name="disk-target-missed",
        title="stays too full",
        hold=NOW,
        clear=NOW,
        folded_into=("disk-not-docker",),
    ),
    AlertRule(name="disk-not-docker", title="is full of what is not Docker's", hold=NOW, clear=NOW),
    AlertRule(
        name="engine-stuck", title="does not finish", hold=NOW, clear=timedelta(minutes=5), folded_into=("engine-down",)
    ),
    AlertRule(
        name="images-on-system-disk",
        title="keeps its images on the system's disk",
        hold=NOW,
        clear=NOW,
        folded_into=("engine-down",),
    ),
    AlertRule(
        name="disk-fill-predicted",
        title="fills too fast",
        hold=timedelta(minutes=15),
        clear=timedelta(minutes=30),
        folded_into=("disk-low",),
    ),
    AlertRule(name="disk-read-only", title="is read-only", hold=NOW, clear=timedelta(minutes=5)),
    AlertRule(
        name="host-memory-low", title="is short of memory", hold=timedelta(minutes=5), clear=timedelta(minutes=5)
    ),
    AlertRule(name="host-oom", title="ran out of memory", hold=NOW, clear=timedelta(minutes=30)),
    AlertRule(
        name="container-log-large",
        title="has a large log",
        hold=timedelta(minutes=2),
        clear=timedelta(minutes=5),
        folded_into=("engine-down",),
    ),
    AlertRule(
        name="logs-large",
        title="keeps large logs",
        hold=timedelta(minutes=2),
        clear=timedelta(minutes=5),
        folded_into=("engine-down",),
    ),
    AlertRule(name="gpu-lost", title="is lost", hold=timedelta(seconds=30), clear=timedelta(minutes=1)),
    AlertRule(
        name="gpu-xid",
        title="reported a fault",
        hold=NOW,
        clear=timedelta(minutes=30),
        folded_into=("gpu-lost",),
    ),
    AlertRule(
        name="gpu-xid-app",
        title="reported a program's error",
        hold=NOW,
        clear=timedelta(minutes=30),
        folded_into=("gpu-lost", "gpu-xid"),
    ),
    AlertRule(
        name="gpu-thermal",
        title="runs hot",
        hold=timedelta(minutes=5),
        clear=timedelta(minutes=10),
        folded_into=("gpu-lost",),
    ),
    AlertRule(name="gpu-ecc", title="has failing memory", hold=NOW, clear=NOW, folded_into=("gpu-lost",)),
    AlertRule(
        name="gpu-idle", title="is held without use", hold=NOW, clear=timedelta(minutes=5), folded_into=("gpu-lost",)
    ),
    AlertRule(
        name="gpu-memory-orphan",
        title="has memory that nobody owns",
        hold=timedelta(minutes=15),
        clear=timedelta(minutes=5),
        folded_into=("gpu-lost",),
    ),
    AlertRule(name="nvml-unavailable", title="does not answer", hold=timedelta(minutes=5), clear=NOW),
    AlertRule(name="notify-degraded", title="cannot deliver messages", hold=NOW, clear=timedelta(minutes=1)),
    AlertRule(name="job-overdue", title="is behind with its work", hold=NOW, clear=NOW),
    AlertRule(name="config-reload-failed", title="keeps the old configuration", hold=NOW, clear=NOW),
    AlertRule(name="cleanup-failed", title="could not clean up", hold=NOW, clear=NOW),
    AlertRule(
        name="cleanup-awaiting-approval",
        title="waits for an approval to clean up",
        hold=timedelta(minutes=10),
        clear=timedelta(minutes=1),
    ),
    AlertRule(name="state-unsaved", title="cannot save its state", hold=timedelta(seconds=60), clear=NOW),
)

BY_NAME: dict[str, AlertRule] = {rule.name: rule for rule in RULES}
