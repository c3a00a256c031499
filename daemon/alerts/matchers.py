"""Which alerts somebody means: conditions on what an alert is about, as people type them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

from collectors.facts import SubjectKind
from daemon.alerts.patterns import Pattern
from daemon.alerts.state import compose_of
from policies.catalogue import BY_NAME
from policies.policy import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.alerts.state import AlertState

LABELS = ("alert", "severity", "subject", "kind", "container", "project", "service", "host")
"""What a matcher can ask for; what an alert does not have is empty."""
LONGEST_VALUE = 300

_FORM = re.compile(r"\s*([A-Za-z_]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)
_BY_CAMEL = {rule.camel: rule.name for rule in BY_NAME.values()}
_KINDS = {kind.value for kind in SubjectKind}
_SEVERITIES = {severity.value for severity in Severity}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition: `severity!=critical`, `container=~ci-.*`; a pattern has to fit the whole value."""

    label: str
    operator: str
    """`=`, `!=`, `=~` or `!~`."""
    value: str

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Tell whether what an alert is about meets the condition."""
        value = labels[self.label]
        met = _pattern(self.value).fits(value) if self.operator.endswith("~") else value == self.value
        return met is not self.operator.startswith("!")

    def __str__(self) -> str:
        """Give it as people type it."""
        return f"{self.label}{self.operator}{self.value}"


def labels_of(state: AlertState) -> Mapping[str, str]:
    """Give what an alert is about, by `LABELS`."""
    container = state.subject.name if state.subject.kind is SubjectKind.CONTAINER else ""
    project, service = compose_of(state.subject) or ("", "")
    return {
        "alert": state.alert,
        "severity": state.severity.value,
        "subject": state.subject.name,
        "kind": state.subject.kind.value,
        "container": container,
        "project": project,
        "service": service,
        "host": state.host,
    }


def read(text: str) -> Matcher:
    """Read one matcher; ValueError in words that say what it should look like."""
    found = _FORM.fullmatch(text)
    if not found:
        raise ValueError(
            f'"{text}" is no condition; it looks like container=web-1, severity!=critical or project=~ci.*'
        )
    label, operator, value = found[1].lower(), found[2], _unquoted(found[3])
    if label not in LABELS:
        near = get_close_matches(label, LABELS, n=1)
        meant = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'"{text}": there is no "{label}"{meant} There are {", ".join(LABELS)}')
    if len(value) > LONGEST_VALUE:
        raise ValueError(f'the value of "{label}" is longer than {LONGEST_VALUE} characters')
    matcher = Matcher(label, operator, _known(label, value) if "~" not in operator else value)
    if "~" in operator:
        try:
            _pattern(value)
        except ValueError as error:
            raise ValueError(f'the pattern "{value}" {error}') from None
    return matcher


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _known(label: str, value: str) -> str:
    """Take a name that is one of few, in the way that it is written here; ValueError for one that never occurs."""
    allowed = {"alert": set(BY_NAME), "severity": _SEVERITIES, "kind": _KINDS}.get(label)
    name = _BY_CAMEL.get(value, value)
    if allowed is None or name in allowed:
        return name
    near = get_close_matches(name, allowed, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"it is one of {', '.join(sorted(allowed))}"
    raise ValueError(f'{label} "{value}" does not exist; {hint}')


@lru_cache(maxsize=256)
def _pattern(text: str) -> Pattern:
    return Pattern(text)
