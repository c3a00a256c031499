"""The list of all keys of the configuration, each with its default and its name in the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import SecretStr

from daemon.config import Settings
from daemon.values import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

KeyPath: TypeAlias = tuple[str, ...]
"""The names from the top of the file down to a key or a table: `("alerts", "rules", "disk-low", "for")`."""

PREFIX = "SHIPKEEPER_"


@dataclass(frozen=True, slots=True)
class Key:
    """One key: where it stands, and what it is when nobody sets it."""

    path: KeyPath
    default: object

    @property
    def variable(self) -> str:
        """Its name in the environment: SHIPKEEPER_DOCKER__HOST."""
        return PREFIX + "__".join(self.path).replace("-", "_").upper()

    @property
    def secret(self) -> bool:
        """True when its value is never shown."""
        return isinstance(self.default, SecretStr)

    @property
    def json_in_environment(self) -> bool:
        """True for numbers, switches and lists: what has no quotes in the file is JSON in the environment."""
        return isinstance(self.default, bool | int | float | tuple)


def _keys(section: Section, above: KeyPath) -> Iterator[Key]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        path = (*above, field.alias or name)
        if isinstance(value, Section):
            yield from _keys(value, path)
        else:
            yield Key(path, value)


KEYS: dict[KeyPath, Key] = {key.path: key for key in _keys(Settings(), ())}


def value_at(tables: Any, path: KeyPath) -> Any:
    """Give what stands at a path in tables as TOML gives them, or None."""
    for name in path:
        tables = tables.get(name) if isinstance(tables, dict) else None
    return tables


def names_in(table: KeyPath) -> list[str]:
    """Give the keys and tables that a table may hold; none for a table that does not exist."""
    depth = len(table)
    return list(dict.fromkeys(path[depth] for path in KEYS if path[:depth] == table and len(path) > depth))
