"""A host of as many containers as wanted: a scripted engine, and cgroups that are plain files."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.host import Host
from tests.bench.subject import Subject
from tests.fakes.cgroup_tree import CgroupTree
from tests.lab.scripted_engine import ScriptedEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSIDE = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'


@contextmanager
def synthetic_host(containers: int, webhook_url: str) -> Iterator[tuple[Subject, Host]]:
    """
    Give a daemon that watches them, and the host that it is on.

    Their processes are all this one, which has an entry in /proc like others. Needs root.
    """
    with tempfile.TemporaryDirectory(prefix="shipkeeper-bench-") as name:
        folder = Path(name)
        tree = CgroupTree(folder / "host")
        within = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _INSIDE, str(tree.cgroups))
        with ScriptedEngine(folder / "docker.sock") as engine:
            for number in range(containers):
                _add(engine, tree, f"shop-web-{number:04}")
            with Subject(folder / "shipkeeper", engine.host, webhook_url, within=within) as subject:
                yield subject, Host(engine.host, within, str(tree.cgroups))


def _add(engine: ScriptedEngine, tree: CgroupTree, name: str) -> None:
    labels = {"com.docker.compose.project": "shop", "com.docker.compose.service": name}
    container = engine.add(name, labels=labels)
    known = container.inspected()
    container.inspect_extra = {
        "State": {**known["State"], "Pid": os.getpid()},
        "HostConfig": {**known["HostConfig"], "NetworkMode": "bridge"},
    }
    tree.add_v2(f"system.slice/docker-{container.id}.scope")
