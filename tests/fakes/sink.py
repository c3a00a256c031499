"""A sink that keeps what it is given and answers as a test tells it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from daemon.alerts.sink import Sent

if TYPE_CHECKING:
    from daemon.alerts.message import Message
    from daemon.alerts.sink import Outcome


class FakeSink:
    """Answers with what stands in `answers`, first come first served, then with `Sent`; an exception is raised."""

    def __init__(self, name: str = "slack", *answers: Outcome | Exception) -> None:
        self.name = name
        self.answers = list(answers)
        self.shown: list[str] = []
        self._news = threading.Condition()

    def send(self, message: Message) -> Outcome:
        """Keep the headline."""
        with self._news:
            self.shown.append(message.headline)
            self._news.notify_all()
            answer = self.answers.pop(0) if self.answers else Sent()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, count: int, seconds: float = 10) -> bool:
        """Wait until so many messages came; False if they did not come in time."""
        with self._news:
            return self._news.wait_for(lambda: len(self.shown) >= count, seconds)
