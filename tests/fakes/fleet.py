"""Hosts full of containers, for the golden page and the benchmark."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import ContainerState, Health, HealthStatus, RestartPolicy
from tests.fakes.cgroup_tree import STARTED, CgroupTree, a_container

if TYPE_CHECKING:
    from pathlib import Path

    from collectors.facts import Container

COMPOSE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}


def mixed_fleet() -> tuple[Container, ...]:
    """Give one container of every sort: compose and healthy, odd names, host network, exited, never started."""
    return (
        a_container(
            1,
            labels={**COMPOSE, "team": "store \u00e9", "shipkeeper.expect": "running"},
            size_bytes=4096,
            health=Health(HealthStatus.HEALTHY, 0, "ok"),
            restart_count=2,
            runtime="runc",
        ),
        a_container(2, name='odd"\\name', image="registry:5000/odd\nimage", network_mode="host"),
        a_container(
            3,
            name="etl",
            state=ContainerState.EXITED,
            pid=0,
            exit_code=137,
            finished_at=STARTED + timedelta(minutes=30),
            restart_policy=RestartPolicy("on-failure", 5),
        ),
        a_container(4, name="fresh", state=ContainerState.CREATED, pid=0, started_at=None),
    )


def running_fleet(root: Path, count: int) -> tuple[CgroupTree, tuple[Container, ...]]:
    """Write the v2 cgroups and processes of `count` running containers under `root`."""
    tree = CgroupTree(root)
    fleet = tuple(a_container(number, labels=COMPOSE) for number in range(count))
    for container in fleet:
        tree.add_v2(f"system.slice/docker-{container.id}.scope")
        tree.add_process(container.pid)
    return tree, fleet
