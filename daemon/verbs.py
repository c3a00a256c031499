"""The table of the calls that the control socket answers, and who may make each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

JSON: TypeAlias = "Mapping[str, Any] | Sequence[Any]"
Handler: TypeAlias = "Callable[[Mapping[str, str]], JSON]"
"""Takes the query of a request, gives what goes out; a ShipkeeperError is told to the caller in its own words."""

STATUS = "/status"
PLAN = "/plan"
ALERTS = "/alerts"
ALERTS_TEST = "/alerts/test"


class Role(IntEnum):
    """What a caller may do; who may act may also look."""

    VIEWER = 1
    """Looks, and changes nothing."""
    OPERATOR = 2
    """Acts, or makes the daemon send."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One call: its method and path, the role that it takes, and what answers it."""

    method: str
    path: str
    role: Role
    handle: Handler


def verb_table(*, status: Handler, plan: Handler, alerts: Handler, alerts_test: Handler) -> tuple[Verb, ...]:
    """Give every call, answered by these handlers; a GET never changes anything."""
    return (
        Verb("GET", STATUS, Role.VIEWER, status),
        Verb("GET", PLAN, Role.VIEWER, plan),
        Verb("GET", ALERTS, Role.VIEWER, alerts),
        Verb("POST", ALERTS_TEST, Role.OPERATOR, alerts_test),
    )
