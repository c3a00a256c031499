"""Which objects a policy is to touch: the owner's rules of `include` and `exclude`."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, TypeAlias

from collectors.facts import COMPOSE_PROJECT, Container, Image
from policies import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collectors.storage_facts import Network, Volume

    Selectable: TypeAlias = Container | Image | Network | Volume

_EXAMPLE: Final = 'for example "ci-*", "label=team=ml" or "project=shop name=web-*"'
_WILD: Final = frozenset("*?")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: `name` (a glob), `project` (a glob), or `label`, of which `key` has to be there."""

    kind: str
    glob: str
    key: str = ""

    @property
    def wild(self) -> bool:
        """True if every object fits."""
        return self.kind != "label" and set(self.glob) <= _WILD

    def fits(self, thing: Selectable) -> bool:
        """Tell whether an object fits; case decides, as in Docker."""
        match self.kind:
            case "label":
                return self.key in thing.labels and fnmatchcase(thing.labels[self.key], self.glob)
            case "project":
                return fnmatchcase(thing.labels.get(COMPOSE_PROJECT, ""), self.glob)
            case _:
                return any(fnmatchcase(name, self.glob) for name in _names(thing))


@dataclass(frozen=True, slots=True)
class Rule:
    """Terms that all have to fit; `text` is how the owner wrote them."""

    text: str
    terms: tuple[Term, ...]

    def fits(self, thing: Selectable) -> bool:
        """Tell whether an object fits."""
        return all(term.fits(thing) for term in self.terms)


def parse(text: str) -> Rule:
    """Read a rule: terms with blanks between. ValueError with the cure for one that selects nothing or everything."""
    terms = tuple(map(_term, text.split()))
    if not terms:
        raise ValueError(f"an empty rule selects nothing; remove it, or name something, {_EXAMPLE}")
    if all(term.wild for term in terms):
        raise ValueError(f"matches everything, which no rule may; name something, {_EXAMPLE}")
    return Rule(text, terms)


def why_left_out(thing: Selectable, include: Sequence[Rule], exclude: Sequence[Rule]) -> str | None:
    """Say why a policy leaves an object alone; None when it may touch it. What both lists name is left alone."""
    if rule := next((rule for rule in exclude if rule.fits(thing)), None):
        return f'left out: exclude names "{rule.text}"'
    if include and not any(rule.fits(thing) for rule in include):
        return "left out: include does not name it"
    return None


def _term(text: str) -> Term:
    kind, equals, rest = text.partition("=")
    if not equals:
        return Term("name", text)
    if kind not in {"name", "label", "project"}:
        raise ValueError(f'"{kind}=" is no kind of condition; there are name=, label= and project=, {_EXAMPLE}')
    if not rest:
        raise ValueError(f'"{text}" names nothing; {_EXAMPLE}')
    if kind != "label":
        return Term(kind, rest)
    key, equals, glob = rest.partition("=")
    if not key or set(key) & _WILD:
        raise ValueError(f'"{text}" needs the whole name of a label; {_EXAMPLE}')
    return Term(kind, glob if equals else "*", key)


def _names(thing: Selectable) -> Iterable[str]:
    if isinstance(thing, Image):
        return frozenset().union(*(references.spellings(name) for name in (*thing.tags, *thing.digests)))
    return (thing.name,)
