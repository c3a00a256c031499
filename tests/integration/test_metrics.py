"""The metrics page of a daemon that watches real containers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tests.daemon.metrics_list import SEEN, names_of, names_seen
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

VERSION = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
ENDED = "shipkeeper_container_finished_timestamp_seconds"


def test_real_containers_show_all_that_they_have_shown_before(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    probe = {"test": ["CMD", "true"], "interval": 10**9}
    engine.run(IDLE, name="limited", mem_limit="64m", cpu_period=100_000, cpu_quota=50_000, pids_limit=50)
    engine.run(IDLE, name="probed", config={"healthcheck": probe})
    engine.run(["sh", "-c", "exit 3"], name="failed")
    with DaemonUnderTest(tmp_path, engine, slack) as daemon:
        page = wait_until(lambda: text if ENDED in (text := daemon.metrics()) else "", "the end of a container", 30)
        expected = names_seen(VERSION)
        wait_until(lambda: expected <= set(names_of(daemon.metrics())), "everything that was shown before", 60)
    if os.environ.get("GOLDEN") == "write":
        SEEN[VERSION].write_text("".join(f"{name}\n" for name in sorted(expected | set(names_of(page)))))
