from __future__ import annotations

from dataclasses import replace

from policies import places
from tests.policies.build import facts, filesystem

DATA = filesystem(mountpoint="/data")
OS = filesystem(mountpoint="/", device=2, roles=("os-root", "containerd-root"))


def test_layers_of_dockers_own_storage_drivers_lie_in_the_data_root() -> None:
    assert places.of_layers(facts(filesystems=[OS, DATA])) == "/data"


def test_where_containerd_may_keep_them_elsewhere_the_place_is_not_known() -> None:
    world = facts(filesystems=[OS, DATA])
    containerd = replace(world.engine, storage_driver="overlayfs")
    assert places.of_layers(replace(world, engine=containerd)) == ""


def test_one_filesystem_for_both_is_the_place_whoever_keeps_them() -> None:
    world = facts(filesystems=[filesystem(roles=("containerd-root", "data-root"))])
    assert places.of_layers(replace(world, engine=replace(world.engine, storage_driver="overlayfs"))) == "/"


def test_without_a_known_data_root_there_is_no_place() -> None:
    assert places.of_layers(facts(filesystems=[OS])) == ""
