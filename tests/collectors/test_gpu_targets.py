"""Which GPUs a request means on a host with two whole GPUs and one that is split."""

from __future__ import annotations

import dataclasses

import pytest

from collectors.gpu_facts import GpuRequest, GpuRequestSource
from collectors.gpu_targets import slots, targets
from tests.fakes.gpus import a_gpu, a_lost_gpu, a_split_gpu, gpu_uuid

ZERO, ONE, TWO = (gpu_uuid(index) for index in range(3))
SPLIT = a_split_gpu(2)
FIRST, SECOND = (mig.uuid for mig in SPLIT.instances)
GPUS = [SPLIT, a_lost_gpu(1), dataclasses.replace(a_gpu(0), minor=7)]
SLOTS = slots(GPUS)
EVERYTHING = {(ZERO, ""), (ONE, ""), (TWO, FIRST), (TWO, SECOND)}


def meant(*ids: str, source: GpuRequestSource = GpuRequestSource.DEVICE_REQUEST) -> set[tuple[str, str]]:
    found = targets((GpuRequest(source=source, ids=ids),), SLOTS)
    return {(target.gpu_uuid, target.mig_uuid) for target in found}


def test_all_are_all_and_the_first_two_are_those_with_the_lowest_numbers() -> None:
    for request, wanted in (
        (GpuRequest(source=GpuRequestSource.CDI, all=True), EVERYTHING),
        (GpuRequest(source=GpuRequestSource.CDI, count=2), {(ZERO, ""), (ONE, "")}),
    ):
        assert {(each.gpu_uuid, each.mig_uuid) for each in targets((request,), SLOTS)} == wanted


@pytest.mark.parametrize(
    ("id_", "wanted"),
    [
        ("0", {(ZERO, "")}),
        (ONE, {(ONE, "")}),
        ("GPU-00000001", {(ONE, "")}),
        ("GPU-0", set()),
        ("2", {(TWO, FIRST), (TWO, SECOND)}),
        ("2:1", {(TWO, SECOND)}),
        (f"{TWO}:0", {(TWO, FIRST)}),
        ("2:5", set()),
        (SECOND, {(TWO, SECOND)}),
        ("9", set()),
        ("-1", set()),
        ("\u0661", set()),
        ("9" * 5000, set()),
        ("everything", set()),
        ("", set()),
    ],
)
def test_an_id_is_an_index_a_uuid_or_its_beginning_or_a_mig_device(id_: str, wanted: set[tuple[str, str]]) -> None:
    assert meant(id_) == wanted


def test_a_raw_device_is_a_minor_number_not_an_index() -> None:
    assert meant("7", source=GpuRequestSource.DEVICE) == {(ZERO, "")}
    assert meant("0", source=GpuRequestSource.DEVICE) == set()


def test_what_is_asked_for_twice_is_given_once_by_what_came_first() -> None:
    asked = (
        GpuRequest(source=GpuRequestSource.DEVICE_REQUEST, ids=("0", ZERO)),
        GpuRequest(source=GpuRequestSource.DEVICE, ids=("7",)),
    )
    [target] = targets(asked, SLOTS)
    assert target.source is GpuRequestSource.DEVICE_REQUEST


def test_a_request_that_was_answered_means_something_else_once_the_gpus_are_others() -> None:
    asked = (GpuRequest(source=GpuRequestSource.CDI, ids=("0",)),)
    whole, split = slots([a_gpu(0)]), slots([a_split_gpu(0)])
    for _ in range(2):
        assert [(each.gpu_uuid, each.mig_uuid) for each in targets(asked, whole)] == [(ZERO, "")]
        assert [each.mig_uuid for each in targets(asked, split)] == [mig.uuid for mig in a_split_gpu(0).instances]
        assert targets(asked, slots([a_gpu(1)])) == ()
