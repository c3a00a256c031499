"""Starts many real containers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import docker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.engine import PrivateEngine

_CLIENTS = 4


def start_fleet(engine: PrivateEngine, command: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Start a container of each name; gives the process ids as this machine counts, by name."""
    for name in names:
        engine.create(command, name=name)

    def start(share: Sequence[str]) -> dict[str, int]:
        with closing(docker.APIClient(base_url=engine.docker_host, version="auto")) as client:
            for name in share:
                client.start(name)
            return {name: int(client.inspect_container(name)["State"]["Pid"]) for name in share}

    with ThreadPoolExecutor(_CLIENTS) as pool:
        parts = pool.map(start, [names[first::_CLIENTS] for first in range(_CLIENTS)])
        return {name: pid for part in parts for name, pid in part.items()}
