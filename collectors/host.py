"""Memory of the host and how often it ran out, as the kernel tells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from collectors import cgroup_files as files
from collectors.cgroup_groups import read_file
from collectors.families import Family
from collectors.own_facts import HostMemory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.families import Kind

_MEMORY = (
    ("memory_total_bytes", b"MemTotal:", "Memory that the kernel can use."),
    ("memory_available_bytes", b"MemAvailable:", "Memory that a new process could get without swapping."),
    ("memory_free_bytes", b"MemFree:", "Memory that nothing uses, not even as a cache."),
    ("swap_total_bytes", b"SwapTotal:", "Swap space."),
    ("swap_free_bytes", b"SwapFree:", "Swap space not in use."),
)


class Host:
    """The memory figures of the machine that this process runs on."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    @property
    def memory_bytes(self) -> int | None:
        """How much memory there is; `None` if the kernel does not tell."""
        return _kibibytes(read_file(f"{self._proc}/meminfo"), b"MemTotal:")

    def memory(self) -> HostMemory | None:
        """Read how much there is and how much is available; `None` if the kernel does not tell."""
        text = read_file(f"{self._proc}/meminfo")
        total, available = _kibibytes(text, b"MemTotal:"), _kibibytes(text, b"MemAvailable:")
        return None if total is None or available is None else HostMemory(total_bytes=total, available_bytes=available)

    def collect(self) -> Iterator[Family]:
        """Read two files and give their families; what the kernel does not tell is an absent series."""
        text = read_file(f"{self._proc}/meminfo")
        for name, key, words in _MEMORY:
            yield _single(name, "gauge", words, _kibibytes(text, key))
        kills = files.keyed(read_file(f"{self._proc}/vmstat"), b"oom_kill")
        yield _single("oom_kills_total", "counter", "Processes killed for memory since the machine started.", kills)


def _kibibytes(text: bytes | None, key: bytes) -> int | None:
    """Give the bytes of a line `Key:   12 kB`."""
    for line in (text or b"").splitlines():
        if line.startswith(key):
            kibibytes = files.number(line[len(key) :].strip().removesuffix(b" kB"))
            return None if kibibytes is None else kibibytes * 1024
    return None


def _single(name: str, kind: Kind, words: str, value: float | None) -> Family:
    return Family(f"shipkeeper_host_{name}", kind, words, [] if value is None else [("", value)])
