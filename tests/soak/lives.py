"""Containers that come and go as on a busy host: short jobs, most of them well, some that end badly."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import docker
from docker.errors import APIError

from tests.lab.images import IMAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.engine import PrivateEngine

_WORKERS = 4
_STAND = 15
"""Ended containers that each worker leaves standing."""
_BUILD_EVERY = 100
_WELL: tuple[Mapping[str, Any], ...] = ({"auto_remove": True}, {}, {"auto_remove": True}, {}, {"auto_remove": True})
_MEMORY = {"mem_limit": "16m", "memswap_limit": "16m"}


class Lives:
    """A context manager around workers that together begin so many lives a second, each under a new name."""

    def __init__(self, engine: PrivateEngine, per_second: float) -> None:
        self._engine = engine
        self._pause = _WORKERS / per_second
        self._counting = threading.Lock()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"lives-{n}") for n in range(_WORKERS)]
        self.count = 0
        """Lives begun so far."""
        self.faults: list[str] = []
        """What the engine refused."""

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        client = docker.APIClient(base_url=self._engine.docker_host, version="auto")
        standing: deque[str] = deque()
        try:
            begin = time.monotonic()
            while not self._ending.wait(max(begin - time.monotonic(), 0.0)):
                begin += self._pause
                number = self._next()
                try:
                    self._live(client, number, standing)
                except APIError as refusal:
                    self.faults.append(str(refusal))
        finally:
            client.close()

    def _next(self) -> int:
        with self._counting:
            self.count += 1
            return self.count

    def _live(self, client: docker.APIClient, number: int, standing: deque[str]) -> None:
        command, host = _fate(number)
        created = client.create_container(
            image=IMAGE,
            command=["sh", "-c", command],
            name=f"job-{number:05}",
            labels={"com.docker.compose.project": "soak", "com.docker.compose.service": f"job{number % 7}"}
            if number % 3 == 0
            else {},
            host_config=client.create_host_config(network_mode="none", **host),
        )
        client.start(created["Id"])
        if "auto_remove" not in host:
            standing.append(created["Id"])
        if len(standing) > _STAND:
            client.remove_container(standing.popleft(), force=True)
        if number % _BUILD_EVERY == 0:
            _build(client, self._engine, number)


def _fate(number: int) -> tuple[str, Mapping[str, Any]]:
    """Give the command of one life and how it is kept: of 20 one is killed for memory and three crash."""
    match number % 20:
        case 3:
            return "dd if=/dev/zero of=/dev/null bs=200M", _MEMORY
        case 7 | 11:
            return f"echo step {number}; exit 3", {}
        case 17:
            return "echo gone; exit 9", {"auto_remove": True}
        case rest:
            return f"echo {number}; sleep 0.{rest % 10}", _WELL[rest % len(_WELL)]


def _build(client: docker.APIClient, engine: PrivateEngine, number: int) -> None:
    """Build an image under the same name again, and remove what the last one but one has left dangling."""
    engine.import_image("built:latest", str(number).encode() * 1000)
    for image in client.images(filters={"dangling": True})[2:]:
        client.remove_image(image["Id"])
