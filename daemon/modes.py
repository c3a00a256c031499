"""What each mode may do, in words for a person."""

from __future__ import annotations

from types import MappingProxyType
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["observe", "approve", "enforce"]

IN_WORDS = MappingProxyType(
    {
        "observe": "nothing is removed; `shipkeeper plan` shows what a cleanup would remove",
        "approve": "removes only what a person approves: `shipkeeper plan`, then `shipkeeper apply PLAN`",
        "enforce": "removes by itself what `shipkeeper plan` shows",
    }
)
