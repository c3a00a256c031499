"""Measures how long a start takes, from the process until `/-/ready`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.bench.figures import Chapter, Figure, quantile
from tests.bench.subject import Subject

if TYPE_CHECKING:
    from tests.lab.engine import PrivateEngine

STARTS = 20
_AIM_SECONDS = 1.0


def measure(engine: PrivateEngine, webhook_url: str, containers: int) -> Chapter:
    """Start as often as all else is measured, after one start that compiles and lays out the state."""
    seconds, cpu = [], []
    with Subject.on(engine, webhook_url):
        pass
    for _ in range(STARTS):
        with Subject.on(engine, webhook_url) as subject:
            seconds.append(subject.ready_seconds)
            cpu.append(subject.cpu_seconds())
    return Chapter(
        "start",
        f"{STARTS} starts with {containers} containers",
        (
            Figure("until ready, median", quantile(seconds, 0.5), "s", _AIM_SECONDS),
            Figure("until ready, longest", quantile(seconds, 1), "s"),
            Figure("CPU of it, median", quantile(cpu, 0.5), "s"),
        ),
    )
