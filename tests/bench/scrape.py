"""Measures what a scrape costs, beside what its parts cost at the least and what others take for the same."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import docker
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from collectors.families import Family, render
from tests.bench.figures import Chapter, Figure, quantile
from tests.bench.subject import cpu_seconds
from tests.lab.binaries import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.bench.host import Host
    from tests.bench.subject import Subject
    from tests.lab.engine import PrivateEngine

ROUNDS = 20
_SETTLE_SECONDS = 5.0
"""By then the daemon's start is over: a second inventory, once its event stream is open."""
_IDLE_SECONDS = 30.0
"""Two rounds of the sampler and of an idle cycle, which come every 15 s."""
_APART_SECONDS = 0.1
_SCRAPED_EVERY_SECONDS = 15
AIM_TIMES_FLOOR = 2.5
_AIM_TIMES_AS_MANY = 11.0
_AIM_RENDERER = 1 / 8
AIM_PERCENT = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Milliseconds, each the median of 20 rounds."""

    cpu: float
    cpu_p90: float
    wall: float
    floor: float
    """To open, read and close every file of a scrape."""
    render: float
    plain: float
    """`generate_latest` of the samples that `render` was given."""
    idle: float
    """A second, when nobody scrapes."""
    note: str


def measure(subject: Subject, host: Host) -> Costs:
    """
    Scrape 20 times over HTTP; what the daemon uses when nobody scrapes is taken off.

    After each scrape its parts are done at the least cost, in this process: so the same noise of the machine
    is in all of them.
    """
    pause = Event()
    pause.wait(_SETTLE_SECONDS)
    page = gzip.decompress(subject.page())  # the first one finds the cgroups
    files, registry, families = _files_of_a_scrape(host), registry_of(page), _families_of(page)
    idle = _spent_ms(subject.cpu_seconds, lambda: pause.wait(_IDLE_SECONDS)) / _IDLE_SECONDS
    cpu, wall, floor, ours, plain = [], [], [], [], []
    for _ in range(ROUNDS):
        before = subject.cpu_seconds()
        wall.append(_spent_ms(time.monotonic, subject.page))
        pause.wait(_APART_SECONDS)
        cpu.append((subject.cpu_seconds() - before) * 1000 - idle * _APART_SECONDS)
        floor.append(_spent_ms(time.thread_time, lambda: _read_all(files)))
        ours.append(_spent_ms(time.thread_time, lambda: render(families)))
        plain.append(_spent_ms(time.thread_time, lambda: generate_latest(registry)))
    series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
    return Costs(
        cpu=quantile(cpu, 0.5),
        cpu_p90=quantile(cpu, 0.9),
        wall=quantile(wall, 0.5),
        floor=quantile(floor, 0.5),
        render=quantile(ours, 0.5),
        plain=quantile(plain, 0.5),
        idle=idle,
        note=f"{series} series, {len(files)} files, {len(page) >> 10} KiB",
    )


def chapter(title: str, costs: Costs, more: Sequence[Figure] = (), *, real: bool = False) -> Chapter:
    """Give the figures; with aims where the kernel's own cgroups were read, which cost more than plain files."""
    percent = (costs.idle + costs.cpu / _SCRAPED_EVERY_SECONDS) / 10
    return Chapter(
        title,
        f"medians of {ROUNDS}; {costs.note}",
        (
            Figure("scrape, CPU of Shipkeeper", costs.cpu, "ms"),
            Figure("scrape, CPU, p90", costs.cpu_p90, "ms"),
            Figure("scrape, wall", costs.wall, "ms"),
            Figure("floor: open, read, close each file", costs.floor, "ms"),
            Figure("render of the same samples", costs.render, "ms"),
            Figure("generate_latest of the same samples", costs.plain, "ms"),
            Figure("CPU when nobody scrapes", costs.idle, "ms/s"),
            Figure("scrape / floor", costs.cpu / costs.floor, "times", AIM_TIMES_FLOOR if real else None),
            Figure("render / generate_latest", costs.render / costs.plain, "times", _AIM_RENDERER),
            Figure("a core, scraped every 15 s", percent, "%", AIM_PERCENT if real else None),
            *more,
        ),
    )


def growth(few: Costs, many: Costs) -> Figure:
    """Compare two scrapes, the second of ten times as many containers."""
    return Figure("scrape / scrape of a tenth as many", many.cpu / few.cpu, "times", _AIM_TIMES_AS_MANY)


def docker_stats(engine: PrivateEngine, containers: int) -> tuple[Figure, Figure]:
    """Ask as `docker stats --no-stream` does: every container at once, two samples of each, in the engine."""
    with closing(docker.APIClient(base_url=engine.docker_host, version="auto", num_pools=containers)) as client:
        ids = [container["Id"] for container in client.containers()]
        wall, cpu = [], []
        with ThreadPoolExecutor(len(ids)) as pool:
            ask = partial(client.stats, stream=False)
            for _ in range(ROUNDS):
                before = cpu_seconds(engine.pid)
                wall.append(_spent_ms(time.monotonic, lambda: list(pool.map(ask, ids))))
                cpu.append((cpu_seconds(engine.pid) - before) * 1000)
    return (
        Figure("docker stats --no-stream, wall", quantile(wall, 0.5), "ms"),
        Figure("docker stats, CPU of dockerd alone", quantile(cpu, 0.5), "ms"),
    )


def _spent_ms(clock: Callable[[], float], work: Callable[[], object]) -> float:
    """Give what the clock, in seconds, counts while the work is done."""
    before = clock()
    work()
    return (clock() - before) * 1000


def _files_of_a_scrape(host: Host) -> list[str]:
    command = [*host.within, sys.executable, "-m", "tests.bench.files", host.docker_host]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    return [host.here(path) for path in listed.splitlines()]


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


def registry_of(page: bytes) -> CollectorRegistry:
    """Give what the Prometheus library would have to hold to show this page."""
    registry = CollectorRegistry()
    registry.register(_Parsed(page))
    return registry


def _families_of(page: bytes) -> list[Family]:
    """Give a page as the collectors do: label blocks with their numbers."""
    families: list[Family] = []
    samples: list[tuple[str, float]] = []
    name = text = ""
    for line in page.decode().splitlines():
        word, _, rest = line.removeprefix("# ").partition(" ")
        if line.startswith("# HELP "):
            name, _, text = rest.partition(" ")
        elif line.startswith("# TYPE "):
            samples = []
            families.append(Family(name, "gauge", text, samples))
            del word
        else:
            series, _, value = line.rpartition(" ")
            samples.append((series.removeprefix(name), float(value) if "." in value or "I" in value else int(value)))
    return families
