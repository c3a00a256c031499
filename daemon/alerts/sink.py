"""The shape of a sink, a place where messages are read, and of what it says to a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from datetime import timedelta

    from daemon.alerts.message import Message


@dataclass(frozen=True, slots=True)
class Reference:
    """What a sink that can edit calls a message that stands there."""

    channel: str
    ts: str


@dataclass(frozen=True, slots=True)
class Sent:
    """The sink has it; `reference` is how it can be edited later, of a sink that can."""

    reference: Reference | None = None


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


@dataclass(frozen=True, slots=True)
class Gone:
    """The message that was to be edited cannot be any more: people deleted it, or it is too old."""

    why: str
    readable: bool = True
    """True while people can still read it."""


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


@runtime_checkable
class Editor(Sink, Protocol):
    """A sink whose messages can be changed after they were sent, and answered in a thread of their own."""

    def edit(self, reference: Reference, message: Message) -> Outcome | Gone:
        """Put this message in the place of that one; nobody is notified."""
        ...

    def reply(self, reference: Reference, text: str, *, aloud: bool) -> Outcome | Gone:
        """Write these lines below that message; `aloud` into the channel too, where they notify like a message."""
        ...

    def link(self, reference: Reference) -> str:
        """Give the address at which people read that message; empty if the sink does not say."""
        ...


@runtime_checkable
class Probed(Protocol):
    """A sink that can be asked whether it would take a message, without sending one."""

    def probe(self) -> Outcome:
        """Ask now, within seconds; `Sent` stands for yes."""
        ...
