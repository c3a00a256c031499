"""Images that stay on the system's disk when the data-root was moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collectors.facts import Engine, EngineState, Filesystem
from policies.policy import ConditionState
from policies.store_place import StorePlace
from tests.policies.build import GIB, NOW, conditions, facts, filesystem

ALERT = "images-on-system-disk"
ENGINE = Engine(
    state=EngineState.UP, since=NOW, containerd_store=True, storage_driver="overlayfs", data_root="/data/docker"
)
SYSTEM = filesystem(available=18 * GIB, roles=("os-root", "containerd-root"))
DATA = filesystem(mountpoint="/data", roles=("data-root", "volumes", "logs"))


def test_images_left_on_the_systems_disk_are_told() -> None:
    [condition] = conditions(StorePlace(), facts(engine=ENGINE, filesystems=[SYSTEM, DATA]), ALERT)
    assert condition.state is ConditionState.BAD
    assert condition.reason == (
        "images live on / (containerd's folder, 18.0 GiB left), not in the data-root /data/docker"
    )


@pytest.mark.parametrize(
    ("engine", "filesystems"),
    [
        pytest.param(ENGINE, [filesystem(roles=("os-root", "data-root", "containerd-root"))], id="all-on-one-disk"),
        pytest.param(
            ENGINE,
            [filesystem(roles=("os-root",)), replace(DATA, roles=("data-root", "containerd-root"))],
            id="moved-both",
        ),
        pytest.param(
            replace(ENGINE, containerd_store=False, storage_driver="overlay2"), [SYSTEM, DATA], id="graph-driver"
        ),
    ],
)
def test_where_images_lie_as_meant_all_is_well(engine: Engine, filesystems: list[Filesystem]) -> None:
    [condition] = conditions(StorePlace(), facts(engine=engine, filesystems=filesystems), ALERT)
    assert condition.state is ConditionState.OK


def test_while_a_place_is_not_known_nothing_is_said() -> None:
    unknown = facts(engine=ENGINE, filesystems=[replace(SYSTEM, roles=("os-root",)), DATA])
    assert conditions(StorePlace(), unknown, ALERT) == []
