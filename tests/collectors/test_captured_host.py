"""The page of a real host of cgroup v2 under the systemd driver, made of its kernel's files as they were one day."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from collectors.cadvisor import DataRoot, Machine
from collectors.cgroup import CgroupReader
from collectors.containers import ContainerCollector, View
from collectors.families import render
from tests.fakes.cgroup_tree import STARTED, a_container

if TYPE_CHECKING:
    from collectors.facts import Container

GOLDEN = Path(__file__).parents[1] / "golden"
PAGE = GOLDEN / "metrics-host-v2-systemd.txt"
CAPTURED = GOLDEN / "host-v2-systemd.json"
"""Written by tests/integration/test_cgroup_v2.py."""
PLACES = {"/sys/fs/cgroup": "cgroup", "/proc": "proc"}


def laid_out(host: dict[str, Any], root: Path) -> CgroupReader:
    """Write the host's files below a folder, and give a reader of them."""
    for name, text in host["files"].items():
        for place, folder in PLACES.items():
            if name.startswith(f"{place}/"):
                path = root / folder / name.removeprefix(f"{place}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    (root / "block").mkdir()
    for number, device in host["devices"].items():
        (root / "block" / number).symlink_to(device)
    return CgroupReader(root / "cgroup", root / "proc", root / "block")


def container(told: dict[str, Any]) -> Container:
    """Give a container by what Docker told of it."""
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}
    return a_container(image="bb:latest", labels=labels, **told)


def test_the_page_of_a_captured_host_is_the_golden_one(tmp_path: Path) -> None:
    host = json.loads(CAPTURED.read_text())
    reader = laid_out(host, tmp_path)
    fleet = [container(told) for told in host["containers"]]
    view = View(
        containers=fleet,
        labels=("com.docker.compose.project", "com.docker.compose.service"),
        cadvisor=True,
        now=STARTED.timestamp(),
        marks={each.id: marks for each in fleet if (marks := reader.marks(each))},
        data_root=DataRoot(device=reader.device(os.makedev(254, 0)), inodes=131072, inodes_free=90000),
        machine=Machine(cpus=2, memory_bytes=1500 << 20),
    )
    page = render(ContainerCollector(reader, lambda: view).collect())
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_bytes(page)
    assert page.decode() == PAGE.read_text()
