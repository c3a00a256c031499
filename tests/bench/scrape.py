"""Measures what a scrape of 100 containers costs: `python -m tests.bench.scrape`."""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from collectors.containers import ContainerCollector
from daemon.clock import SystemClock
from daemon.web.exposition import Exposition, NamedCollector, process_registry
from tests.fakes.fleet import running_fleet

if TYPE_CHECKING:
    from collections.abc import Callable

CONTAINERS = 100
ROUNDS = 20


def cost_ms(work: Callable[[], object]) -> float:
    """Give the CPU time of one call in milliseconds: the best of some, to keep the neighbours' noise out."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best * 1000


def main() -> None:
    """Print the CPU time of a scrape and of its parts."""
    with tempfile.TemporaryDirectory() as directory:
        tree, fleet = running_fleet(Path(directory) / "host", CONTAINERS)
        collector = NamedCollector("containers", ContainerCollector(tree.reader, lambda: fleet).collect)
        exposition = Exposition([collector], process_registry(), SystemClock())
        page = exposition.document()
        figures = {
            "scrape": cost_ms(exposition.document),
            "of it reading": cost_ms(lambda: [tree.reader.read(container) for container in fleet]),
            "gzip": cost_ms(lambda: gzip.compress(page, 3)),
        }
    for name, milliseconds in figures.items():
        sys.stdout.write(f"{name:15} {milliseconds:6.2f} ms\n")
    sys.stdout.write(f"{'page':15} {len(page) / 1024:6.0f} KiB\n")


if __name__ == "__main__":
    main()
