"""The lab as pytest fixtures: real engines of the oldest and the newest kind, and a local Slack."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.slack import FakeSlack

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

KINDS: Mapping[str, tuple[Suite, tuple[str, ...]]] = MappingProxyType(
    {
        "20.10": (Suite.BOOKWORM, ()),
        "28": (Suite.SID, ()),
        "28-containerd": (Suite.SID, ("--feature=containerd-snapshotter=true",)),
    }
)
"""The kinds of engines that keep images differently: each one's programs, and the arguments of its dockerd."""


def engine_of(kind: str, **more: Any) -> PrivateEngine:
    """Give an engine of one of the `KINDS`, with whatever else `PrivateEngine` takes."""
    suite, arguments = KINDS[kind]
    return PrivateEngine(suite, arguments=arguments, **more)


@pytest.fixture(scope="session", params=["20.10", "28"])
def shared_engine(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    """Give one engine of each kind for the whole session; tests take `engine`."""
    with engine_of(request.param) as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: PrivateEngine) -> Iterator[PrivateEngine]:
    """Give a running engine with nothing but the busybox image on it; a test may do anything to it."""
    yield shared_engine
    shared_engine.recover()
    shared_engine.clear()


@pytest.fixture
def scripted_engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    """Give a scripted engine that listens."""
    with ScriptedEngine(tmp_path / "docker.sock") as scripted:
        yield scripted


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """Give a Slack that is up."""
    with FakeSlack() as fake:
        yield fake
