"""A large image that is deleted while something else is measured."""

from __future__ import annotations

import os
import tarfile
import time
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

import docker

from tests.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.lab.engine import PrivateEngine

NAME = "heavy:latest"
_GIB = 1 << 30
_FILE_BYTES = 256 << 10
"""Of files like those of a large Python environment: their number is what makes a deletion long."""
_LOAD_SECONDS = 1800


class Deletion:
    """
    A context manager: an image of so many GiB is made before the block and deleted within it, by the engine.

    `seconds` is what that took, once the block has ended.
    """

    def __init__(self, engine: PrivateEngine, gib: int) -> None:
        """Make the image; LabError if there is no room for it."""
        stats = os.statvfs(engine.folder)
        if stats.f_bavail * stats.f_frsize < 2 * gib * _GIB:
            raise LabError(f"an image of {gib} GiB needs twice that free on {engine.folder}; see --image-gib")
        self.seconds = 0.0
        self._client: Any = docker.APIClient(base_url=engine.docker_host, version="auto", timeout=_LOAD_SECONDS)
        self._client.import_image_from_data(_Stream(_tar(gib * _GIB)), repository="heavy", tag="latest")
        self._thread = Thread(target=self._delete, name="deletion", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join()

    def _delete(self) -> None:
        with closing(self._client):
            begun = time.monotonic()
            self._client.remove_image(NAME)
            self.seconds = time.monotonic() - begun


class _Stream:
    """What requests sends in chunks: docker-py takes an iterable of bytes as the body."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def _tar(size: int) -> Iterator[bytes]:
    """Give a tar of so many bytes in files of one size, without holding it."""
    content = os.urandom(_FILE_BYTES)
    for number in range(size // _FILE_BYTES):
        info = tarfile.TarInfo(f"data/{number // 1000}/{number}")
        info.size = _FILE_BYTES
        yield info.tobuf() + content
    yield bytes(2 * tarfile.BLOCKSIZE)
