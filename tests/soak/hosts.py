"""Tries random hosts on which everything happens at once, for as long as wanted: `make hosts`."""

from __future__ import annotations

import argparse
import sys
import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.daemon.test_tidy_model import Host

_BATCH = 200


def main(arguments: list[str]) -> int:
    """Print how many hosts were tried, and what came of their objects; a failure is raised with its story."""
    parser = argparse.ArgumentParser(prog="hosts", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    options = parser.parse_args(arguments)
    profile = settings(
        max_examples=_BATCH,
        stateful_step_count=40,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    end = time.monotonic() + options.minutes * 60
    while time.monotonic() < end:
        run_state_machine_as_test(Host, settings=profile)
        print(f"hosts: {Host.tally['hosts']} tried, {Host.tally['runs']} runs", flush=True)
    for what, count in sorted(Host.tally.items()):
        print(f"  {what:28} {count:7}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
