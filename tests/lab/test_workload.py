from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab import workload
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def host() -> Iterator[PrivateEngine]:
    with PrivateEngine(Suite.BOOKWORM, data_root_image_mb=250) as engine:
        yield engine


def look(host: PrivateEngine, name: str) -> dict[str, Any]:
    return dict(host.api.inspect_container(name))


def test_the_services_turn_healthy_and_unhealthy_and_in_circles_or_never_start(host: PrivateEngine) -> None:
    workload.start_services(host)
    wait_until(lambda: look(host, "shop-web-1")["State"]["Health"]["Status"] == "healthy", "a healthy service")
    wait_until(lambda: look(host, "shop-payments-1")["RestartCount"] >= 5, "a restart loop", 20)
    wait_until(lambda: look(host, "shop-search-1")["State"]["Health"]["Status"] == "unhealthy", "bad health", 20)
    assert look(host, "shop-migrate-1")["State"]["ExitCode"] == 127


def test_the_jobs_end_as_jobs_do(host: PrivateEngine) -> None:
    workload.start_jobs(host)
    wait_until(lambda: look(host, "trainer")["State"]["OOMKilled"], "a kill for memory", 20)
    ends = {name: host.api.wait(name)["StatusCode"] for name in ("export-2311", "report-2311", "trainer")}
    assert ends == {"export-2311": 0, "report-2311": 1, "trainer": 137}
    assert look(host, "forgotten")["State"]["Status"] == "created"


def test_old_builds_are_left_dangling_and_the_disk_fills_so_far_and_no_further(host: PrivateEngine) -> None:
    workload.leave_old_images(host, count=2, size_mb=1)
    assert len(host.api.images(filters={"dangling": True})) == 2
    workload.fill_disk(host, free_percent=50)
    wait_until(lambda: b"wrote" in host.api.logs("log-hoarder"), "the writer to be done", 30)
    disk = os.statvfs(host.data_root)
    free = disk.f_bavail / (disk.f_blocks - disk.f_bfree + disk.f_bavail)
    assert free == pytest.approx(0.5, abs=0.05)
