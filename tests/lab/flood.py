"""A flood of events with true deaths in it, and the journal of those deaths."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tests.lab.scripted_engine import ScriptedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine

_STEADY = 40
_LOOPING = 10
_FRAIL = 60
_DEATH_EVERY = 200
"""So many other events come between two deaths."""
_EXIT_CODE = 7


class Flood:
    """
    Forty containers that chatter, ten that Docker starts again whenever they crash, sixty that crash once.

    `deaths` counts by name what truly happened, whatever was told of it.
    """

    def __init__(self, engine: ScriptedEngine) -> None:
        self.deaths: Counter[str] = Counter()
        self._engine = engine
        self._steady = [engine.add(f"steady-{number}") for number in range(_STEADY)]
        self._looping = [engine.add(f"looping-{number}").id for number in range(_LOOPING)]
        self._frail = [engine.add(f"frail-{number}").id for number in range(_FRAIL)]

    def events(self, count: int) -> Iterator[ScriptedEvent]:
        """Give so many events; a container changes at the moment when its event is taken."""
        frail_apart = max(count // _FRAIL, 1)
        for number in range(count):
            if number % frail_apart == frail_apart // 2 and self._frail:
                yield self._crash(self._frail.pop())
            elif number % _DEATH_EVERY == 0:
                yield self._restart(self._looping[number // _DEATH_EVERY % _LOOPING])
            else:
                yield self._chatter(number)

    def _crash(self, id_: str) -> ScriptedEvent:
        container = self._engine.containers[id_]
        return self._die(replace(container, state="exited", exit_code=_EXIT_CODE, finished_at=self._engine.now))

    def _restart(self, id_: str) -> ScriptedEvent:
        """Let it die and run again before anybody could look: only Docker's own count tells."""
        container, now = self._engine.containers[id_], self._engine.now
        restarts = container.inspect_extra.get("RestartCount", 0) + 1
        return self._die(
            replace(
                container,
                finished_at=now,
                started_at=now + timedelta(microseconds=10),
                inspect_extra={"RestartCount": restarts},
            )
        )

    def _die(self, container: ScriptedContainer) -> ScriptedEvent:
        # Put in the place of the old one as a whole: an inspect sees it before its end or after, never between.
        self._engine.containers[container.id] = container
        self.deaths[container.name] += 1
        return ScriptedEvent(
            "die", container.id, {"name": container.name, "image": "bb:latest", "exitCode": str(_EXIT_CODE)}
        )

    def _chatter(self, number: int) -> ScriptedEvent:
        """Give what a busy host says all the time, none of which is an end."""
        container = self._steady[number % _STEADY]
        attributes = {"name": container.name, "image": "bb:latest"}
        match number % 10:
            case 0 | 1 | 2:
                action = ("exec_create", "exec_start", "exec_die")[number % 10]
                return ScriptedEvent(f"{action}: /bin/probe --quiet", container.id, attributes)
            case 3:
                return ScriptedEvent("connect", "e" * 64, {"container": container.id, "name": "none"}, "network")
            case _:
                return ScriptedEvent("kill", container.id, attributes | {"signal": "1"})
