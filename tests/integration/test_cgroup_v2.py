"""A real host of cgroup v2 under the systemd driver: the daemon inside of a virtual machine, and what it showed."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.collectors.test_captured_host import CAPTURED
from tests.daemon.metrics_list import SEEN, names_of, names_seen
from tests.lab import machine
from tests.lab.binaries import Suite, find, promtool
from tests.lab.checkout import for_debian_13, for_guest
from tests.lab.images import busybox_tar

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

MIB = 1 << 20
PATIENCE = timedelta(minutes=20)
RUN = """\
set -e
export PYTHONPATH=$PWD:$PWD/site
systemctl start docker
python3 -m tests.lab.guest.scene
"""


@dataclass(frozen=True)
class Seen:
    """What the machine showed: the page after a kill for memory, and the kernel's files at that moment."""

    page: str
    host: Mapping[str, Any]

    def value(self, name: str, *labels: str) -> float:
        """Give the one series of a name with these labels, each as `label="value"`."""
        lines = [line for line in self.page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
        [found] = [line for line in lines if all(label in line for label in labels)]
        return float(found.rpartition(" ")[2])

    def id(self, name: str) -> str:
        """Give the id of a container."""
        return str(next(each["id"] for each in self.host["containers"] if each["name"] == name))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    inside, results = tmp_path_factory.mktemp("inside"), tmp_path_factory.mktemp("results")
    for_debian_13(inside)
    for_guest(inside)
    busybox = find(Suite.SID)
    (inside / "bb.tar").write_bytes(busybox_tar(busybox.root / busybox.busybox.lstrip("/")))
    (inside / "run.sh").write_text(RUN)
    machine.run(inside, results, PATIENCE)
    found = Seen((results / "page.txt").read_text(), json.loads((results / "host.json").read_text()))
    if os.environ.get("GOLDEN") == "write":
        CAPTURED.write_text(json.dumps(found.host, indent=1, sort_keys=True) + "\n")
        SEEN["v2"].write_text("".join(f"{name}\n" for name in sorted({*names_seen("v2"), *names_of(found.page)})))
    return found


def test_it_shows_all_that_it_has_shown_before(seen: Seen) -> None:
    # Errors of Docker show when there was one.
    assert names_seen("v2") - {"shipkeeper_docker_api_errors_total"} <= set(names_of(seen.page))


def test_a_cgroup_is_found_where_systemd_puts_it(seen: Seen) -> None:
    for name, folder in (("writer", "system.slice"), ("parented", "shop.slice/shop-web.slice")):
        where = f'id="/{folder}/docker-{seen.id(name)}.scope"'
        assert seen.value("container_memory_usage_bytes", where, f'name="{name}"') > 0


def test_limits_are_those_that_docker_was_given(seen: Seen) -> None:
    of = ('name="limited"',)
    assert seen.value("shipkeeper_container_memory_limit_bytes", *of) == 64 * MIB
    assert seen.value("shipkeeper_container_memory_reservation_bytes", *of) == 32 * MIB
    assert seen.value("shipkeeper_container_cpu_limit_cores", *of) == 0.2
    assert seen.value("shipkeeper_container_pids_limit", *of) == 50
    assert seen.value("container_spec_cpu_shares", *of) == 2597  # what cAdvisor makes of the weight 100
    assert seen.value("container_spec_memory_limit_bytes", 'name="writer"') == 0


def test_who_runs_into_its_quota_waits_and_the_pressure_tells(seen: Seen) -> None:
    of = ('name="limited"',)
    assert seen.value("shipkeeper_container_cpu_throttled_seconds_total", *of) > 0
    assert seen.value("shipkeeper_container_cpu_usage_seconds_total", *of) > 0
    assert seen.value("shipkeeper_container_pressure_cpu_waiting_seconds_total", *of) > 0
    for resource in ("cpu", "memory", "io"):
        for how in ("waiting", "stalled"):
            name = f"pressure_{resource}_{how}_seconds_total"
            assert seen.value(f"container_{name}", *of) == seen.value(f"shipkeeper_container_{name}", *of)


def test_what_is_written_to_the_disk_is_counted_by_device(seen: Seen) -> None:
    assert seen.value("shipkeeper_container_block_io_write_bytes_total", 'name="writer"', 'device="vda"') >= 2 * MIB
    assert seen.value("container_fs_writes_total", 'name="writer"', 'device="/dev/vda"') > 0


def test_a_kill_for_memory_is_counted_while_the_container_lives_on(seen: Seen) -> None:
    assert seen.value("shipkeeper_container_oom_kills_total", 'name="hog"') == 1
    # The peak is the sampler's, which may have looked before the kill.
    assert 0 < seen.value("shipkeeper_container_memory_peak_bytes", 'name="hog"') <= 16 * MIB
    [events] = [
        text for path, text in seen.host["files"].items() if path.endswith(f"{seen.id('hog')}.scope/memory.events")
    ]
    assert "oom_kill 1\n" in events


def test_traffic_on_dockers_bridge_is_counted(seen: Seen) -> None:
    assert seen.value("shipkeeper_container_network_receive_packets_total", 'name="writer"', 'interface="eth0"') >= 0


def test_prometheus_own_checker_has_nothing_to_say_of_native_names(seen: Seen) -> None:
    native = [
        line
        for line in seen.page.splitlines()
        if line.removeprefix("# HELP ").removeprefix("# TYPE ").startswith("shipkeeper_")
    ]
    checked = subprocess.run(
        [str(promtool()), "check", "metrics"],
        input="\n".join([*native, ""]),
        check=False,
        capture_output=True,
        text=True,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
