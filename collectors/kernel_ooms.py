"""Reads out of the kernel's log whom the kernel killed because the whole machine was out of memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from collectors import cgroup_files as files
from collectors.cgroup_groups import read_file
from collectors.kernel_log import KMSG, records
from collectors.process_owner import named_containers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from collectors.process_owner import Named

_HEAD = re.compile(r"([0-9]{1,3}),([0-9]{1,18}),([0-9]{1,18}),[^;\n]*;([^\n]*)")
"""Facility and level, number, microseconds; the message ends with the line, below it are fields."""
_OTHERS = 8
"""From here on a line is not the kernel's own: root wrote it into the log."""
_NUMBER = r"([0-9]{1,18})"
_SUMMARY = re.compile(rf"oom-kill:constraint=(\w+),.*?,task_memcg=(.*),task=.*,pid={_NUMBER},uid=[0-9]+$")
_KILLED = re.compile(
    rf"Out of memory(?: \([a-z_]+\))?: Killed process {_NUMBER} \((.*)\) total-vm:[0-9]+kB, anon-rss:{_NUMBER}kB"
    rf"(?:, file-rss:{_NUMBER}kB)?(?:, shmem-rss:{_NUMBER}kB)?"
)
"""A kill at a cgroup's limit begins with `Memory cgroup out of memory`."""
_MACHINE = "CONSTRAINT_NONE"
_LOOKS = 2
"""Each rise of the count is looked into so often: the kernel counts first and writes then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedOom:
    """One kill: `at` is seconds since the machine started, as the monotonic clock counts."""

    number: int
    """Its place in the kernel's log, which no other line has until the machine starts anew."""
    at: float
    process: str
    resident_bytes: int
    containers: Named | None
    """The container ids that its cgroup names; `None` where the log does not tell the cgroup."""


class OomLog:
    """Looks into the kernel's log whenever the kernel has counted a kill; for the sampler's thread alone."""

    def __init__(self, log: Path = KMSG, proc: Path = Path("/proc")) -> None:
        self._log = log
        self._proc = proc
        self._count: int | None = None
        self._due = _LOOKS
        self._known: tuple[LoggedOom, ...] | None = None

    def look(self) -> tuple[LoggedOom, ...] | None:
        """Give all kills that the log still shows, the oldest first; `None` where it may not be read. Never waits."""
        count = files.keyed(read_file(f"{self._proc}/vmstat"), b"oom_kill")
        if count != self._count:
            self._count, self._due = count, _LOOKS
        if self._due:
            self._due -= 1
            try:
                self._known = tuple(machine_ooms(records(self._log)))
            except OSError:
                self._known = None
        return self._known


def machine_ooms(lines: Iterable[str]) -> Iterator[LoggedOom]:
    """
    Give the kills in these records.

    The summary with constraint and cgroup comes before the kill itself. Of many kills within seconds it is left out;
    one alone that names another constraint than the machine makes the kill none of ours.
    """
    summary: re.Match[str] | None = None
    for record in lines:
        head = _HEAD.match(record)
        if head is None or int(head[1]) >= _OTHERS:
            continue
        summary = _SUMMARY.match(head[4]) or summary
        killed = _KILLED.match(head[4])
        if killed is None:
            continue
        its = summary if summary and summary[3] == killed[1] else None
        if its is None or its[1] == _MACHINE:
            yield LoggedOom(
                number=int(head[2]),
                at=int(head[3]) / 1e6,
                process=killed[2],
                resident_bytes=1024 * sum(int(part or 0) for part in killed.groups()[2:]),
                containers=named_containers(f"0::{its[2]}") if its else None,
            )
        summary = None
