"""The shipped unit on a host of its own: cgroup v2, systemd's limits in force, Docker with its bridge; with figures."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.lab import machine
from tests.lab.binaries import REPOSITORY, Suite, find
from tests.lab.checkout import for_debian_13, for_guest, putting_it_to_use
from tests.lab.images import busybox_tar

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

PATIENCE = timedelta(minutes=20)
RUN = f"""\
set -e
chmod 755 .
{putting_it_to_use(Path("/run/work"))}
cp deploy/shipkeeper.service /etc/systemd/system/
systemd-sysusers deploy/shipkeeper.sysusers.conf
systemctl daemon-reload
systemctl start docker
PYTHONPATH=$PWD python3 -m tests.lab.guest.host
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give what the machine noted, with the `page`."""
    inside, results = tmp_path_factory.mktemp("inside"), tmp_path_factory.mktemp("results")
    for_debian_13(inside)
    for_guest(inside)
    shutil.copytree(REPOSITORY / "deploy/systemd", inside / "deploy")
    busybox = find(Suite.SID)
    (inside / "bb.tar").write_bytes(busybox_tar(busybox.root / busybox.busybox.lstrip("/"), padding=b"published"))
    (inside / "run.sh").write_text(RUN)
    machine.run(inside, results, PATIENCE)
    note: dict[str, Any] = json.loads((results / "note.json").read_text())
    note["page"] = (results / "page.txt").read_text()
    after = note["after"]
    print(
        f"on a full host: {int(after['MemoryCurrent']) / 2**20:.0f} MiB now, "
        f"{int(after['MemoryPeak']) / 2**20:.0f} MiB at most of {int(after['MemoryMax']) >> 20}, "
        f"{after['TasksCurrent']} of {after['TasksMax']} tasks, {int(after['CPUUsageNSec']) / 1e9:.0f} s of CPU"
    )
    return note


def test_it_lives_within_the_limits_that_systemd_enforces(host: dict[str, Any]) -> None:
    after = host["after"]
    assert host["started"].startswith("0:")
    assert (after["ActiveState"], after["NRestarts"]) == ("active", "0")
    assert int(after["MemoryMax"]) == 512 << 20
    assert int(after["MemoryPeak"]) < 256 << 20
    assert 0 < int(after["TasksCurrent"]) < 64


def test_it_sees_what_only_a_real_docker_has(host: dict[str, Any]) -> None:
    assert host["page of the published port"] == "published"
    assert 'shipkeeper_filesystem_up{role="data-root"} 1' in host["page"]
    assert 'shipkeeper_filesystem_up{role="logs"} 1' in host["page"]
    assert "what container logs take is not known" not in host["journal"]


def test_reloads_and_a_restart_of_docker_leave_the_process_alone(host: dict[str, Any]) -> None:
    assert host["good reload"].startswith("0:")
    assert host["bad reload"].startswith("1:")
    assert "nonsense" in host["journal"]
    assert host["docker restarted"].startswith("0:")
    assert host["the same process"]
    assert host["stopped"].startswith("0:")


def test_the_doctor_finds_the_service_well_and_the_clock_that_nobody_keeps(host: dict[str, Any]) -> None:
    left, kept = host["doctor, a clock left alone"], host["doctor, a clock kept right"]
    assert left["clock"] == ["warn: nothing keeps this host's clock right"]
    assert kept["clock"] == ["ok: the clock is kept right"]
    assert kept["service"] == ["ok: the daemon runs, version 0"]
    assert kept["service-access"] == ["ok: shipkeeper may talk to the engine, by the group docker"]
    assert kept["cgroup-version"] == ["ok: control groups are of version 2"]
    assert kept["socket-activation"] == ["ok: systemd and the engine agree on the socket"]
    assert not [said for each in kept.values() if isinstance(each, list) for said in each if said.startswith("fail")]
