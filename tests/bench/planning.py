"""Measures a plan over a very large host: its CPU, its memory, and how they grow with the host."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from collectors.facts import Engine, EngineState
from daemon.decide import decide
from daemon.loading import load
from daemon.plans import make_plan, plan_lines, to_json
from daemon.proposals import verdicts
from daemon.rulebook import Rulebook
from tests.bench.figures import MIB, Chapter, Figure
from tests.policies.build import (
    DAY,
    GIB,
    HOUR,
    NOW,
    compose,
    container,
    exited,
    facts,
    filesystem,
    image,
    network,
    object_id,
    record,
    volume,
)
from tests.policies.build import MIB as OF_A_LAYER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Facts, Image

IMAGES, CONTAINERS, RECORDS = 10_000, 5_000, 50_000
_ROUNDS = 5
_AIM_SECONDS = 1.0
_AIM_MIB = 200.0
_PART = 4
_AIM_TIMES = 8.0
"""Four times as much work where it is linear, with room for caches that are too small; sixteen where it is not."""


def measure() -> Chapter:
    """Let a process of its own plan, and another one a quarter of it: neither pays for what the other left."""
    whole, quarter = _measured(1), _measured(_PART)
    return Chapter(
        f"a plan over {IMAGES:,} images, {CONTAINERS:,} containers, {RECORDS:,} build records",
        f"the least of {_ROUNDS}; {whole['removals']:.0f} removals, {whole['kept']:.0f} kept, the disk too full",
        (
            Figure("the plan, CPU", whole["plan"], "s", _AIM_SECONDS),
            Figure("the same with all of it as text", whole["text"], "s"),
            Figure("with all alerts, as a cycle, CPU", whole["cycle"], "s"),
            Figure("the plan / that of a quarter", whole["plan"] / quarter["plan"], "times", _AIM_TIMES),
            Figure("most memory, facts and all", whole["mib"], "MiB", _AIM_MIB),
            Figure("of it there before the plan", whole["before_mib"], "MiB"),
        ),
    )


def _measured(part: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.planning", str(part)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def a_large_host(part: int = 1) -> Facts:
    """Give one of which all policies find something, and of which the one disk is too full; or a part of it."""
    return facts(
        engine=Engine(state=EngineState.UP, since=NOW - DAY, storage_driver="overlay2"),
        containers=list(_containers(CONTAINERS // part)),
        images=list(_images(IMAGES // part)),
        build_records=[
            record(f"r{number}", unused=timedelta(hours=number % 400), size_bytes=OF_A_LAYER, shared=number % 5 == 0)
            for number in range(RECORDS // part)
        ],
        networks=[network(f"n{number}") for number in range(CONTAINERS // part // 10)],
        volumes=[volume(f"v{number}") for number in range(CONTAINERS // part // 2)],
        filesystems=[filesystem(size=4000 * GIB, available=10 * GIB, roles=("data-root", "volumes", "logs"))],
        pressed=frozenset({"/"}),
        watched=90 * DAY,
    )


def _containers(count: int) -> Iterator[Container]:
    for number in range(count):
        labels = compose(f"p{number // 8}", f"s{number % 8}") if number % 2 else {}
        name, image_name = f"c{number:05}", f"team/app-{number % 700}:v{number % 9}"
        common = {"labels": labels, "image": image_name, "image_id": f"sha256:{object_id(image_name)}"}
        if number % 3:
            yield exited(name, ago=timedelta(hours=number % 500), code=number % 2, **common)
        else:
            yield container(name, volumes=(f"v{number}",), networks=(f"n{number % 90}",), **common)


def _images(count: int) -> Iterator[Image]:
    for number in range(count):
        tags = (f"team/app-{number % 900}:v{number // 900}",) if number % 4 else ()
        if number % 40 == 1:
            tags = (*tags, f"registry.example.com:5000/app-{number % 900}:r{number}")
        yield image(
            *tags,
            name=tags[0] if tags else f"dangling-{number}",
            digests=tuple(f"{tag.rpartition(':')[0]}@sha256:{object_id(tag)}" for tag in tags[:1]),
            last_tagged_at=NOW - timedelta(hours=number % 2000),
            last_used_at=NOW - timedelta(hours=number % 1500),
            watched_for=40 * DAY - (number % 900) * HOUR,
            unique_bytes=(number % 97) * OF_A_LAYER,
        )


def _main(part: int) -> None:
    settings = load(None, {"SHIPKEEPER_POLICIES__IMAGES_UNUSED__ENABLED": "true"})
    book = Rulebook.of(settings)
    host = a_large_host(part)
    before = _peak_mib()
    spent: dict[str, list[float]] = {"plan": [], "text": [], "cycle": []}
    cleanups = {name: policy for name, policy in book.policies.items() if name in settings.bounds()}
    for _ in range(_ROUNDS):
        snapshot = replace(host)  # of which nothing is worked out yet, as at the beginning of a cycle
        begun = time.process_time()
        plan = make_plan(verdicts(decide(cleanups, snapshot, book.bounds), book), book.mode, NOW)
        spent["plan"].append(time.process_time() - begun)
        json.dumps(to_json(plan))
        plan_lines(plan, explain=True)
        spent["text"].append(time.process_time() - begun)
        snapshot = replace(host)
        begun = time.process_time()
        decide(book.policies, snapshot, book.bounds)
        spent["cycle"].append(time.process_time() - begun)
    # What other processes do to the caches only ever adds to it.
    least = {name: min(values) for name, values in spent.items()}
    sizes = {"removals": len(plan.removals), "kept": len(plan.kept), "mib": _peak_mib(), "before_mib": before}
    sys.stdout.write(json.dumps(least | sizes))


def _peak_mib() -> float:
    """Give the peak of this program: `ru_maxrss` is that of the process too that it was started from."""
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(peak.split()[1]) * 1024 / MIB


if __name__ == "__main__":
    _main(int(sys.argv[1]))
