"""Waits for something that no event tells of, with a deadline."""

from __future__ import annotations

import time
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import SupportsBool

T = TypeVar("T", bound="SupportsBool | object")

_STEP_SECONDS = 0.02
_never = Event()


def wait_until(look: Callable[[], T], what: str, timeout: float = 10.0) -> T:
    """
    Look again and again until `look` gives something true, which is returned.

    Raises `TimeoutError` after `timeout` seconds; it names `what` was awaited with what was seen last.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}; last seen: {seen!r}")
        _never.wait(_STEP_SECONDS)
