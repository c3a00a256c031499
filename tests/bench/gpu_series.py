"""Measures what eight GPUs with twenty processes each add to a scrape and to a cycle."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from collectors.families import render
from collectors.gpu_use import share
from collectors.process_owner import ProcessOwners
from tests.bench.figures import Chapter, Figure, quantile
from tests.bench.scrape import ROUNDS, registry_of
from tests.fakes.gpu_hosts import eight_gpus, gpu_page
from tests.fakes.gpus import a_sample, in_container, write_processes

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTAINERS = 20
"""So that every GPU is shared by twenty: no host shows more series for so many processes."""
_AIM_MS = 2.0


def measure() -> Chapter:
    """
    Collect and render the families; match the processes, which a cycle does once for each sample.

    Each scrape is of a host that was read anew: what is remembered has to be known again by its value.
    """
    host, *hosts = (eight_gpus(containers=_CONTAINERS) for _ in range(ROUNDS + 1))
    page = render(gpu_page(host))
    registry = registry_of(page)
    sample = a_sample(*host.gpus.devices)
    pids = [process.pid for gpu in sample.gpus for process in gpu.processes or ()]
    with TemporaryDirectory() as folder:
        ids = [container.id for container in host.containers]
        write_processes(Path(folder), {pid: in_container([ids[pid % _CONTAINERS]]) for pid in pids})
        owners = ProcessOwners(Path(folder))
        scrape = _median_ms(lambda: render(gpu_page(hosts.pop())))
        plain = _median_ms(lambda: generate_latest(registry))
        matched = _median_ms(lambda: share(sample, owners.read(pids), host.containers))
    series = sum(1 for line in page.splitlines() if not line.startswith(b"#"))
    return Chapter(
        "8 GPUs with 20 processes each",
        f"medians of {ROUNDS}; {series} series, {len(pids)} processes of {_CONTAINERS} containers",
        (
            Figure("what they add to a scrape, CPU", scrape, "ms", _AIM_MS),
            Figure("generate_latest of the same samples", plain, "ms"),
            Figure("their scrape / generate_latest", scrape / plain, "times"),
            Figure("to match the processes of a sample", matched, "ms"),
        ),
    )


def _median_ms(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(ROUNDS):
        before = time.thread_time()
        work()
        spent.append((time.thread_time() - before) * 1000)
    return quantile(spent, 0.5)
