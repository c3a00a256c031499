"""Measures latency, CPU and memory of Shipkeeper on a real private engine: `make bench`."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from typing import TYPE_CHECKING

from tests.bench import latency, memory, scrape
from tests.bench.figures import table
from tests.bench.fleet import start_fleet
from tests.bench.subject import Subject
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
    parser.add_argument("--deaths", type=int, default=200, help="how many crash, one by one (default: 200)")
    parser.add_argument("--suite", type=Suite, choices=list(Suite), default=Suite.SID, help="which engine")
    options = parser.parse_args(arguments)
    try:
        with PrivateEngine(options.suite) as engine:
            print(_machine(engine), flush=True)
            for line in table(_chapters(engine, options.containers, options.deaths)):
                print(line, flush=True)
            print(f"\nload at the end: {os.getloadavg()[0]:.1f}")
    except (LabError, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def _chapters(engine: PrivateEngine, containers: int, deaths: int) -> Iterator[Chapter]:
    start_fleet(engine, IDLE, [f"idle-{number:04}" for number in range(containers)])
    with FakeSlack() as slack, Subject(engine, slack.webhook_url) as subject:
        yield scrape.measure(engine, subject, containers)
        yield memory.measure(subject, f"with {containers} containers")
        yield latency.measure(engine, subject, slack, deaths)
        yield memory.measure(subject, f"after {deaths} crashes")


def _machine(engine: PrivateEngine) -> str:
    load = os.getloadavg()[0]
    return (
        f"bench: Docker {engine.api.version()['Version']}, Python {platform.python_version()}, "
        f"Linux {platform.release()}, {os.cpu_count()} cores, load {load:.1f}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
