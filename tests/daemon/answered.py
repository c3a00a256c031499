"""What a daemon answers to `status`, with something of everything."""

from __future__ import annotations

from typing import Any

ALERT: dict[str, Any] = {
    "alert": "container-crashed",
    "state": "firing",
    "severity": "warning",
    "subject": "trainer-3",
    "since": "2026-11-23T16:02:11+00:00",
    "count": 4,
    "summary": "trainer-3 crashed",
    "id": "8f3a1c2d4b5e6f70",
    "silenced_by": None,
    "acked_by": None,
    "inhibited_by": None,
    "flapping": False,
    "labels": {},
}
POLICY: dict[str, Any] = {
    "enabled": True,
    "skipped": None,
    "halted": None,
    "mode": "observe",
    "schedule": None,
    "last": None,
    "next_at": None,
}
TURN = {"at": "2026-11-23T03:00:00+00:00", "objects": 4, "removed": 3, "freed_bytes": 1 << 30}
STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "mode": "observe",
    "host": "gpu-host-2",
    "docker": {
        "up": True,
        "state": "up",
        "why": "",
        "version": "28.0.1",
        "api_version": "1.48",
        "since": "2026-11-23T12:00:00+00:00",
    },
    "filesystems": [
        {
            "mountpoint": "/",
            "roles": ["root", "data-root"],
            "size_bytes": 128 << 30,
            "used_bytes": 116 << 30,
            "available_bytes": 12 << 30,
            "free_ratio": 0.09,
            "level": "act",
            "read_only": False,
            "growth_bytes_per_second": 695_000.0,
            "full_in_seconds": 18_500,
        }
    ],
    "disk_usage": [
        {"kind": "images", "mountpoint": "/", "size_bytes": 61 << 30, "reclaimable_bytes": 38 << 30},
        {"kind": "volumes", "mountpoint": "/", "size_bytes": 0, "reclaimable_bytes": 0},
        {"kind": "container_logs", "mountpoint": "/", "size_bytes": 9 << 30, "reclaimable_bytes": None},
        {"kind": "other", "mountpoint": "/", "size_bytes": 46 << 30, "reclaimable_bytes": None},
        {"kind": "build_cache", "mountpoint": None, "size_bytes": 1 << 30, "reclaimable_bytes": 0},
    ],
    "alerts": [ALERT],
    "silences": [],
    "containers": {"running": 12, "exited": 3, "paused": 0},
    "cleanup": {"held_up": "the mode is observe", "running": False, "last_run": None},
    "troubles": [
        {"name": "etl", "id": "a" * 64, "state": "exited", "what": "exited 7 (error)", "since": ALERT["since"]},
    ],
    "gpus_unknown": None,
    "gpus": [
        {
            "index": 0,
            "uuid": "GPU-1",
            "name": "NVIDIA H100",
            "fault": None,
            "utilization_ratio": 0.97,
            "memory_used_bytes": 61 << 30,
            "memory_total_bytes": 80 << 30,
            "temperature_celsius": 71.0,
            "power_watts": 512.4,
            "containers": [
                {"name": "trainer-3", "processes": 1, "memory_bytes": 60 << 30, "idle_seconds": 0},
                {"name": "notebook", "processes": 1, "memory_bytes": 1 << 30, "idle_seconds": 7200},
                {"name": "spare", "processes": 0, "memory_bytes": 0, "idle_seconds": None},
            ],
        },
        {"index": 1, "uuid": "GPU-2", "name": None, "fault": "lost", "containers": []},
    ],
    "policies": [
        {**POLICY, "name": "containers"},
        {**POLICY, "name": "images_dangling", "mode": "enforce", "last": {**TURN, "freed_bytes": None}},
        {
            **POLICY,
            "name": "networks",
            "mode": "enforce",
            "schedule": "0 3 * * *",
            "last": TURN,
            "next_at": "2026-11-24T03:00:00+00:00",
        },
        {**POLICY, "name": "volumes", "halted": "12 of 14 volumes"},
        {**POLICY, "name": "deaths", "mode": None},
        {**POLICY, "name": "disk_pressure", "mode": None, "skipped": "filesystems cannot be read"},
    ],
    "week": [
        {
            "policy": "containers",
            "chosen": 14,
            "size_bytes": 3 << 30,
            "unmeasured": 0,
            "removed": 3,
            "freed_bytes": 1 << 30,
        }
    ],
    "sinks": [
        {"name": "console", "state": "ok", "edits": False, "sent": 3, "failed": 0, "last_error": None},
        {"name": "slack", "state": "failing", "edits": True, "sent": 2, "failed": 1, "last_error": "no_service"},
    ],
    "heartbeat": {"sent": 190, "failures": 2, "last_success": None, "last_error": "HTTP 500"},
    "store": {"path": "/var/lib/shipkeeper/state.db", "degraded": None},
    "configuration": {"taken_at": "2026-11-23T12:00:00+00:00", "problem": None, "awaits_restart": []},
    "uptime_seconds": 11520.0,
}
