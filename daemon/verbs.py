"""The table of the calls that the control socket answers, and who may make each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.web.exchange import Request

JSON: TypeAlias = "Mapping[str, Any] | Sequence[Any]"
Handler: TypeAlias = "Callable[[Request], JSON]"
"""Takes a request, gives what goes out; a ShipkeeperError is told to the caller in its own words."""

STATUS = "/status"
PLAN = "/plan"
APPLY = "/apply"
RUN = "/run"
AUDIT = "/audit"
AUTOPSY = "/autopsy"
AUTOPSY_LINES = 30
"""Of the log, if nobody asks for more."""
ALERTS = "/alerts"
ALERTS_TEST = "/alerts/test"
ALERTS_SHOW = "/alerts/show"
ALERTS_HISTORY = "/alerts/history"
ALERTS_ACK = "/alerts/ack"
SILENCES = "/alerts/silences"
SILENCE = "/alerts/silence"
UNSILENCE = "/alerts/unsilence"


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


def verb_table(  # noqa: PLR0913  each is one call
    *,
    status: Handler,
    plan: Handler,
    apply: Handler,
    run: Handler,
    audit: Handler,
    autopsy: Handler,
    alerts: Handler,
    alerts_test: Handler,
    alerts_show: Handler,
    alerts_history: Handler,
    alerts_ack: Handler,
    silences: Handler,
    silence: Handler,
    unsilence: Handler,
) -> tuple[Verb, ...]:
    """Give every call, answered by these handlers; a GET changes nothing on this host."""
    return (
        Verb("GET", STATUS, Role.VIEWER, status),
        Verb("GET", PLAN, Role.VIEWER, plan),
        Verb("POST", APPLY, Role.OPERATOR, apply),
        Verb("GET", RUN, Role.VIEWER, run),
        Verb("GET", AUDIT, Role.VIEWER, audit),
        Verb("GET", AUTOPSY, Role.VIEWER, autopsy),
        Verb("GET", ALERTS, Role.VIEWER, alerts),
        Verb("POST", ALERTS_TEST, Role.OPERATOR, alerts_test),
        Verb("GET", ALERTS_SHOW, Role.VIEWER, alerts_show),
        Verb("GET", ALERTS_HISTORY, Role.VIEWER, alerts_history),
        Verb("POST", ALERTS_ACK, Role.OPERATOR, alerts_ack),
        Verb("GET", SILENCES, Role.VIEWER, silences),
        Verb("POST", SILENCE, Role.OPERATOR, silence),
        Verb("POST", UNSILENCE, Role.OPERATOR, unsilence),
    )
