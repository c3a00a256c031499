from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import DiskKind, KindUsage, VolumeUsage
from policies.disk_causes import causes
from tests.policies.build import GIB, NOW, facts, filesystem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from collectors.facts import DiskUse, Filesystem

GRAPH = replace(facts().engine, data_root="/data")
CONTAINERD = replace(GRAPH, storage_driver="overlayfs", containerd_store=True)
ONE = [filesystem(roles=("data-root", "volumes", "logs", "os-root"))]
TWO = [
    filesystem(mountpoint="/data", device=2, roles=("data-root", "volumes", "logs")),
    filesystem(roles=("os-root", "containerd-root")),
]
KINDS = (DiskKind.IMAGES, DiskKind.CONTAINER_LAYERS, DiskKind.VOLUMES, DiskKind.BUILD_CACHE)


def usage(kind: DiskKind, size: int | None, reclaimable: int | None = 0, *volumes: VolumeUsage) -> KindUsage:
    return KindUsage(
        kind=kind, at=NOW, size_bytes=size, reclaimable_bytes=reclaimable, count=1, active=1, volumes=volumes
    )


def told(images: int = 20, layers: int = 3, volumes: int = 5, cache: int = 4) -> dict[DiskKind, KindUsage]:
    """Give what Docker tells, in GiB."""
    return {kind: usage(kind, size * GIB) for kind, size in zip(KINDS, (images, layers, volumes, cache), strict=True)}


def sizes(uses: Iterable[DiskUse]) -> dict[tuple[str, str], float]:
    """Give the sizes in GiB by kind and mount point."""
    return {(use.kind.value, use.mountpoint): use.size_bytes / GIB for use in uses}


def test_what_nothing_explains_is_the_rest() -> None:
    assert sizes(causes(GRAPH, ONE, told(), 2 * GIB)) == {
        ("images", "/"): 20,
        ("container_layers", "/"): 3,
        ("volumes", "/"): 5,
        ("build_cache", "/"): 4,
        ("container_logs", "/"): 2,
        ("other", "/"): 40 - 34,
    }


def test_each_kind_lies_where_its_data_is() -> None:
    found = sizes(causes(CONTAINERD, TWO, told(images=27), 2 * GIB))
    assert {key for key in found if key[0] != "other"} == {
        ("images", "/"),
        ("container_layers", "/"),
        ("build_cache", "/"),
        ("volumes", "/data"),
        ("container_logs", "/data"),
    }
    assert found["other", "/"] == 40 - 27
    assert found["other", "/data"] == 40 - 7


def test_containerds_figure_of_images_holds_layers_and_build_cache_too() -> None:
    found = sizes(causes(CONTAINERD, TWO, told(images=27), 0))
    assert found["images", "/"] == 27 - 3 - 4
    part = told(images=27) | {DiskKind.BUILD_CACHE: usage(DiskKind.BUILD_CACHE, None)}
    assert ("images", "/") not in sizes(causes(CONTAINERD, TWO, part, 0))
    assert sizes(causes(CONTAINERD, TWO, told(images=1), 0))["images", "/"] == 0


@pytest.mark.parametrize("missing", KINDS)
def test_without_one_of_its_parts_there_is_no_rest(missing: DiskKind) -> None:
    whole = told()
    for part in ({missing: usage(missing, None)}, None):
        known = whole | part if part else {kind: each for kind, each in whole.items() if kind is not missing}
        found = sizes(causes(GRAPH, ONE, known, 0))
        assert not [kind for kind, _ in found if kind in {"other", missing}]
        assert len(found) == 4
    assert ("other", "/") not in sizes(causes(GRAPH, ONE, whole, None))


def test_a_rest_is_known_where_only_another_disks_part_is_missing() -> None:
    known = told(images=27) | {DiskKind.IMAGES: usage(DiskKind.IMAGES, None)}
    found = sizes(causes(CONTAINERD, TWO, known, 0))
    assert [key for key in found if key[0] == "other"] == [("other", "/data")]


def test_more_than_is_in_use_leaves_no_rest() -> None:
    assert sizes(causes(GRAPH, ONE, told(images=50), 0))["other", "/"] == 0


def test_what_has_no_known_place_is_told_without_one_and_may_be_the_rest_of_any_disk() -> None:
    found = sizes(causes(CONTAINERD, [TWO[0]], told(images=27), 0))
    assert found["images", ""] == 20
    assert not [kind for kind, _ in found if kind == "other"]
    assert {mountpoint for _, mountpoint in sizes(causes(GRAPH, [], told(), None))} == {""}


def test_a_volume_with_a_filesystem_of_its_own_is_told_there() -> None:
    own = filesystem(mountpoint="/data/volumes/db/_data", device=3, roles=("volume",))
    volumes = usage(
        DiskKind.VOLUMES,
        9 * GIB,
        2 * GIB,
        VolumeUsage(path="/data/volumes/db/_data", size_bytes=6 * GIB, unused=False),
        VolumeUsage(path="/data/volumes/db2/_data", size_bytes=1 * GIB, unused=False),
        VolumeUsage(path="/data/volumes/old/_data", size_bytes=2 * GIB, unused=True),
    )
    uses = causes(GRAPH, [*TWO, own], told() | {DiskKind.VOLUMES: volumes}, 0)
    found = {use.mountpoint: (use.size_bytes, use.reclaimable_bytes) for use in uses if use.kind is DiskKind.VOLUMES}
    assert found == {"/data": (3 * GIB, 2 * GIB), "/data/volumes/db/_data": (6 * GIB, 0)}
    assert sizes(uses)["other", "/data/volumes/db/_data"] == 40 - 6


figures = st.none() | st.integers(0, 1 << 50)


@given(
    known=st.fixed_dictionaries(
        {}, optional={kind: st.builds(usage, st.just(kind), figures, figures) for kind in KINDS}
    ),
    logs=figures,
    filesystems=st.sampled_from([ONE, TWO, []]),
    engine=st.sampled_from([GRAPH, CONTAINERD]),
)
def test_no_figure_is_negative_and_no_place_has_one_twice(
    known: dict[DiskKind, KindUsage], logs: int | None, filesystems: list[Filesystem], engine: object
) -> None:
    uses = causes(GRAPH if engine is GRAPH else CONTAINERD, filesystems, known, logs)
    assert all(use.size_bytes >= 0 for use in uses)
    assert len({(use.kind, use.mountpoint) for use in uses}) == len(uses)
    for use in uses:
        if use.kind is DiskKind.OTHER:
            [home] = [each for each in filesystems if each.mountpoint == use.mountpoint]
            here = sum(each.size_bytes for each in uses if each.mountpoint == use.mountpoint)
            assert here >= home.used_bytes
