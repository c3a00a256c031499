"""Prints every file that a scrape of an engine's containers opens: `python -m tests.bench.files unix:///…`."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import timedelta
from functools import partial

from collectors.cgroup import CgroupReader
from collectors.engine_api import Endpoint, EngineApi
from collectors.inventory import Inventory
from daemon.clock import SystemClock


def main(docker_host: str) -> None:
    """Scrape twice: the first time finds the cgroups, the second time is what every further scrape does."""
    connect = partial(EngineApi.connect, Endpoint(host=docker_host), timedelta(seconds=10))
    inventory, reader = Inventory(), CgroupReader()
    with closing(connect()) as api:
        inventory.reconcile(api, SystemClock().now())
    fleet = [container for container in inventory.containers.values() if container.pid]
    for container in fleet:
        reader.read(container)
    opened: list[str] = []
    # The interpreter's own account, so this list cannot miss what the code has learnt to read since. A hook stays
    # for the life of a process: hence a program of its own.
    sys.addaudithook(lambda event, details: opened.append(str(details[0])) if event == "open" else None)
    for container in fleet:
        reader.read(container)
    sys.stdout.write("".join(f"{path}\n" for path in tuple(opened)))


if __name__ == "__main__":
    main(sys.argv[1])
