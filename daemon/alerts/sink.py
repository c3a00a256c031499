"""The shape of a sink, a place where messages are read, and of what it says to a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from datetime import timedelta

    from daemon.alerts.message import Message


@dataclass(frozen=True, slots=True)
class Sent:
    """The sink has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It may work later: `after` that time if the sink named one."""

    why: str
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class SinkDown:
    """The sink takes nothing until a person has done something: `why` names the cure."""

    why: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The sink never takes this message, in no form; others it may."""

    why: str


Outcome: TypeAlias = Sent | Retry | SinkDown | Rejected


class Sink(Protocol):
    """A place where messages are read."""

    @property
    def name(self) -> str:
        """What it is called in the configuration, in logs and metrics."""
        ...

    def send(self, message: Message) -> Outcome:
        """Deliver one message now, within seconds; any thread may call it. It does not raise for a sink's faults."""
        ...
