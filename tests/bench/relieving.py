"""Measures how long a full disk takes to come to its target, and what that costs, beside `docker system prune -af`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from tests.bench.figures import MIB, Chapter, Figure
from tests.bench.subject import Subject
from tests.lab.engine import PrivateEngine
from tests.lab.images import IDLE
from tests.lab.slack import FakeSlack
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.binaries import Suite

_DISK_MB = 240
_IMAGE_MIB = 6
_OLD, _USEFUL = 6, 6
_LEFT, _TARGET = 9.0, 20.0
"""Percent: below the act level of 12, and 8 points above it."""
_SECONDS = 120.0
_SETTINGS = {
    "SHIPKEEPER_MODE": "enforce",
    "SHIPKEEPER_CLEANUP__GRACE": "1s",
    # All has been tagged a moment ago; the order of their tags is what it goes by.
    "SHIPKEEPER_POLICIES__DISK_PRESSURE__MIN_AGE": "1s",
    "SHIPKEEPER_POLICIES__DISK_PRESSURE__CRITICAL_MIN_AGE": "1s",
    "SHIPKEEPER_POLICIES__DISK_PRESSURE__INCLUDE_LOCAL_BUILDS": "true",
}


def measure(suite: Suite) -> Chapter:
    """Fill the data-root of one engine for each, and let each come to its target."""
    ours, theirs = _Trial(), _Trial()
    with PrivateEngine(suite, data_root_image_mb=_DISK_MB) as engine, FakeSlack() as slack:
        bond = {**engine.bond, **_SETTINGS}
        with Subject(engine.folder / "shipkeeper", engine.docker_host, slack.webhook_url, bond=bond) as subject:
            ours.run(engine, lambda: None)
            wait_until(lambda: _run_seconds(subject) is not None, "the run to end", _SECONDS)
            run_seconds = _run_seconds(subject) or 0.0
    with PrivateEngine(suite, data_root_image_mb=_DISK_MB) as engine:
        theirs.run(engine, lambda: _system_prune(engine))
    return Chapter(
        "a full disk, beside docker system prune -af",
        f"{_DISK_MB} MB with {_LEFT:g} % left, target {_TARGET:g} %; {_OLD} old images, {_USEFUL} useful, one job",
        (
            Figure("Shipkeeper, from act to target", ours.seconds, "s"),
            Figure("of it the run, two samples before", run_seconds, "s"),
            Figure("useful images that it destroyed", ours.lost_mib, "MiB", 0.0),
            Figure("stopped containers that it removed", ours.lost_containers, "", 0.0),
            Figure("left afterwards", ours.left, "%"),
            Figure("prune -af, once somebody starts it", theirs.seconds, "s"),
            Figure("useful images that it destroyed", theirs.lost_mib, "MiB"),
            Figure("stopped containers that it removed", theirs.lost_containers, ""),
            Figure("left afterwards", theirs.left, "%"),
        ),
    )


class _Trial:
    """What one way to relieve the disk took and cost."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.lost_mib = 0.0
        self.lost_containers = 0
        self.left = 0.0

    def run(self, engine: PrivateEngine, relieve: Callable[[], None]) -> None:
        """Load and fill the disk, `relieve` it, and wait until it has come to its target."""
        useful = _loaded(engine)
        containers = _containers(engine)
        _fill(engine.data_root)
        began = time.monotonic()
        relieve()
        wait_until(lambda: _percent_left(engine.data_root) >= _TARGET, "the disk to come to its target", _SECONDS)
        self.seconds = time.monotonic() - began
        here = _images(engine)
        self.lost_mib = sum(size for tag, size in useful.items() if tag not in here) / MIB
        self.lost_containers = len(containers - _containers(engine))
        self.left = _percent_left(engine.data_root)


def _loaded(engine: PrivateEngine) -> dict[str, int]:
    """Load the images, the old ones first; give the sizes of those that are of use still, by tag."""
    for number in range(_OLD):
        engine.import_image(f"old:{number}", os.urandom(_IMAGE_MIB * MIB))
    for number in range(_USEFUL):
        engine.import_image(f"useful:{number}", os.urandom(_IMAGE_MIB * MIB))
    engine.import_image("job:1", os.urandom(_IMAGE_MIB * MIB))
    engine.run(IDLE, name="service")
    engine.run(["sh", "-c", "exit 3"], name="job", config={"image": "job:1"})
    engine.api.wait("job")
    return {tag: size for tag, size in _images(engine).items() if not tag.startswith("old:")}


def _images(engine: PrivateEngine) -> dict[str, int]:
    images: list[Any] = engine.api.images()
    return {tag: each["Size"] for each in images for tag in each["RepoTags"] or ()}


def _containers(engine: PrivateEngine) -> set[str]:
    return {each["Id"] for each in engine.api.containers(all=True)}


def _system_prune(engine: PrivateEngine) -> None:
    """Send what `docker system prune -af` sends, in its order."""
    client: Any = engine.api
    client.prune_containers()
    client.prune_networks()
    client.prune_images(filters={"dangling": False})
    client.prune_builds()


def _fill(disk: Path) -> None:
    with (disk / "ballast").open("ab", buffering=0) as file, suppress(OSError):
        while _percent_left(disk) > _LEFT:
            file.write(bytes(256 * 1024))


def _percent_left(disk: Path) -> float:
    """Give what `df` would."""
    space = os.statvfs(disk)
    used = space.f_blocks - space.f_bfree
    return 100 * space.f_bavail / (used + space.f_bavail)


def _run_seconds(subject: Subject) -> float | None:
    run = cast("Any", subject.status())["cleanup"]["last_run"]
    if not run or not run["ended"]:
        return None
    return (datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["begun"])).total_seconds()
