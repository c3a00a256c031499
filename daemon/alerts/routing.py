"""Which sinks are told of which alert: the routes, the first that fits counts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from collectors.facts import SubjectKind
from daemon.alerts.state import Notice, NoticeKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from collectors.facts import Facts
    from daemon.alerts.state import AlertState
    from daemon.alerts.telling import SilenceEnd


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRule:
    """One route: it takes what fits everything that it names, and names nothing by default."""

    severities: tuple[str, ...] = ()
    alerts: tuple[str, ...] = ()
    """Globs of the names of alerts."""
    containers: tuple[str, ...] = ()
    """Globs of the names of containers; no other subject fits one."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Globs of the values that labels of the container have, by label; no other subject has any."""
    to: tuple[str, ...]
    """The names of sinks."""

    @property
    def takes_all(self) -> bool:
        """True if it takes whatever comes."""
        return not (self.severities or self.alerts or self.containers or self.labels)

    def takes(self, state: AlertState, labels: Mapping[str, str]) -> bool:
        """Tell whether it takes this alert, of a container with these labels."""
        subject = state.subject
        container = subject.name if subject.kind is SubjectKind.CONTAINER else None
        return (
            (not self.severities or state.severity.value in self.severities)
            and (not self.alerts or _fits(state.alert, self.alerts))
            and (not self.containers or (container is not None and _fits(container, self.containers)))
            and all(name in labels and fnmatchcase(labels[name], glob) for name, glob in self.labels.items())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """The routes of one cycle, with what they look at; what no route takes goes `by_default`."""

    rules: Sequence[RoutingRule]
    by_default: Sequence[str]
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By the subject's key: those of the containers that exist, and of those that ended lately."""

    @classmethod
    def of(cls, rules: Sequence[RoutingRule], by_default: Sequence[str], facts: Facts) -> Ways:
        """Take the labels from the facts, if any route looks at them."""
        labels: dict[str, Mapping[str, str]] = {}
        if any(rule.labels for rule in rules):
            labels = {death.subject.key: death.labels for death in facts.deaths}
            labels |= {container.subject.key: container.labels for container in facts.containers}
        return cls(rules=rules, by_default=by_default, labels=labels)

    def sinks(self, notice: Notice, told: Collection[str]) -> Sequence[str]:
        """
        Give the sinks that are told of this; `told` are those that were told of this episode before.

        They are told of the rest of it too, and of its end nobody else, wherever a route leads by now.
        """
        if not self.rules:
            return self.by_default
        if notice.kind is NoticeKind.RESOLVED and told:
            return tuple(told)
        labels = self.labels.get(notice.state.subject.key, {})
        led = next((rule.to for rule in self.rules if rule.takes(notice.state, labels)), self.by_default)
        return tuple(dict.fromkeys((*led, *(() if notice.kind is NoticeKind.FIRED else told))))

    def of_end(self, end: SilenceEnd) -> Mapping[str, SilenceEnd]:
        """Give what each sink is told of the end of a silence: by default all of it, else what a route leads there."""
        led: defaultdict[str, list[AlertState]] = defaultdict(list)
        for state in end.firing:
            for sink in self.sinks(Notice(kind=NoticeKind.FIRED, state=state), ()):
                led[sink].append(state)
        ends = {sink: replace(end, firing=tuple(firing)) for sink, firing in led.items()}
        return ends | dict.fromkeys(self.by_default, end)


def _fits(name: str, globs: Iterable[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
