"""What a busy host looks like, in half a minute: one of everything that Shipkeeper has something to say about."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError

from collectors.facts import COMPOSE_NUMBER, COMPOSE_PROJECT, COMPOSE_SERVICE
from tests.lab.images import IDLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.engine import PrivateEngine

_SECOND_NS = 1_000_000_000
_MIB = 2**20

_WEB = "echo ahoy > /tmp/index.html; trap 'exit 0' TERM; httpd -f -p 127.0.0.1:80 -h /tmp & wait"
_PAYMENTS = "exec 2>&1; echo 'connecting to ledger:5432'; echo 'connection refused, giving up'; exit 7"
_SEARCH = (
    "touch /tmp/index; sleep 6; echo 'the index is damaged'; rm /tmp/index; trap 'exit 0' TERM; sleep 100000 & wait"
)
# tail keeps the last line in memory, and the last line of /dev/zero never ends
_TRAINER = "echo 'step 4180 loss 2.113'; sleep 4; echo 'allocating activation buffer'; exec tail /dev/zero"
OUTGROW = "dd if=/dev/zero of=/dev/null bs=200M"
"""A shell command that no memory limit of ours lets live: dd writes all over a buffer of that size."""
_GATED = "until [ -e /go ]; do usleep 20000; done; {}"
_REPORT = "dd if=/dev/zero of=/report bs=1M count=12 2>/dev/null; echo 'no such table: invoices' >&2; exit 1"
_EXPORT = "dd if=/dev/zero of=/export bs=1M count=20; echo done"
_WRITER = """
i=0
while [ $i -lt "$1" ]; do dd if=/dev/zero of=/$i.log bs=1M count=4 2>/dev/null; i=$((i+1)); usleep 200000; done
echo "wrote $i logs of 4 MiB"
"""


def start_services(engine: PrivateEngine) -> None:
    """
    Start a compose project, each service in its own state.

    One is healthy, one restarts for ever, one turns unhealthy in some seconds, and one has a command that its
    image lacks.
    """
    reachable = _health_check("wget -q -O /dev/null http://127.0.0.1/")
    engine.run(("sh", "-c", _WEB), name="shop-web-1", config={"labels": _compose("web"), "healthcheck": reachable})
    engine.run(
        ("sh", "-c", _PAYMENTS),
        name="shop-payments-1",
        config={"labels": _compose("payments")},
        restart_policy={"Name": "always"},
    )
    indexed = _health_check("test -e /tmp/index || { echo 'no index'; exit 1; }")
    engine.run(
        ("sh", "-c", _SEARCH), name="shop-search-1", config={"labels": _compose("search"), "healthcheck": indexed}
    )
    migrate = engine.create(("migrate-schema",), name="shop-migrate-1", config={"labels": _compose("migrate")})
    with suppress(APIError):  # the engine refuses, as it shall: there is no such command
        engine.api.start(migrate)


def start_jobs(engine: PrivateEngine) -> None:
    """Leave what jobs leave: one that outgrows its memory limit, exits of 0 and 1, one never started."""
    engine.run(("sh", "-c", _TRAINER), name="trainer", mem_limit=32 * _MIB, memswap_limit=32 * _MIB)
    engine.run(("sh", "-c", _EXPORT), name="export-2311")
    engine.run(("sh", "-c", _REPORT), name="report-2311")
    engine.create(IDLE, name="forgotten")


def run_short_of_memory(engine: PrivateEngine, name: str, command: str = f"exec {OUTGROW}") -> str:
    """
    Run a shell command under a memory limit of 16 MiB, and give the container's id.

    The command begins when the engine has called the container started. What is killed for memory before that
    is lost to Docker: its shim listens for such kills only from then on.
    """
    gated = ("sh", "-c", _GATED.format(command))
    container = engine.run(gated, name=name, mem_limit=16 * _MIB, memswap_limit=16 * _MIB)
    Path(f"/proc/{engine.host_pid(container)}/root/go").touch()
    return container


def leave_old_images(engine: PrivateEngine, count: int = 3, size_mb: int = 20) -> None:
    """Build one image again and again under the same tag: all but the last are left dangling."""
    for build in range(count + 1):
        engine.import_image("shop/web:latest", bytes([build]) * (size_mb * _MIB))


def fill_disk(engine: PrivateEngine, free_percent: float) -> None:
    """Let a container write, at some 20 MB a second, until so much of the data-root's filesystem is free."""
    disk = os.statvfs(engine.data_root)
    used = disk.f_blocks - disk.f_bfree
    surplus = disk.f_bavail - (used + disk.f_bavail) * free_percent / 100
    steps = max(0, round(surplus * disk.f_frsize / (4 * _MIB)))
    engine.run(("sh", "-c", f"{_WRITER}{IDLE[-1]}", "writer", str(steps)), name="log-hoarder")


def _compose(service: str) -> Mapping[str, str]:
    return {COMPOSE_PROJECT: "shop", COMPOSE_SERVICE: service, COMPOSE_NUMBER: "1"}


def _health_check(command: str) -> Mapping[str, object]:
    return {
        "test": ["CMD-SHELL", command],
        "interval": _SECOND_NS,
        "timeout": 2 * _SECOND_NS,
        "retries": 2,
    }
