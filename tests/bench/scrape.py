"""Measures the CPU time of a scrape, beside what its parts cost at the least."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from threading import Event
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.bench.figures import Chapter, Figure, quantile
from tests.lab.binaries import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.bench.subject import Subject
    from tests.lab.engine import PrivateEngine

SCRAPES = 50
_SETTLE_SECONDS = 5.0
"""By then the daemon's start is over: a second inventory, once its event stream is open."""
_IDLE_SECONDS = 10.0
_APART_SECONDS = 0.1
_ROUNDS = 20
_CPU_AIM_MS = 10.0


def measure(engine: PrivateEngine, subject: Subject, containers: int) -> Chapter:
    """Scrape 50 times over HTTP; what the daemon uses when nobody scrapes is taken off."""
    Event().wait(_SETTLE_SECONDS)
    cpu, took = _scraped(subject)
    idle = _cpu_per_second(subject)
    per_scrape = (cpu - idle * took) / SCRAPES * 1000
    page = gzip.decompress(subject.page())
    series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
    files = _files_of_a_scrape(engine)
    reading = _median_cpu_ms(lambda: _read_all(files))
    rendering = _rendering_ms(page)
    return Chapter(
        "scrape",
        f"{SCRAPES} scrapes of {containers} containers, {series} series, {len(files)} files, {len(page) >> 10} KiB",
        (
            Figure("CPU per scrape", per_scrape, "ms", _CPU_AIM_MS),
            Figure("CPU when nobody scrapes", idle * 1000, "ms/s"),
            Figure("floor: open, read, close each file", reading, "ms"),
            Figure("generate_latest of equal samples", rendering, "ms"),
            Figure("scrape / floor", per_scrape / reading, "times"),
            Figure("scrape / (floor + generate_latest)", per_scrape / (reading + rendering), "times"),
        ),
    )


def _cpu_per_second(subject: Subject) -> float:
    before, began = subject.cpu_seconds(), time.monotonic()
    Event().wait(_IDLE_SECONDS)
    return (subject.cpu_seconds() - before) / (time.monotonic() - began)


def _scraped(subject: Subject) -> tuple[float, float]:
    """Give the CPU seconds that the daemon used, and how long it all took."""
    pause = Event()
    subject.page()  # the first one finds the cgroups
    before, began = subject.cpu_seconds(), time.monotonic()
    for _ in range(SCRAPES):
        subject.page()
        pause.wait(_APART_SECONDS)
    return subject.cpu_seconds() - before, time.monotonic() - began


def _files_of_a_scrape(engine: PrivateEngine) -> list[str]:
    command = [sys.executable, "-m", "tests.bench.files", engine.docker_host]
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.splitlines()


def _read_all(paths: Sequence[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.read(descriptor, 65536)
        os.close(descriptor)


class _Parsed(Collector):
    """Gives again what a page said."""

    def __init__(self, page: bytes) -> None:
        self._metrics = list(text_string_to_metric_families(page.decode()))

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _rendering_ms(page: bytes) -> float:
    registry = CollectorRegistry()
    registry.register(_Parsed(page))
    return _median_cpu_ms(lambda: generate_latest(registry))


def _median_cpu_ms(work: Callable[[], object]) -> float:
    costs = []
    for _ in range(_ROUNDS):
        before = time.thread_time()
        work()
        costs.append((time.thread_time() - before) * 1000)
    return quantile(costs, 0.5)
