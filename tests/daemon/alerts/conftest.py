"""A store and a clock for the tests that need both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.store import Store
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that stands still."""
    return FakeClock()


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """Give an empty store, closed afterwards."""
    opened = Store.open(tmp_path / "state", clock)
    yield opened
    opened.close()
