"""Docker's JSON of networks, volumes and build cache turned into facts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from collectors.json_fields import Fields, objects
from collectors.storage_facts import BuildRecord, Network, Volume

if TYPE_CHECKING:
    from collections.abc import Sequence


def networks(answer: object) -> tuple[Network, ...]:
    """Read `GET /networks`, which does not tell what is connected."""
    return tuple(_network(item) for item in objects(answer, "networks"))


def network(answer: object) -> Network:
    """Read `GET /networks/{id}`; EngineProtocolError names the field that is wrong."""
    item = Fields(answer, "network")
    connected = len(item.child("Containers").names()) + len(item.child("Services").names())
    return replace(_network(item), endpoints=connected)


def volumes(answer: object, dangling: object) -> tuple[Volume, ...]:
    """Read `GET /volumes`, and the same once more for those alone that nothing refers to."""
    # Null lists are empty ones.
    idle = {item.text("Name") for item in Fields(dangling, "dangling volumes").children("Volumes")}
    found = Fields(answer, "volumes").children("Volumes")
    return tuple(replace(_volume(item), dangling=item.text("Name") in idle) for item in found)


def build_records(items: Sequence[Fields]) -> tuple[BuildRecord, ...]:
    """Read the records of the build cache in an answer of `GET /system/df`."""
    return tuple(_build_record(item) for item in items)


def _network(item: Fields) -> Network:
    for name in ("Id", "Name"):
        if not item.text(name):
            raise item.wrong(name, "is missing")
    return Network(
        id=item.text("Id"),
        name=item.text("Name"),
        driver=item.text("Driver"),
        scope=item.text("Scope"),
        internal=item.flag("Internal"),
        ingress=item.flag("Ingress"),
        config_only=item.flag("ConfigOnly"),
        labels=item.labels("Labels"),
        created_at=item.time("Created"),
    )


def _volume(item: Fields) -> Volume:
    if not item.text("Name"):
        raise item.wrong("Name", "is missing")
    return Volume(
        name=item.text("Name"),
        driver=item.text("Driver"),
        scope=item.text("Scope"),
        mountpoint=item.text("Mountpoint"),
        labels=item.labels("Labels"),
        options=item.labels("Options"),
        created_at=item.time("CreatedAt"),
    )


def _build_record(item: Fields) -> BuildRecord:
    size = item.number("Size")
    # Engines from 23.0 on write the name with a blank before it; older ones know one parent.
    parents = item.texts(" Parents") or item.texts("Parents") or (item.text("Parent"),)
    return BuildRecord(
        id=item.text("ID"),
        parents=tuple(parent for parent in parents if parent),
        type=item.text("Type"),
        in_use=item.flag("InUse"),
        shared=item.flag("Shared"),
        size_bytes=size if size >= 0 else None,  # -1 is Docker's word for "not measured"
        created_at=item.time("CreatedAt"),
        last_used_at=item.time("LastUsedAt"),
        usage_count=item.number("UsageCount"),
    )
