"""An images' lane without its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.image_lane import ImageLane
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Callable

    from collectors.engine_api import EngineApi


class PromptImages(ImageLane):
    """Reads at once, in the thread of whoever asks."""

    def __init__(self, connect: Callable[[], EngineApi]) -> None:
        super().__init__(connect, lambda: None, a_crew())

    def ask(self) -> None:
        """Read."""
        super().ask()
        self.read()
