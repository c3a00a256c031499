"""How what takes the space of a filesystem is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import DiskKind
from policies import words

if TYPE_CHECKING:
    from collectors.facts import DiskUse, Facts

_NAMES = {
    DiskKind.IMAGES: "images",
    DiskKind.CONTAINER_LAYERS: "written by containers",
    DiskKind.VOLUMES: "volumes",
    DiskKind.BUILD_CACHE: "build cache",
    DiskKind.CONTAINER_LOGS: "container logs",
    DiskKind.OTHER: "not Docker's",
}
_LARGE_LOG_SHARE = 0.5
"""A log that is so much of all logs is named."""


def takes(mountpoint: str, facts: Facts) -> str:
    """Say what takes the space of a filesystem, the largest first; empty where nothing is known of it."""
    uses = [use for use in facts.disk_uses if use.mountpoint == mountpoint and use.size_bytes > 0]
    uses.sort(key=lambda use: -use.size_bytes)
    return " · ".join(f"{_NAMES[use.kind]} {words.size(use.size_bytes)}{_of_these(use, facts)}" for use in uses)


def _of_these(use: DiskUse, facts: Facts) -> str:
    if use.kind is DiskKind.CONTAINER_LOGS and facts.logs:
        largest = max(facts.logs, key=lambda log: log.size_bytes)
        name = next((each.name for each in facts.containers if each.id == largest.container_id), "")
        if name and largest.size_bytes >= _LARGE_LOG_SHARE * use.size_bytes:
            return f" ({name} alone {words.size(largest.size_bytes)})"
    return f" ({words.size(use.reclaimable_bytes)} unused)" if use.reclaimable_bytes else ""
