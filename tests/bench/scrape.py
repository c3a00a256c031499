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
_CPU_AIM_MS = 10.0


def measure(engine: PrivateEngine, subject: Subject, containers: int) -> Chapter:
    """
    Scrape 50 times over HTTP; what the daemon uses when nobody scrapes is taken off.

    After each scrape its parts are done at the least cost, in this process: so the same noise of the machine
    is in all three.
    """
    pause = Event()
    pause.wait(_SETTLE_SECONDS)
    page = gzip.decompress(subject.page())  # the first one finds the cgroups
    files, registry = _files_of_a_scrape(engine), _registry_of(page)
    idle_ms = _spent_ms(subject.cpu_seconds, lambda: pause.wait(_IDLE_SECONDS)) / _IDLE_SECONDS
    scraping, reading, rendering = [], [], []
    for _ in range(SCRAPES):
        spent = _spent_ms(subject.cpu_seconds, lambda: (subject.page(), pause.wait(_APART_SECONDS)))
        scraping.append(spent - idle_ms * _APART_SECONDS)
        reading.append(_spent_ms(time.thread_time, lambda: _read_all(files)))
        rendering.append(_spent_ms(time.thread_time, lambda: generate_latest(registry)))
    series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
    scrape, floor, plain = (quantile(costs, 0.5) for costs in (scraping, reading, rendering))
    return Chapter(
        "scrape",
        f"{SCRAPES} scrapes of {containers} containers, {series} series, {len(files)} files, {len(page) >> 10} KiB",
        (
            Figure("CPU per scrape, median", scrape, "ms", _CPU_AIM_MS),
            Figure("CPU per scrape, p90", quantile(scraping, 0.9), "ms"),
            Figure("CPU when nobody scrapes", idle_ms, "ms/s"),
            Figure("floor: open, read, close each file", floor, "ms"),
            Figure("generate_latest of equal samples", plain, "ms"),
            Figure("scrape / floor", scrape / floor, "times"),
            Figure("scrape / (floor + generate_latest)", scrape / (floor + plain), "times"),
        ),
    )


def _spent_ms(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Give what the clock, in seconds, counts while the work is done."""
    before = clock()
    work()
    return (clock() - before) * 1000


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


def _registry_of(page: bytes) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Parsed(page))
    return registry
