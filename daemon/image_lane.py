"""Lists the images in a thread of its own: while Docker deletes a large one it may not answer for long."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.engine_errors import EngineError
from collectors.image_inventory import ImageInventory, ImageList

if TYPE_CHECKING:
    from collections.abc import Callable

    from collectors.engine_api import EngineApi
    from daemon.crew import Crew

log = logging.getLogger(__name__)

_BEAT_SECONDS = 15.0
_CLOSING = timedelta(seconds=2)


class ImageLane:
    """
    The thread "images": reads them when asked.

    `wake` is called in that thread after each reading. Every reading has a client of its own, so an engine that was
    restarted meanwhile is no error.
    """

    def __init__(self, connect: Callable[[], EngineApi], wake: Callable[[], None], crew: Crew) -> None:
        self._connect = connect
        self._wake = wake
        self._inventory = ImageInventory()
        self._turn = threading.Condition()
        self._asked = 0
        self._answered = 0
        self._answer = ImageList(unread="not read yet")
        self._worker = crew.worker("images", self._run)

    def ask(self) -> None:
        """Ask for a reading that begins after this; never waits."""
        with self._turn:
            self._asked += 1
            self._turn.notify_all()

    def answer(self, within: timedelta) -> ImageList | None:
        """Give what came of the newest question; `None` if it is still open after so long."""
        with self._turn:
            if not self._turn.wait_for(lambda: self._answered == self._asked, within.total_seconds()):
                return None
            return self._answer

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def stop(self) -> None:
        """Ask the thread to end; never waits."""
        self._worker.stop()
        with self._turn:
            self._turn.notify_all()

    def close(self) -> None:
        """Stop; a reading in progress is waited for a moment, for it changes nothing."""
        self.stop()
        self._worker.join(_CLOSING)

    def read(self) -> None:
        """Answer the newest question, in the caller's thread."""
        question = self._asked
        try:
            with closing(self._connect()) as api:
                answer = self._inventory.read(api, self._worker.beat)
        except EngineError as error:
            log.debug("the images cannot be read: %s", error)
            answer = ImageList(unread=str(error))
        with self._turn:
            self._answered, self._answer = question, answer
            self._turn.notify_all()

    def _run(self) -> None:
        while not self._worker.stopping.is_set():
            self._worker.beat()
            with self._turn:
                open_ = self._turn.wait_for(
                    lambda: self._answered < self._asked or self._worker.stopping.is_set(), _BEAT_SECONDS
                )
            if open_ and not self._worker.stopping.is_set():
                self.read()
                self._wake()
