"""The lab as pytest fixtures: real engines of the oldest and the newest kind, and a local Slack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.slack import FakeSlack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", params=[Suite.BOOKWORM, Suite.SID], ids=["20.10", "28"])
def shared_engine(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    """Give one engine of each kind for the whole session; tests take `engine`."""
    with PrivateEngine(request.param) as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: PrivateEngine) -> Iterator[PrivateEngine]:
    """Give a running engine with nothing but the busybox image on it; a test may do anything to it."""
    yield shared_engine
    shared_engine.recover()
    shared_engine.clear()


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """Give a Slack that is up."""
    with FakeSlack() as fake:
        yield fake
