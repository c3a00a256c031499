"""What many tests of the daemon begin with: a clock, a folder, a store, a scripted engine, an executor's world."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon.store import Store
from tests.daemon.deck import Deck
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.scripted_engine import ScriptedEngine


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock that stands still."""
    return FakeClock()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other users can reach; `tmp_path` is closed to them, anew by each run that begins."""
    with tempfile.TemporaryDirectory(prefix="shipkeeper-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def store(tmp_path: Path, clock: FakeClock) -> Iterator[Store]:
    """Give an empty store, closed afterwards."""
    opened = Store.open(tmp_path / "state", clock)
    yield opened
    opened.close()


@pytest.fixture
def engine(scripted_engine: ScriptedEngine) -> ScriptedEngine:
    """Give the scripted one: the daemon's tests seldom need another."""
    return scripted_engine


@pytest.fixture
def deck(engine: ScriptedEngine, tmp_path: Path) -> Iterator[Deck]:
    """Give an executor with everything that it works with."""
    made = Deck(engine, tmp_path)
    yield made
    made.close()
