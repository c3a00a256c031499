"""The one source of time; everything that waits or stamps gets a `Clock` handed in."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Wall time, monotonic time and the identity of this boot."""

    def now(self) -> datetime:
        """Give the aware UTC wall time."""
        ...

    def monotonic(self) -> float:
        """Give seconds that never go back within one boot."""
        ...

    def boot_id(self) -> str:
        """Give the kernel's id of this boot."""
        ...


def wall_ahead(clock: Clock) -> timedelta:
    """Give how far the wall clock is ahead of the monotonic one: it changes only when somebody sets the former."""
    return timedelta(seconds=clock.now().timestamp() - clock.monotonic())


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Give the aware UTC wall time."""
        return datetime.now(UTC)  # noqa: TID251  this is the Clock that everything else is handed

    def monotonic(self) -> float:
        """Give seconds since an arbitrary start."""
        return time.monotonic()

    def boot_id(self) -> str:
        """Give the kernel's id of this boot."""
        return _BOOT_ID.read_text().strip()
