"""Measures what all processes of Shipkeeper hold in memory together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import MIB, Chapter, Figure

if TYPE_CHECKING:
    from tests.bench.subject import Subject

_PSS_AIM_MIB = 70.0


def measure(subject: Subject, when: str) -> Chapter:
    """Read PSS, in which a page that several processes share counts in parts."""
    pss = subject.pss_bytes()
    return Chapter(
        "memory",
        f"{when}, {subject.threads()} threads",
        (
            Figure("PSS of all our processes", pss["Pss"] / MIB, "MiB", _PSS_AIM_MIB),
            Figure("of it our own (anonymous)", pss["Pss_Anon"] / MIB, "MiB"),
            Figure("of it mapped from files", pss["Pss_File"] / MIB, "MiB"),
        ),
    )
