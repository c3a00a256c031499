"""An engine watch that believes what a test tells it."""

from __future__ import annotations

from collectors.facts import Engine, EngineState
from tests.fakes.clock import NOW


class FakeEngineView:
    """Up until `set`; counts who found it lost."""

    def __init__(self) -> None:
        self.engine = Engine(state=EngineState.UP, since=NOW, storage_driver="overlay2")
        self.outages = 0
        self.lost = 0

    def set(self, state: EngineState, why: str = "") -> None:
        """Judge the engine; one that is stopped or crashed was gone, and its containers with it."""
        self.outages += state in {EngineState.STOPPED, EngineState.CRASHED}
        self.engine = Engine(state=state, since=NOW, why=why, cure="", storage_driver="overlay2")

    def report_lost(self) -> None:
        """Count."""
        self.lost += 1
