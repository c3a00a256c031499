from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from collectors.facts import ContainerState, Known, SourceName, Unknown
from collectors.gpu_facts import GpuRequest, GpuRequestSource, MigInstance
from policies.gpu_containers import ContainerGpus
from policies.gpu_refused import GpuRefused
from policies.nvml import NvmlUnavailable
from policies.policy import ConditionState, Severity
from tests.policies.build import HOUR, NOW, conditions, container, exited, facts, state
from tests.policies.build_gpu import ALL_GPUS, faulty, gpu, gpus, hold, reserved, use, uuid

if TYPE_CHECKING:
    from collectors.facts import Facts

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
LOST, MISSING, REFUSED = "container-gpu-lost", "container-gpu-missing", "container-gpu-refused"
JUDGE = ContainerGpus()
TRAINER = container("trainer", gpu_requests=(ALL_GPUS,), labels={"shipkeeper.owner": "vision"})
NO_DRIVER = 'could not select device driver "" with capabilities: [[gpu]]'


def asking(*ids: str) -> GpuRequest:
    return GpuRequest(source=GpuRequestSource.DEVICE_REQUEST, ids=ids)


def test_a_container_whose_reserved_gpu_is_lost_has_lost_it() -> None:
    world = facts(
        containers=[TRAINER],
        gpus=gpus(gpu(0), faulty(2), use=(use(TRAINER, 0), reserved(TRAINER, 2))),
        owner_label="shipkeeper.owner",
    )
    [condition] = conditions(JUDGE, world, LOST)
    assert (condition.state, condition.severity) == (BAD, Severity.WARNING)
    assert condition.reason == "GPU 2 cannot be reached"
    assert condition.details == ("Owner: vision",)


def test_a_container_that_was_last_seen_on_a_gpu_has_lost_it_though_it_never_asked_for_it() -> None:
    privileged = container("lab", privileged=True)
    world = facts(containers=[privileged], gpus=gpus(faulty(2), last_held=(hold(privileged, 2),)))
    assert state(JUDGE, world, LOST) is BAD


def test_a_gpu_that_others_have_is_not_lost_to_this_one() -> None:
    other = container("other")
    world = facts(containers=[other], gpus=gpus(faulty(2), use=(reserved(TRAINER, 2),)))
    assert state(JUDGE, world, LOST) is OK


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (uuid(2), OK),
        ("GPU-00000002", OK),
        (uuid(5), BAD),
        ("5", OK),
        ("MIG-1", OK),
        ("MIG-9", BAD),
        ("0:1", OK),
    ],
)
def test_only_what_was_asked_for_by_uuid_can_be_known_to_have_vanished(asked: str, expected: ConditionState) -> None:
    part = MigInstance(uuid="MIG-1", gpu_instance_id=1, compute_instance_id=0, profile="1g.10gb")
    world = facts(
        containers=[container("job", gpu_requests=(asking(asked),))],
        gpus=gpus(replace(gpu(2), mig=True, instances=(part,))),
    )
    assert state(JUDGE, world, LOST) is expected


def test_while_a_gpu_cannot_be_read_no_mig_device_is_known_to_have_vanished() -> None:
    world = facts(containers=[container("job", gpu_requests=(asking("MIG-9"),))], gpus=gpus(gpu(1), faulty(2)))
    assert state(JUDGE, world, LOST) is OK


def test_a_container_that_ended_has_lost_nothing() -> None:
    ended = exited("trainer", ago=HOUR, gpu_requests=(ALL_GPUS,))
    world = facts(containers=[ended], gpus=gpus(faulty(2), use=(reserved(ended, 2),)))
    assert state(JUDGE, world, LOST) is OK


def test_an_image_for_gpus_that_was_started_without_one_is_told_where_there_are_some() -> None:
    plain = container("vllm", gpu_image=True)
    [condition] = conditions(JUDGE, facts(containers=[plain], gpus=gpus(gpu())), MISSING)
    assert (condition.state, condition.severity) == (BAD, Severity.INFO)
    assert condition.reason == "app:1 was made for NVIDIA GPUs, and it was started without --gpus"


