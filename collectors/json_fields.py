"""Typed reading of one JSON object: what has the wrong type is an error that names its place."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from collectors.engine_errors import EngineProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")
_ZERO_YEAR = 1970
"""Docker writes year 1 for "never"; reproducible builds and Podman write 1970."""


class Fields:
    """
    One JSON object of an answer; `where` names it in errors.

    A key that is absent or null gives the default: which keys Docker sends differs from version to version.
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise EngineProtocolError(where, f"is {_kind(value)}, not an object")
        self._value = value
        self._where = where

    @property
    def document(self) -> dict[str, Any]:
        """The object as it came."""
        return dict(self._value)

    def text(self, name: str) -> str:
        """Give a string, empty by default."""
        return sound(self._get(name, str, ""))

    def flag(self, name: str) -> bool:
        """Give a boolean, false by default."""
        return self._get(name, bool, False)  # noqa: FBT003  it is the default value itself

    def number(self, name: str) -> int:
        """Give an integer, 0 by default."""
        return self._get(name, int, 0)

    def has(self, name: str) -> bool:
        """Tell whether a key is there and not null."""
        return self._value.get(name) is not None

    def mentions(self, name: str) -> bool:
        """Tell whether a key is there, be it null."""
        return name in self._value

    def names(self) -> tuple[str, ...]:
        """Give the keys of an object that holds one entry for each of something."""
        return tuple(self._value)

    def child(self, name: str) -> Fields:
        """Give the object under a key, an empty one by default."""
        return Fields(self._get(name, dict, {}), self._place(name))

    def children(self, name: str) -> list[Fields]:
        """Give the objects in the list under a key, none by default."""
        return [Fields(item, f"{self._place(name)}[{index}]") for index, item in enumerate(self._get(name, list, []))]

    def texts(self, name: str) -> tuple[str, ...]:
        """Give the list of strings under a key, empty by default."""
        items = self._get(name, list, [])
        for item in items:
            if not isinstance(item, str):
                raise self.wrong(name, f"holds {_kind(item)}, not only strings")
        return tuple(map(sound, items))

    def lists(self, name: str) -> list[list[object]]:
        """Give the lists in the list under a key, none by default; what else stands there is left out."""
        return [item for item in self._get(name, list, []) if isinstance(item, list)]

    def labels(self, name: str) -> Mapping[str, str]:
        """Give the object of strings under a key, empty by default."""
        items = self._get(name, dict, {})
        for key, item in items.items():
            if not isinstance(item, str):
                raise self.wrong(name, f"holds {_kind(item)} at {key!r}, not only strings")
        return MappingProxyType({sound(key): sound(item) for key, item in items.items()})

    def time(self, name: str) -> datetime | None:
        """Give an RFC 3339 time in UTC; `None` by default and for Docker's zero time."""
        text = self.text(name)
        if not text:
            return None
        try:
            # Docker writes nanoseconds; what is finer than a microsecond is cut off.
            moment = datetime.fromisoformat(text)
            if moment.year <= _ZERO_YEAR:
                return None
            if moment.tzinfo is None:
                raise self.wrong(name, f"is a time without a zone: {text[:40]!r}")
            return moment.astimezone(UTC)
        except (ValueError, OverflowError) as error:
            raise self.wrong(name, f"is not a time: {text[:40]!r}") from error

    def seconds(self, name: str) -> datetime | None:
        """Give a time written as whole Unix seconds; `None` by default and for zero or less."""
        seconds = self.number(name)
        if seconds <= 0:
            return None
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OverflowError, OSError) as error:
            raise self.wrong(name, f"is not a time: {seconds}") from error

    def wrong(self, name: str, found: str) -> EngineProtocolError:
        """Make the error that says what is wrong with a key."""
        return EngineProtocolError(self._place(name), found)

    def _get(self, name: str, kind: type[T], default: T) -> T:
        value = self._value.get(name)
        if value is None:
            return default
        # In Python a bool is an int; in JSON it is not.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, f"is {_kind(value)}, not {_NAMES[kind]}")
        return value

    def _place(self, name: str) -> str:
        return f"{self._where}.{name}"


def sound(text: str) -> str:
    """Give a text that every file and page can hold: JSON can write half a surrogate pair, UTF-8 cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def objects(value: object, where: str) -> list[Fields]:
    """Read a JSON list of objects."""
    if not isinstance(value, list):
        raise EngineProtocolError(where, f"is {_kind(value)}, not a list")
    return [Fields(item, f"{where}[{index}]") for index, item in enumerate(value)]


_NAMES: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
    dict: "an object",
    list: "a list",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), type(value).__name__)
