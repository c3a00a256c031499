"""Which containers the owner wants to hear nothing of."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from policies.policy import Condition, ConditionState, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from collectors.facts import Subject

ALERTS = "shipkeeper.alerts"


def audible(name: str, labels: Mapping[str, str], ignore: Iterable[str]) -> bool:
    """Tell whether alerts of a container are wanted: no label `shipkeeper.alerts=off`, no glob that fits its name."""
    if labels.get(ALERTS, "").strip().lower() == "off":
        return False
    for glob in ignore:  # noqa: SIM110  asked a thousand times in a cycle, of no glob at all as a rule
        if fnmatchcase(name, glob):
            return False
    return True


def muted(alerts: Iterable[str], subject: Subject) -> Iterator[Condition]:
    """
    Yield that all is well, as far as the owner wants to know.

    Saying nothing would leave an alert that fired before the muting unknown for good.
    """
    for alert in alerts:
        yield Condition(
            alert=alert,
            subject=subject,
            severity=Severity.INFO,
            state=ConditionState.OK,
            reason="its alerts are switched off",
        )
