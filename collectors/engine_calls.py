"""Counts what we ask of Docker: how long each kind of request takes, and in which ways it fails."""

from __future__ import annotations

import re
import threading
import time
from bisect import bisect_left
from collections import Counter
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from typing import TYPE_CHECKING

from collectors.engine_errors import EngineError, EngineFailure, EngineForbidden, EngineUnavailable
from collectors.families import Family, label_block

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 5.0, 10.0, 30.0)
"""Seconds: from a quick ping to the longest that we wait."""

_ENDPOINTS = (
    ("ping", r"/_ping"),
    ("version", r"/version"),
    ("info", r"/info"),
    ("events", r"/events"),
    ("df", r"/system/df"),
    ("container_list", r"/containers/json"),
    ("container_inspect", r"/containers/[^/]+/json"),
    ("container_logs", r"/containers/[^/]+/logs"),
    ("container_stats", r"/containers/[^/]+/stats"),
    ("image_list", r"/images/json"),
    ("image_inspect", r"/images/.+/json"),
    ("network_list", r"/networks"),
    ("volume_list", r"/volumes"),
    ("container_changes", r"/containers/[^/]+/changes"),
    ("container_remove", r"/containers/[^/]+"),
    ("image_remove", r"/images/.+"),
    ("network", r"/networks/[^/]+"),
    ("volume_remove", r"/volumes/[^/]+"),
    ("build_prune", r"/build/prune"),
)
"""
What a path is called: the first that fits; all else is `other`, so that no path becomes a label.

The last ones are asked with DELETE or POST; a network is read and removed at one and the same path.
"""

ENDPOINTS = tuple(name for name, _ in _ENDPOINTS)
"""What a question is called, unless it is `other`."""

_KINDS = re.compile(r"(?:/v[\d.]+)?(?:" + "|".join(f"(?P<{name}>{path})" for name, path in _ENDPOINTS) + ")")


def endpoint_of(path: str) -> str:
    """Give the name of what a path asks for, with or without the version before it."""
    found = _KINDS.fullmatch(path)
    return (found.lastgroup if found else None) or "other"


class EngineCalls:
    """
    Shared by all connections to one engine; safe to use from several threads.

    A question whose answer is a stream is over when the stream begins.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._errors: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def timed(self, path: str) -> Iterator[None]:
        """Time the question that the block asks; an EngineError out of it is counted, and goes on."""
        began = self._monotonic()
        try:
            yield
        except EngineError as error:
            self.failed(path, _kind(error))
            raise
        finally:
            self._took(endpoint_of(path), self._monotonic() - began)

    def failed(self, path: str, kind: str) -> None:
        """Count an error; `kind` is a word out of a fixed set."""
        with self._lock:
            self._errors[endpoint_of(path), kind] += 1

    def families(self) -> Iterator[Family]:
        """Give the figures of this moment."""
        with self._lock:
            counts = {endpoint: tuple(counted) for endpoint, counted in sorted(self._counts.items())}
            seconds, errors = dict(self._seconds), sorted(self._errors.items())
        yield Family(
            "shipkeeper_docker_api_duration_seconds",
            "histogram",
            "How long Docker took to answer.",
            [row for endpoint, counted in counts.items() for row in _histogram(endpoint, counted, seconds[endpoint])],
        )
        yield Family(
            "shipkeeper_docker_api_errors_total",
            "counter",
            "Questions that Docker did not answer as it should.",
            [(label_block(endpoint=endpoint, kind=kind), count) for (endpoint, kind), count in errors],
        )

    def _took(self, endpoint: str, seconds: float) -> None:
        with self._lock:
            counted = self._counts.setdefault(endpoint, [0] * (len(BUCKETS) + 1))
            counted[bisect_left(BUCKETS, seconds)] += 1
            self._seconds[endpoint] = self._seconds.get(endpoint, 0.0) + seconds


def _histogram(endpoint: str, counted: tuple[int, ...], seconds: float) -> Iterator[tuple[str, float]]:
    """Give the series of one endpoint; each bucket holds those before it."""
    *buckets, total, count = _blocks(endpoint)
    yield from zip(buckets, accumulate(counted), strict=True)
    yield total, seconds
    yield count, sum(counted)


@cache
def _blocks(endpoint: str) -> tuple[str, ...]:
    """Render the names and labels of an endpoint's series once; there are few endpoints."""
    block = label_block(endpoint=endpoint)
    buckets = ("_bucket" + label_block(endpoint=endpoint, le=bound) for bound in (*map(str, BUCKETS), "+Inf"))
    return (*buckets, "_sum" + block, "_count" + block)


def _kind(error: EngineError) -> str:
    match error:
        case EngineUnavailable():
            return error.state.value
        case EngineForbidden():
            return "forbidden"
        case EngineFailure():
            return "status"
        case _:
            return "protocol"
