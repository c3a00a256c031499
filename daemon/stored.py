"""A frozen value as the JSON that the store holds of it."""

from __future__ import annotations

from functools import cached_property
from typing import Generic, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


class Stored(Generic[T]):
    """
    Writes the values of one class as JSON, and reads them back.

    How that goes is worked out by the first value: a start seldom sees one, and all together take a fiftieth of it.
    """

    def __init__(self, kind: type[T]) -> None:
        """Take a dataclass whose module has what its annotations name."""
        self._kind = kind

    def dump_json(self, value: T) -> bytes:
        """Give the JSON of a value."""
        return self._adapter.dump_json(value)

    def validate_json(self, record: str | bytes) -> T:
        """Give the value of such a JSON; pydantic's ValidationError, a ValueError, if it is none."""
        return self._adapter.validate_json(record)

    @cached_property
    def _adapter(self) -> TypeAdapter[T]:
        return TypeAdapter(self._kind)
