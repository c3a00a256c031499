"""Reads XID errors out of the kernel's log, which has those that came before anybody listened to NVML."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KMSG = Path("/dev/kmsg")
_LONGEST_RECORD = 8192
"""The kernel hands out one record in each read, never more than this."""
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?([0-9a-fA-F]+(?::[0-9a-fA-F]+)+)[^)]*\).*?: (\d+)(?:,|$)")


@dataclass(frozen=True, slots=True)
class LoggedXid:
    """One XID error in the kernel's log: `at` is seconds since the machine started, as the monotonic clock counts."""

    at: float
    pci: tuple[int, ...]
    """Domain, bus and device."""
    xid: int


def pci_address(text: str) -> tuple[int, ...]:
    """Give domain, bus and device of an address: NVML writes 00000000:01:00.0 where the kernel writes 0000:01:00."""
    with suppress(ValueError):
        return tuple(int(part, 16) for part in text.partition(".")[0].split(":"))
    return ()


def logged_xids(path: Path = KMSG) -> tuple[LoggedXid, ...]:
    """Give all XID errors that the kernel still remembers, none where its log may not be read; never waits."""
    with suppress(OSError):
        return tuple(_xids(path))
    return ()


def _xids(path: Path) -> Iterator[LoggedXid]:
    for record in records(path):
        for line in record.splitlines():  # the first is the message, those below it are fields
            head, _, text = line.partition(";")
            found = _XID.search(text)
            fields = head.split(",")
            if found and len(fields) > 2 and fields[2].isdigit():  # noqa: PLR2004  priority, number, microseconds
                yield LoggedXid(int(fields[2]) / 1e6, pci_address(found[1]), int(found[2]))


def records(path: Path) -> Iterator[str]:
    """Give each record that the kernel still remembers, the oldest first; OSError if that may not be read."""
    log = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                record = os.read(log, _LONGEST_RECORD)
            except BrokenPipeError:
                continue  # it was overwritten while we came to it; the next read gives the one after
            except BlockingIOError:
                return
            if not record:
                return
            yield record.decode(errors="replace")
    finally:
        os.close(log)
