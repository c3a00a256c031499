"""Metric families of the Docker Engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import EngineState
from collectors.families import Family, label_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Engine


def engine_families(engine: Engine) -> Iterator[Family]:
    """Say whether the engine is up and, once it was, what it said of itself."""
    up = engine.state is EngineState.UP
    yield Family("shipkeeper_docker_up", "gauge", "1 while the engine answers as it should.", [("", up)])
    if engine.version:
        block = label_block(
            version=engine.version, api_version=engine.api_version, storage_driver=engine.storage_driver
        )
        yield Family("shipkeeper_docker_info", "gauge", "What the engine is; always 1.", [(block, 1)])
