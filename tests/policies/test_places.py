from __future__ import annotations

from dataclasses import replace

from policies import places
from tests.policies.build import facts, filesystem

DATA = filesystem(mountpoint="/data")
OS = filesystem(mountpoint="/", device=2, roles=("os-root", "containerd-root"))
GRAPH = facts().engine
CONTAINERD = replace(GRAPH, storage_driver="overlayfs", containerd_store=True)


def test_layers_of_dockers_own_storage_drivers_lie_in_the_data_root() -> None:
    assert places.of_layers(GRAPH, [OS, DATA]) == "/data"


def test_layers_that_containerd_keeps_lie_in_its_own_root() -> None:
    assert places.of_layers(CONTAINERD, [OS, DATA]) == "/"


def test_where_containerd_keeps_them_may_be_out_of_sight() -> None:
    assert places.of_layers(CONTAINERD, [DATA]) == ""


def test_a_driver_that_we_do_not_know_may_keep_them_anywhere() -> None:
    assert places.of_layers(replace(GRAPH, storage_driver="zfs"), [OS, DATA]) == ""


def test_without_a_known_data_root_there_is_no_place() -> None:
    assert places.of_layers(GRAPH, [OS]) == ""