@pytest.mark.parametrize(
    "changes", [{"gpu_image": False}, {"privileged": True}, {"gpu_requests": (ALL_GPUS,)}, {"state": "exited"}]
)
def test_a_container_that_has_or_needs_no_gpu_is_well_without(changes: dict[str, object]) -> None:
    if "state" in changes:
        changes = {"state": ContainerState.EXITED}
    plain = container("vllm", **{"gpu_image": True, **changes})
    assert state(JUDGE, facts(containers=[plain], gpus=gpus(gpu())), MISSING) is OK


def test_on_a_host_without_gpus_an_image_for_them_is_no_mistake() -> None:
    assert state(JUDGE, facts(containers=[container("vllm", gpu_image=True)]), MISSING) is OK


def test_a_container_that_computes_on_a_gpu_lacks_none() -> None:
    lab = container("lab", gpu_image=True)
    assert state(JUDGE, facts(containers=[lab], gpus=gpus(gpu(), use=(use(lab),))), MISSING) is OK


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NO_DRIVER, "has no runtime for GPUs"),
        ("unknown or invalid runtime name: nvidia", "has no runtime for GPUs"),
        ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0", "no CDI device of that name"),
        ("CDI device injection failed: permission denied", "could not hand over the CDI device"),
        ("OCI runtime: nvidia-container-cli: initialization error: nvml error", "NVIDIA Container Toolkit could not"),
    ],
)
def test_a_start_that_failed_for_want_of_a_gpu_is_told_with_its_cause(error: str, words: str) -> None:
    failed = container("vllm", state=ContainerState.CREATED, started_at=None, exit_code=128, error=error)
    [condition] = conditions(GpuRefused(), facts(containers=[failed]), REFUSED)
    assert condition.state is BAD
    assert words in condition.reason
    assert condition.details == (error,)


def test_another_failure_and_a_start_that_went_well_in_the_end_are_no_refusal() -> None:
    other = container("web", state=ContainerState.CREATED, error="port is already allocated")
    assert state(GpuRefused(), facts(containers=[other]), REFUSED) is OK
    assert state(GpuRefused(), facts(containers=[container("vllm", error=NO_DRIVER)]), REFUSED) is OK


@pytest.mark.parametrize("alert", [LOST, MISSING, REFUSED])
def test_muted_containers_are_well(alert: str) -> None:
    quiet = container(
        "quiet", gpu_image=True, state=ContainerState.CREATED, error=NO_DRIVER, labels={"shipkeeper.alerts": "off"}
    )
    policy = GpuRefused() if alert == REFUSED else JUDGE
    assert state(policy, facts(containers=[quiet], gpus=gpus(gpu())), alert) is OK


def gpus_unread(**changes: object) -> Facts:
    world = facts(**changes)
    why = Unknown("NVML: driver/library version mismatch", NOW - HOUR)
    return replace(world, sources={**world.sources, SourceName.GPU: why})


def test_gpus_that_cannot_be_read_are_told_where_some_were_seen() -> None:
    [condition] = conditions(NvmlUnavailable(), gpus_unread(gpus=gpus(seen=8)), "nvml-unavailable")
    assert condition.state is BAD
    assert condition.reason == "NVML: driver/library version mismatch, since 2026-11-23 15:02 UTC"
    assert condition.details == ()


def test_gpus_that_cannot_be_read_are_told_where_containers_asked_for_some() -> None:
    crowd = [container(f"c{number:02}", gpu_requests=(ALL_GPUS,)) for number in range(12)]
    [condition] = conditions(NvmlUnavailable(), gpus_unread(containers=crowd), "nvml-unavailable")
    assert condition.state is BAD
    assert condition.details[0].startswith("Containers that asked for a GPU: c00, c01, ")
    assert condition.details[0].endswith("c09 and 2 more")


def test_where_nobody_knows_of_gpus_it_is_neither_told_nor_called_well() -> None:
    assert state(NvmlUnavailable(), gpus_unread(), "nvml-unavailable") is BETWEEN


def test_nvml_that_answers_is_well_and_before_the_first_look_nothing_is_said() -> None:
    world = facts()
    assert state(NvmlUnavailable(), world, "nvml-unavailable") is OK
    early = replace(world, sources={SourceName.DOCKER: Known(NOW)})
    assert conditions(NvmlUnavailable(), early, "nvml-unavailable") == []
