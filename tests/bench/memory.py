"""Measures what all processes of Shipkeeper hold in memory together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import MIB, Chapter, Figure

if TYPE_CHECKING:
    from tests.bench.subject import Subject

AIM_MIB = 70.0
AIM_AT_1000_MIB = 130.0


def measure(subject: Subject, when: str, aim_mib: float | None = AIM_MIB) -> Chapter:
    """Read PSS, in which a page that several processes share counts in parts."""
    pss = subject.pss_bytes()
    return Chapter(
        "memory",
        f"{when}, {subject.threads()} threads",
        (
            Figure("PSS of all our processes", pss["Pss"] / MIB, "MiB", aim_mib),
            Figure("of it our own (anonymous)", pss["Pss_Anon"] / MIB, "MiB"),
            Figure("of it mapped from files", pss["Pss_File"] / MIB, "MiB"),
        ),
    )
