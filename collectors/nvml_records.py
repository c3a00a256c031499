"""Asks NVML for a list of records, which come as plain tuples out of memory that is used again."""

from __future__ import annotations

import ctypes
from struct import Struct
from typing import TYPE_CHECKING, Any, TypeAlias

import pynvml

if TYPE_CHECKING:
    from collections.abc import Callable

Record: TypeAlias = tuple[int, ...]
"""The members of one of NVML's structures, in its order."""

_ROOM = 128
"""Records, at first: of processes at work drivers keep a hundred, and few GPUs have more of others."""
_MOST_ROOM = 1 << 17
"""More than a line of the reader's could hold."""


class Records:
    """
    One function of NVML that fills a list, whose records look as the bindings say.

    The bindings' own functions ask for the length first, and make an object with names of every record: of fifty
    processes on each of eight GPUs that cost more than everything else that is asked.
    """

    def __init__(
        self,
        name: str,
        record: type[ctypes.Structure],
        *,
        length_first: bool = True,
        find: Callable[[str], Callable[..., int]] | None = None,
    ) -> None:
        """
        Take the function's name, and whether it takes the length before the list or after it.

        `find` gives a function by its name; the default asks the library that the bindings have loaded.
        """
        self._name = name
        self._record = record
        self._length_first = length_first
        self._find = find or _of_library
        self._layout = Struct("".join(kind._type_ for _, kind in _members(record)))
        if self._layout.size != ctypes.sizeof(record):
            raise TypeError(f"{record.__name__} is not made of plain numbers")
        self._length = ctypes.c_uint()
        self._make(_ROOM)

    def ask(self, handle: Any, *arguments: object) -> list[Record]:
        """Give all records about a device. Raises `NVMLError`."""
        function = self._find(self._name)
        code = self._call(function, handle, arguments)
        while code == pynvml.NVML_ERROR_INSUFFICIENT_SIZE:
            room = 2 * max(self._length.value, self._room)  # more may come before it is asked again
            if room > _MOST_ROOM:
                break
            self._make(room)
            code = self._call(function, handle, arguments)
        if code != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(code)
        return list(self._layout.iter_unpack(self._bytes[: self._length.value * self._layout.size]))

    def _call(self, function: Callable[..., int], handle: Any, arguments: tuple[object, ...]) -> int:
        # Drivers have counted records that they did not write: those are not to be what another answer left here.
        ctypes.memset(self._list, 0, len(self._bytes))
        self._length.value = self._room
        length = ctypes.byref(self._length)
        both = (length, self._list) if self._length_first else (self._list, length)
        return function(handle, *both, *arguments)

    def _make(self, room: int) -> None:
        self._room = room
        self._list = (self._record * room)()
        self._bytes = memoryview(self._list).cast("B")


def _of_library(name: str) -> Callable[..., int]:
    try:
        function: Callable[..., int] = getattr(pynvml.nvmlLib, name)
    except AttributeError:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None
    return function


def _members(record: Any) -> list[tuple[str, Any]]:
    return list(record._fields_)
