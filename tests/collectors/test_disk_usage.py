"""What Docker says takes space is read in every shape in which it says so, and never made up."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.disk_usage import TYPES, parse
from collectors.engine_errors import EngineProtocolError
from collectors.facts import DiskKind, KindUsage, VolumeUsage
from tests.collectors.test_engine_parse import any_json, spoil
from tests.fakes.clock import NOW

Json = dict[str, Any]

IMAGES: list[Json] = [
    {"Id": "sha256:a", "Containers": 2, "SharedSize": 100, "Size": 1000},
    {"Id": "sha256:b", "Containers": 0, "SharedSize": 100, "Size": 700},
]
CONTAINERS: list[Json] = [
    {"Id": "a", "State": "running", "SizeRw": 40, "SizeRootFs": 1040},
    {"Id": "b", "State": "exited", "SizeRw": 2},
    {"Id": "c", "State": "running"},
]
VOLUMES: list[Json] = [
    {
        "Name": "a",
        "Driver": "local",
        "Options": None,
        "Mountpoint": "/v/a/_data",
        "UsageData": {"RefCount": 1, "Size": 5},
    },
    {
        "Name": "b",
        "Driver": "local",
        "Options": {},
        "Mountpoint": "/v/b/_data",
        "UsageData": {"RefCount": 0, "Size": 8},
    },
]
BUILD_CACHE: list[Json] = [
    {"ID": "a", "InUse": False, "Shared": False, "Size": 300},
    {"ID": "b", "InUse": True, "Shared": False, "Size": 10},
    {"ID": "c", "InUse": False, "Shared": True, "Size": 600},
]
LEGACY: Json = {
    "LayersSize": 1600,
    "Images": IMAGES,
    "Containers": CONTAINERS,
    "Volumes": VOLUMES,
    "BuildCache": BUILD_CACHE,
}
SUMMARY: Json = {
    "ImageUsage": {"ActiveCount": 1, "TotalCount": 2, "TotalSize": 1600, "Reclaimable": 600},
    "ContainerUsage": {"ActiveCount": 2, "TotalCount": 3, "TotalSize": 42, "Reclaimable": 2},
    "VolumeUsage": {"ActiveCount": 1, "TotalCount": 2, "TotalSize": 13, "Reclaimable": 8},
    "BuildCacheUsage": {"ActiveCount": 1, "TotalCount": 3, "TotalSize": 310, "Reclaimable": 300},
}
VERBOSE: Json = {
    "ImageUsage": SUMMARY["ImageUsage"] | {"Items": IMAGES},
    "ContainerUsage": SUMMARY["ContainerUsage"] | {"Items": CONTAINERS},
    "VolumeUsage": SUMMARY["VolumeUsage"] | {"Items": VOLUMES},
    "BuildCacheUsage": SUMMARY["BuildCacheUsage"] | {"Items": BUILD_CACHE},
}
"""Each shape tells of the same host."""


def read(answer: object, kind: DiskKind) -> KindUsage:
    """Read the figures of one kind."""
    return parse(answer, [kind], NOW)[kind]


def figures(usage: KindUsage) -> tuple[int | None, ...]:
    return usage.size_bytes, usage.reclaimable_bytes, usage.count, usage.active


@pytest.mark.parametrize(
    "answer", [LEGACY, SUMMARY, VERBOSE, LEGACY | SUMMARY], ids=["1.51", "1.52", "verbose", "both"]
)
def test_every_shape_gives_the_same_figures(answer: Json) -> None:
    assert {kind: figures(usage) for kind, usage in parse(answer, TYPES, NOW).items()} == {
        DiskKind.IMAGES: (1600, 600, 2, 1),
        DiskKind.CONTAINER_LAYERS: (42, 2, 3, 2),
        DiskKind.VOLUMES: (13, 8, 2, 1),
        DiskKind.BUILD_CACHE: (310, 300, 3, 1),
    }


@pytest.mark.parametrize("answer", [LEGACY, VERBOSE], ids=["1.51", "verbose"])
def test_layers_are_told_one_by_one_where_docker_does(answer: Json) -> None:
    assert read(answer, DiskKind.CONTAINER_LAYERS).layers == {"a": 40, "b": 2, "c": 0}
    assert read(SUMMARY, DiskKind.CONTAINER_LAYERS).layers == {}


@pytest.mark.parametrize("answer", [LEGACY, VERBOSE], ids=["1.51", "verbose"])
def test_volumes_are_told_one_by_one_where_docker_does(answer: Json) -> None:
    assert read(answer, DiskKind.VOLUMES).volumes == (
        VolumeUsage(path="/v/a/_data", size_bytes=5, unused=False, name="a", references=1),
        VolumeUsage(path="/v/b/_data", size_bytes=8, unused=True, name="b", references=0),
    )
    assert read(SUMMARY, DiskKind.VOLUMES).volumes == ()


def test_a_volume_is_told_with_its_time() -> None:
    measured = {"Name": "a", "Driver": "local", "UsageData": {"Size": 5, "RefCount": 1}}
    answer = {"Volumes": [measured | {"CreatedAt": NOW.isoformat()}]}
    assert [each.created_at for each in read(answer, DiskKind.VOLUMES).volumes] == [NOW]


def test_a_null_list_is_an_empty_one_and_an_absent_one_tells_nothing() -> None:
    nothing = dict.fromkeys(["Images", "Containers", "Volumes", "BuildCache"])
    assert {figures(each) for each in parse(nothing | {"LayersSize": 0}, TYPES, NOW).values()} == {(0, 0, 0, 0)}
    assert parse({"LayersSize": 7}, TYPES, NOW) == {}


def test_only_what_was_asked_for_is_read() -> None:
    spoilt = LEGACY | {"Containers": "not asked for"}
    assert list(parse(spoilt, [DiskKind.IMAGES], NOW)) == [DiskKind.IMAGES]


@pytest.mark.parametrize("unknown", [-1, -4096])
def test_what_docker_could_not_measure_is_in_no_sum(unknown: int) -> None:
    images = read(LEGACY | {"LayersSize": unknown}, DiskKind.IMAGES)
    assert (images.size_bytes, images.reclaimable_bytes) == (None, 600)
    shared = [IMAGES[0], IMAGES[1] | {"SharedSize": unknown}]
    assert read(LEGACY | {"Images": shared}, DiskKind.IMAGES).reclaimable_bytes is None
    layers = read(
        LEGACY | {"Containers": [*CONTAINERS, {"State": "dead", "SizeRw": unknown}]}, DiskKind.CONTAINER_LAYERS
    )
    assert figures(layers) == (None, None, 4, 2)
    cache = read(LEGACY | {"BuildCache": [*BUILD_CACHE, {"InUse": True, "Size": unknown}]}, DiskKind.BUILD_CACHE)
    assert figures(cache) == (None, 300, 4, 2)
    for key, kind in (("ImageUsage", DiskKind.IMAGES), ("VolumeUsage", DiskKind.VOLUMES)):
        assert read({key: {"TotalSize": unknown, "TotalCount": 1}}, kind).size_bytes is None


def test_images_of_which_docker_does_not_know_who_uses_them_may_all_be_in_use() -> None:
    images = read(LEGACY | {"Images": [IMAGES[0] | {"Containers": -1}, IMAGES[1]]}, DiskKind.IMAGES)
    assert figures(images) == (1600, None, 2, None)


@pytest.mark.parametrize("usage", [{"RefCount": 1, "Size": -1}, None], ids=["-1", "null"])
def test_a_volume_that_docker_keeps_and_did_not_measure_leaves_the_sum_unknown(usage: Json | None) -> None:
    volumes = read(LEGACY | {"Volumes": [*VOLUMES, VOLUMES[0] | {"UsageData": usage}]}, DiskKind.VOLUMES)
    assert volumes.size_bytes is None
    assert len(volumes.volumes) == 2


@pytest.mark.parametrize("elsewhere", [{"Driver": "nfs"}, {"Options": {"type": "nfs", "device": ":/export"}}])
def test_a_volume_that_lies_elsewhere_is_not_dockers_to_measure(elsewhere: Json) -> None:
    theirs = VOLUMES[0] | elsewhere | {"UsageData": {"RefCount": 0, "Size": -1}}
    assert figures(read(LEGACY | {"Volumes": [*VOLUMES, theirs]}, DiskKind.VOLUMES)) == (13, 8, 3, 1)


@given(answer=any_json)
def test_any_json_is_read_or_refused(answer: object) -> None:
    with contextlib.suppress(EngineProtocolError):
        parse(answer, TYPES, NOW)


@given(replacement=any_json, data=st.data(), shape=st.sampled_from([LEGACY, SUMMARY, VERBOSE]))
def test_an_answer_spoiled_anywhere_is_read_or_refused_and_no_figure_is_negative(
    replacement: object, data: st.DataObject, shape: Json
) -> None:
    with contextlib.suppress(EngineProtocolError):
        for usage in parse(spoil(shape, replacement, data), TYPES, NOW).values():
            assert all(figure is None or figure >= 0 for figure in figures(usage))
