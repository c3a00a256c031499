"""Measures latency, CPU and memory of Shipkeeper on a real private engine: `make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import TYPE_CHECKING

from tests.bench import gpu_reader, gpu_series, latency, memory, planning, relieving, scrape, sizing, start
from tests.bench.figures import table
from tests.bench.fleet import start_fleet
from tests.bench.host import Host
from tests.bench.subject import Subject
from tests.bench.synthetic import synthetic_host
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.errors import LabError
from tests.lab.images import IDLE
from tests.lab.slack import FakeSlack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.figures import Chapter


def main(arguments: list[str]) -> int:
    """Print the figures; 0 whatever they are, 1 with the reason when they could not be taken."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--containers", type=int, default=100, help="how many run all the time (default: 100)")
    parser.add_argument("--deaths", type=int, default=200, help="how many crash, one by one; 0: none (default: 200)")
    parser.add_argument(
        "--image-gib", type=int, default=20, help="how large the image is that is deleted beside crashes; 0: none"
    )
    parser.add_argument("--synthetic", action="store_true", help="only scrapes of containers that are plain files")
    parser.add_argument("--planning", action="store_true", help="only a plan over a very large host, without an engine")
    parser.add_argument("--relief", action="store_true", help="only a full disk, beside docker system prune -af")
    parser.add_argument("--sizing", type=int, default=0, help="only what a host costs Prometheus, over so many minutes")
    parser.add_argument("--suite", type=Suite, choices=list(Suite), default=Suite.SID, help="which engine")
    options = parser.parse_args(arguments)
    if options.planning:
        print("\n".join(table([planning.measure()])))
        return 0
    if options.synthetic:
        with FakeSlack() as slack:
            for line in table(_synthetic(options.containers, slack.webhook_url)):
                print(line, flush=True)
        return 0
    try:
        if options.relief:
            print("\n".join(table([relieving.measure(options.suite)])))
            return 0
        with PrivateEngine(options.suite) as engine:
            print(_machine(engine), flush=True)
            for line in table(_chosen(engine, options)):
                print(line, flush=True)
            if not options.sizing:
                for line in table([relieving.measure(options.suite)]):  # on engines of its own
                    print(line, flush=True)
            print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    except (LabError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _chosen(engine: PrivateEngine, options: argparse.Namespace) -> Iterator[Chapter]:
    if not options.sizing:
        yield from _chapters(engine, options.containers, options.deaths, options.image_gib)
        return
    with FakeSlack() as slack:
        yield from sizing.measure(engine, slack.webhook_url, options.containers, options.sizing)


def _chapters(engine: PrivateEngine, containers: int, deaths: int, image_gib: int) -> Iterator[Chapter]:
    start_fleet(engine, IDLE, [f"idle-{number:04}" for number in range(containers)])
    with FakeSlack() as slack:
        yield start.measure(engine, slack.webhook_url, containers)
        with Subject.on(engine, slack.webhook_url) as subject:
            costs = scrape.measure(subject, Host(engine.docker_host))
            others = scrape.docker_stats(engine, containers)
            yield scrape.chapter(f"scrape of {containers} real containers", costs, others, real=True)
            yield memory.measure(subject, f"with {containers} containers")
            if deaths:
                yield latency.measure(engine, subject, slack, deaths)
                if image_gib:
                    yield latency.measure(engine, subject, slack, deaths, image_gib)
                crashed = deaths * (2 if image_gib else 1)
                yield memory.measure(subject, f"with {containers} containers and {crashed} that crashed", None)
        yield from _synthetic(containers, slack.webhook_url)


def _synthetic(containers: int, webhook_url: str) -> Iterator[Chapter]:
    """Measure a scrape of so many containers, then of ten times as many, whose cgroups are plain files."""
    with synthetic_host(containers, webhook_url) as (subject, host):
        few = scrape.measure(subject, host)
    yield scrape.chapter(f"scrape of {containers} synthetic containers", few)
    with synthetic_host(containers * 10, webhook_url) as (subject, host):
        many = scrape.measure(subject, host)
        held = memory.measure(subject, f"with {containers * 10} containers", memory.AIM_AT_1000_MIB)
    yield scrape.chapter(f"scrape of {containers * 10} synthetic containers", many, [scrape.growth(few, many)])
    yield held
    yield gpu_series.measure()
    yield gpu_reader.measure()
    yield planning.measure()


def _machine(engine: PrivateEngine) -> str:
    load = os.getloadavg()[0]
    return (
        f"bench: Docker {engine.api.version()['Version']}, Python {platform.python_version()}, "
        f"Linux {platform.release()}, {os.cpu_count()} cores, load {load:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
