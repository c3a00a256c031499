"""What each mode may do, in words for a person."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["observe", "approve", "enforce"]

ORDER: tuple[Mode, ...] = ("observe", "approve", "enforce")
"""From what does least to what does most."""
IN_WORDS = MappingProxyType(
    {
        "observe": "nothing is removed; `shipkeeper plan` shows what a cleanup would remove",
        "approve": "removes only what a person approves: `shipkeeper plan`, then `shipkeeper apply PLAN`",
        "enforce": "removes by itself what `shipkeeper plan` shows",
    }
)


def lesser(mode: Mode, other: str) -> Mode:
    """Give the mode that does less; empty stands for the same."""
    return next((each for each in ORDER if each in {mode, other}), mode)
