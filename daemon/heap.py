"""The heap of the C library, which all threads share."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""As `malloc.h` of glibc has it."""


def share_one_heap() -> None:
    """
    Let all threads take their memory from one heap; call it before the first thread starts.

    glibc would give each of the first eight threads for each core a heap of its own, and keep in every one of them the
    most that was ever free there at once. What that costs, and what sharing costs, is in decision 14.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none, and no more than one heap
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
