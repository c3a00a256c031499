"""Measures what a host costs Prometheus: series and bytes of a scrape, and what a sample takes on its disk."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING

from tests.bench.figures import MIB, Chapter, Figure
from tests.bench.fleet import start_fleet
from tests.bench.subject import Subject
from tests.lab.prometheus import Prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.engine import PrivateEngine

_EVERY_SECONDS = 15
_SETTLE_SECONDS = 90.0
"""By then the slow jobs have been round once, and all that a host shows is there."""
_WORK = (
    "while :; do dd if=/dev/urandom of=/tmp/work bs=4k count=$((RANDOM % 200)) 2>/dev/null; sleep $((RANDOM % 7)); done"
)
_HOSTS = 40
"""As which the one host is scraped: enough series for the memory of each to show beside the server's own."""
_BLOCK_SAMPLES = 2 * 3600 // _EVERY_SECONDS
"""Of each series, in a block as Prometheus writes them."""


def measure(engine: PrivateEngine, webhook_url: str, containers: int, minutes: int) -> Iterator[Chapter]:
    """Scrape a host without containers, then with so many that do some work; then let Prometheus scrape for a while."""
    with Subject.on(engine, webhook_url) as subject:
        Event().wait(_SETTLE_SECONDS)
        empty = subject.text()
        start_fleet(engine, ("sh", "-c", _WORK), [f"worker-{number:03}" for number in range(containers)])
        Event().wait(_SETTLE_SECONDS)
        full, packed = subject.text(), subject.page()
        yield Chapter(
            f"a host of {containers} containers",
            "its page as Prometheus gets it",
            (
                Figure("series without any container", _series(empty), ""),
                Figure("series with them", _series(full), ""),
                Figure("series of each container", (_series(full) - _series(empty)) / containers, ""),
                Figure("the same without cAdvisor's names", (_native(full) - _native(empty)) / containers, ""),
                Figure("page", len(gzip.decompress(packed)) / 1024, "KiB"),
                Figure("page, gzipped", len(packed) / 1024, "KiB"),
                Figure("page, gzipped, of each series", len(packed) / _series(full), "B"),
            ),
        )
        yield _stored(engine, subject.address, minutes)


def _series(page: str) -> int:
    return sum(1 for line in page.splitlines() if line and not line.startswith("#"))


def _native(page: str) -> int:
    return _series(re.sub(r"(?m)^container_.*\n", "", page))


def _stored(engine: PrivateEngine, address: str, minutes: int) -> Chapter:
    """Weigh a block with all that was scraped; a whole one of two hours has more samples for the same index."""
    with (
        TemporaryDirectory(prefix="shipkeeper-bench-") as folder,
        Prometheus(
            Path(folder), address, engine.bond, f"  scrape_interval: {_EVERY_SECONDS}s\n", hosts=_HOSTS
        ) as prometheus,
    ):
        bare = prometheus.resident_bytes()
        Event().wait(minutes * 60)
        resident = prometheus.resident_bytes()
        (meta,) = prometheus.snapshot().glob("*/meta.json")
        stats = json.loads(meta.read_text())["stats"]
        chunks = sum(file.stat().st_size for file in (meta.parent / "chunks").iterdir())
        index = (meta.parent / "index").stat().st_size
    samples, series = stats["numSamples"], stats["numSeries"]
    return Chapter(
        f"{minutes} min of it in Prometheus, every {_EVERY_SECONDS} s",
        f"scraped as {_HOSTS} hosts: {series} series, {samples} samples, {samples / series:.0f} of each",
        (
            Figure("chunks of a sample", chunks / samples, "B"),
            Figure("index of a series", index / series, "B"),
            Figure("both, in a block of two hours", chunks / samples + index / series / _BLOCK_SAMPLES, "B"),
            Figure("memory of the server by itself", bare / MIB, "MiB"),
            Figure("memory of each series", (resident - bare) / series / 1024, "KiB"),
        ),
    )
