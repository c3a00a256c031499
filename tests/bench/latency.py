"""Measures how soon people hear of a crash: from the engine's stamp to the request's last byte at the fake Slack."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import time
from contextlib import nullcontext
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

import docker

from tests.bench.deletion import Deletion
from tests.bench.figures import Chapter, Figure, quantile
from tests.bench.fleet import start_fleet
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from types import TracebackType

    from tests.bench.subject import Subject
    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack, Post

APART_SECONDS = 0.2
_NAME = "doomed-{:04}"
_NAMES = re.compile(r"doomed-\d{4}")
# The signal comes from outside of the engine, so no `kill` event makes the end an intended one.
_DOOMED = ("sh", "-c", "trap 'echo giving up; exit 1' TERM; echo connecting to ledger:5432; sleep 1000000 & wait")
_MEDIAN_AIM_MS = 25.0
_P99_AIM_MS = 100.0
_SEEN_SECONDS = 60.0
_TOLD_SECONDS = 30.0


def measure(engine: PrivateEngine, subject: Subject, slack: FakeSlack, deaths: int, image_gib: int = 0) -> Chapter:
    """
    Let so many containers exit 1, 200 ms apart, and time the message of each, if asked for beside a deletion.

    Raises `LabError` with the names of those that no message told of.
    """
    deletion = Deletion(engine, image_gib) if image_gib else None
    running = _running(subject)
    first = deaths if deletion else 0  # those of the run without it bear the names below
    pids = start_fleet(engine, _DOOMED, [_NAME.format(number) for number in range(first, first + deaths)])
    wait_until(lambda: _running(subject) == running + deaths, "all containers on the page", _SEEN_SECONDS)
    slack.clear()
    with deletion or nullcontext(), DeathStamps(engine) as stamps:
        _kill_one_by_one(list(pids.values()))
        told_ns = _await_all(slack, pids.keys(), subject)
    latencies = [(told_ns[name] - stamps.of[name]) / 1e6 for name in pids]
    return Chapter(
        "event → webhook" + (f" beside the deletion of {image_gib} GiB" if deletion else ""),
        (f"deleted in {deletion.seconds:.1f} s, " if deletion else "")
        + f"{deaths} crashes {APART_SECONDS * 1000:g} ms apart, {len(slack.posts)} messages",
        (
            Figure("median", quantile(latencies, 0.5), "ms", _MEDIAN_AIM_MS),
            Figure("p90", quantile(latencies, 0.9), "ms"),
            Figure("p99", quantile(latencies, 0.99), "ms", _P99_AIM_MS),
            Figure("longest", quantile(latencies, 1), "ms"),
        ),
    )


class DeathStamps:
    """A context manager around a second reader of the engine's events; `of` is complete when the block has ended."""

    def __init__(self, engine: PrivateEngine) -> None:
        self.of: dict[str, int] = {}
        """When each container died, by name, in the engine's Unix nanoseconds."""
        self._engine = engine
        self._client: Any = docker.APIClient(base_url=engine.docker_host, version="auto")
        self._stream: Any = self._client.events(decode=True)
        self._thread = Thread(target=self._read, name="stamps", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.sentinel()
        self._thread.join()
        self._client.close()

    def _read(self) -> None:
        for event in self._stream:
            if event["Type"] == "volume" and event["Action"] == "destroy":  # the sentinel: nothing else makes volumes
                return
            if event["Action"] == "die":
                self.of[event["Actor"]["Attributes"]["name"]] = event["timeNano"]


def _kill_one_by_one(pids: Sequence[int]) -> None:
    never = Event()
    begin = time.monotonic()
    for number, pid in enumerate(pids):
        never.wait(max(0.0, begin + number * APART_SECONDS - time.monotonic()))
        os.kill(pid, signal.SIGTERM)


def _await_all(slack: FakeSlack, names: Collection[str], subject: Subject) -> dict[str, int]:
    """Give when the first message that speaks of each container was there, in Unix nanoseconds."""
    try:
        told = _first_told(slack.wait(lambda posts: len(_first_told(posts)) >= len(names), _TOLD_SECONDS))
    except TimeoutError:
        told = _first_told(slack.posts)
    if missing := sorted(set(names) - told.keys()):
        raise LabError(f"no message told of {', '.join(missing)}; Shipkeeper's last words:\n{subject.log_tail()}")
    return told


def _first_told(posts: Sequence[Post]) -> dict[str, int]:
    told: dict[str, int] = {}
    for post in posts:
        for name in _NAMES.findall(json.dumps(post.payload)):
            told.setdefault(name, post.arrived_ns)
    return told


def _running(subject: Subject) -> int:
    return gzip.decompress(subject.page()).count(b'state="running"')
