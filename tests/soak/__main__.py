"""Lets Shipkeeper watch thousands of short lives and judges whether it stays as it is: `make soak`."""

from __future__ import annotations

import argparse
import re
import sys
import time
from contextlib import ExitStack
from threading import Event
from typing import TYPE_CHECKING

from tests.bench.figures import Chapter, table
from tests.bench.subject import Subject
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.errors import LabError
from tests.lab.slack import FakeSlack
from tests.soak.lives import Lives
from tests.soak.samples import Sample, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

_SCRAPE_SECONDS = 5.0
_SAMPLE_EVERY = 2
_SHOW_EVERY = 12
_LOOKS = 10
_LOOK_SECONDS = 0.1
_AIM = 3000 / 1800
"""Lives a second: 3,000 in half an hour."""
_CYCLES = re.compile(r"^shipkeeper_cycles_total (\d+)", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Print samples and the verdict; 1 when an aim is missed or the soak could not be done."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--per-second", type=float, default=2.0, help="lives begun in a second (default: 2)")
    options = parser.parse_args(arguments)
    try:
        with ExitStack() as lab:
            engine = lab.enter_context(PrivateEngine(Suite.SID))
            slack = lab.enter_context(FakeSlack())
            subject = lab.enter_context(Subject.on(engine, slack.webhook_url))
            lives = lab.enter_context(Lives(engine, options.per_second))
            samples = []
            for sample in _samples(subject, lives, options.minutes * 60):
                samples.append(sample)
                if len(samples) % _SHOW_EVERY == 1:
                    print(sample.line(), flush=True)
            note = f"{options.minutes:g} min, {len(slack.posts)} messages, {len(lives.faults)} refusals"
            figures = verdict(samples, _AIM * options.minutes * 60)
    except (LabError, TimeoutError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    for line in table([Chapter("soak", note, figures)]):
        print(line)
    return 1 if any(figure.verdict == "missed" for figure in figures) else 0


def _samples(subject: Subject, lives: Lives, seconds: float) -> Iterator[Sample]:
    """Scrape every 5 s as Prometheus does, ask for the status and measure every 10 s."""
    never = Event()
    begun = time.monotonic()
    scrapes = 0
    while time.monotonic() - begun < seconds:
        never.wait(max(begun + scrapes * _SCRAPE_SECONDS - time.monotonic(), 0.0))
        page = subject.text()
        if scrapes % _SAMPLE_EVERY == 0:
            subject.status()
            found = _CYCLES.search(page)
            descriptors, threads = _at_rest(subject)
            memory = subject.pss_bytes()
            yield Sample(
                at=time.monotonic() - begun,
                pss_bytes=memory["Pss"],
                own_bytes=memory["Pss_Anon"],
                descriptors=descriptors,
                threads=threads,
                database_bytes=subject.state_bytes(),
                cycles=int(found[1]) if found else 0,
                lives=lives.count,
            )
        scrapes += 1


def _at_rest(subject: Subject) -> tuple[int, int]:
    """
    Give the fewest descriptors and threads of a second's looks.

    A cycle that inspects several containers has up to eight threads and connections for a moment. What leaks stays.
    """
    never = Event()
    looks = []
    for _ in range(_LOOKS):
        looks.append((subject.descriptors(), subject.threads()))
        never.wait(_LOOK_SECONDS)
    return min(descriptors for descriptors, _ in looks), min(threads for _, threads in looks)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
