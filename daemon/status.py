"""What `shipkeeper status` and `shipkeeper alerts list` show, as JSON, from the last snapshot."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from collectors.facts import EngineState
from daemon.alerts.message import summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from collectors.facts import DiskUse, Engine, Filesystem
    from daemon.alerts.lane import SinkStats
    from daemon.alerts.state import AlertState
    from daemon.dead_mans_switch import SwitchStats
    from daemon.reload import Standing
    from daemon.runs import Decision, Run
    from daemon.snapshot import Snapshot
    from policies.gauges import Level


def alerts_json(alerts: Iterable[AlertState]) -> list[dict[str, Any]]:
    """Give the alerts that are on, worst first, then oldest first."""
    shown = [state for state in alerts if state.phase.active]
    shown.sort(key=lambda state: (-state.severity.rank, state.since))
    return [
        {
            "alert": state.alert,
            "state": "unknown" if state.unknown else state.phase.value,
            "severity": state.severity.value,
            "subject": state.subject.name,
            "since": state.since.isoformat(),
            "count": state.count,
            "summary": summary(state),
            "labels": {"kind": state.subject.kind.value, "key": state.subject.key, "host": state.host},
        }
        for state in shown
    ]


def engine_json(engine: Engine) -> dict[str, Any]:
    """Give the engine as `status` shows it."""
    return {
        "up": engine.state is EngineState.UP,
        "state": engine.state.value,
        "why": engine.why,
        "cure": engine.cure,
        "version": engine.version,
        "api_version": engine.api_version,
        "since": engine.since.isoformat(),
    }


def filesystem_json(
    filesystem: Filesystem, level: Level | None, rate: float | None = None, full_in: timedelta | None = None
) -> dict[str, Any]:
    """Give one filesystem with the level of disk pressure it is at, its growth, and when it will be full."""
    return {
        "mountpoint": filesystem.mountpoint,
        "roles": list(filesystem.roles),
        "size_bytes": filesystem.size_bytes,
        "used_bytes": filesystem.used_bytes,
        "available_bytes": filesystem.available_bytes,
        "free_ratio": round(filesystem.free_ratio, 4),
        "level": level.value if level else None,
        "read_only": filesystem.read_only,
        "growth_bytes_per_second": rate,
        "full_in_seconds": int(full_in.total_seconds()) if full_in is not None else None,
    }


def use_json(use: DiskUse) -> dict[str, Any]:
    """Give what one kind of thing takes of a filesystem; the mount point is null where it is not known."""
    return {
        "kind": use.kind.value,
        "mountpoint": use.mountpoint or None,
        "size_bytes": use.size_bytes,
        "reclaimable_bytes": use.reclaimable_bytes,
    }


def containers_json(snapshot: Snapshot) -> Mapping[str, int]:
    """Give the number of containers by state; nothing while Docker cannot tell."""
    if not snapshot.docker_known:
        return {}
    return dict(sorted(Counter(container.state.value for container in snapshot.facts.containers).items()))


def run_json(run: Run) -> dict[str, Any]:
    """Give one cleanup run with every object that had its turn."""
    return {
        "id": run.id,
        "plan_id": run.plan_hash[:6],
        "hash": run.plan_hash,
        "asked_by": run.asked_by,
        "state": run.state.value,
        "words": run.words or None,
        "begun": run.begun.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "planned": run.planned,
        "steps": [
            {
                "kind": step.removal.object.kind.value,
                "id": step.removal.object.id,
                "name": step.removal.object.name,
                "policy": step.removal.policy,
                "reason": step.removal.reason,
                "size_bytes": step.removal.size_bytes,
                "freed_bytes": step.freed_bytes,
                "outcome": step.outcome.value if step.outcome else None,
                "words": step.words or None,
            }
            for step in run.steps
        ],
    }


def decision_json(decision: Decision) -> dict[str, Any]:
    """Give one decision of the audit; sizes are null where they are not known."""
    step = decision.step
    removal = step.removal
    return {
        "entry": decision.entry,
        "at": decision.at.isoformat(),
        "run": decision.run,
        "plan_id": decision.plan_hash[:6],
        "hash": decision.plan_hash,
        "asked_by": decision.asked_by,
        "policy": removal.policy,
        "kind": removal.object.kind.value,
        "id": removal.object.id,
        "name": removal.object.name,
        "filesystem": removal.filesystem or None,
        "reason": removal.reason,
        "outcome": step.outcome.value if step.outcome else None,
        "words": step.words or None,
        "estimated_bytes": removal.size_bytes,
        "freed_bytes": step.freed_bytes,
    }


def sink_json(stats: SinkStats) -> dict[str, Any]:
    """Give one place that alerts go to."""
    return {
        "name": stats.name,
        "state": stats.state,
        "edits": stats.edits,
        "sent": stats.sent,
        "failed": stats.failed,
        "waiting": stats.depth,
        "last_error": stats.last_error or None,
    }


def heartbeat_json(stats: SwitchStats | None) -> dict[str, Any] | None:
    """Give how the heartbeat to the outside goes; null where none is wanted."""
    if stats is None:
        return None
    return {
        "sent": stats.sent,
        "failures": stats.failures,
        "last_success": stats.last_success.isoformat() if stats.last_success else None,
        "last_error": stats.last_error or None,
    }


def configuration_json(standing: Standing) -> dict[str, Any]:
    """Give when the configuration in force was read, and what of the newest one is not in force."""
    return {
        "taken_at": standing.taken_at.isoformat(),
        "problem": standing.problem or None,
        "awaits_restart": list(standing.awaits_restart),
    }
