from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.gpu_facts import GpuFault
from policies.gpu_devices import GpuDevices
from policies.policy import ConditionState, Severity
from tests.policies.build import GIB, compose, conditions, container, facts, state
from tests.policies.build_gpu import faulty, gpu, gpus, hold, nameless, reserved, use, uuid, xid

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
LOST, THERMAL, ECC = "gpu-lost", "gpu-thermal", "gpu-ecc"
OFF_THE_BUS = "ROBUST_CHANNEL_GPU_HAS_FALLEN_OFF_THE_BUS"
JUDGE = GpuDevices()
TRAINER = container("trainer", labels={**compose("nlp", "trainer"), "shipkeeper.owner": "vision"})


@pytest.mark.parametrize("fault", GpuFault)
def test_a_gpu_that_cannot_be_read_is_lost(fault: GpuFault) -> None:
    [lost, count] = conditions(JUDGE, facts(gpus=gpus(faulty(2, fault))), LOST)
    assert (lost.state, lost.severity, lost.subject.key, lost.subject.name) == (
        BAD,
        Severity.CRITICAL,
        uuid(2),
        "GPU 2",
    )
    assert count.state is OK


def test_a_lost_gpu_names_who_was_on_it_the_error_that_led_to_it_and_the_card() -> None:
    lost = faulty(xids=(xid(13), xid(79), xid(45)))
    notebook = container("notebook")
    world = facts(
        containers=[TRAINER, notebook],
        gpus=gpus(lost, use=(reserved(TRAINER), reserved(notebook)), last_held=(hold(TRAINER, size=61 * GIB),)),
        owner_label="shipkeeper.owner",
    )
    [condition, _] = conditions(JUDGE, world, LOST)
    assert condition.details == (
        "Containers on it: trainer (had 61.0 GiB, compose project nlp, owner vision), notebook (reserved)",
        f"Its last error: XID 79, the GPU has fallen off the bus ({OFF_THE_BUS}), at 2026-11-23 16:01 UTC",
        f"NVIDIA H100 80GB HBM3 · PCI 00000000:62:00.0 · {uuid(2)}",
    )


def test_fewer_gpus_than_were_seen_since_the_machine_started_is_a_fault_though_the_others_are_well() -> None:
    found = conditions(JUDGE, facts(gpus=gpus(gpu(0), seen=2)), LOST)
    assert [(each.subject.name, each.state) for each in found] == [("GPU 0", OK), ("A GPU", BAD)]
    assert found[1].reason == "1 of 2 are listed"


def test_gpus_that_never_told_their_uuid_are_told_apart_by_their_numbers() -> None:
    found = conditions(JUDGE, facts(gpus=gpus(nameless(0), nameless(1))), LOST)
    assert [(each.subject.key, each.state) for each in found[:2]] == [("#0", BAD), ("#1", BAD)]


def test_no_gpus_where_there_were_some_is_a_fault() -> None:
    assert state(JUDGE, facts(gpus=gpus(seen=8)), LOST) is BAD


def test_a_host_without_gpus_is_not_judged() -> None:
    assert list(JUDGE.decide(facts())) == []


@pytest.mark.parametrize(
    ("now", "expected"), [(82.0, BAD), (87.0, BAD), (81.9, BETWEEN), (77.1, BETWEEN), (77.0, OK), (40.0, OK)]
)
def test_heat_is_judged_by_the_margin_to_the_devices_own_limit(now: float, expected: ConditionState) -> None:
    world = facts(gpus=gpus(gpu(temperature_celsius={"gpu": now}, slowdown_celsius=87.0 if now < 87 else 88.0)))
    assert state(JUDGE, world, THERMAL) is expected


@pytest.mark.parametrize("limit", [None, 0.0, 79.0, 80.0])
def test_without_a_margin_that_makes_sense_heat_is_not_judged(limit: float | None) -> None:
    world = facts(gpus=gpus(gpu(temperature_celsius={"gpu": 80.0}, slowdown_celsius=limit)))
    assert conditions(JUDGE, world, THERMAL) == []


def test_a_gpu_that_the_hardware_slows_down_for_heat_is_hot_whatever_its_margin_is() -> None:
    slowed = gpu(temperature_celsius={"gpu": 90.0}, slowdown_celsius=None, throttle_reasons=frozenset({"hw_thermal"}))
    [condition] = conditions(JUDGE, facts(gpus=gpus(slowed)), THERMAL)
    assert (condition.state, condition.severity) == (BAD, Severity.WARNING)
    assert condition.reason == "90 °C, the hardware slows it down"


@pytest.mark.parametrize(("limit", "expected"), [(None, OK), (0.0, OK), (79.0, BETWEEN), (80.0, BETWEEN)])
def test_a_gpu_without_a_margin_is_cool_again_once_the_hardware_no_longer_slows_it_down(
    limit: float | None, expected: ConditionState
) -> None:
    calm = gpu(temperature_celsius={"gpu": 80.0}, slowdown_celsius=limit, throttle_reasons=frozenset({"idle"}))
    assert state(JUDGE, facts(gpus=gpus(calm)), THERMAL) is expected


@pytest.mark.parametrize(("slowdown", "shutdown"), [(95.0, 92.0), (90.0, 92.0), (None, 92.0)])
def test_at_the_limit_at_which_it_switches_off_it_is_critical(slowdown: float | None, shutdown: float) -> None:
    hot = gpu(temperature_celsius={"gpu": 92.0}, slowdown_celsius=slowdown, shutdown_celsius=shutdown)
    [condition] = conditions(JUDGE, facts(gpus=gpus(hot)), THERMAL)
    assert (condition.state, condition.severity) == (BAD, Severity.CRITICAL)
    assert condition.reason == "92 °C, at the limit at which it switches itself off"


@pytest.mark.parametrize(
    ("readings", "severity", "words"),
    [
        ({"ecc_errors": {("uncorrected", "volatile"): 2}}, Severity.CRITICAL, "2 uncorrectable errors since the last"),
        ({"remap_failure": True}, Severity.CRITICAL, "a row could not be remapped"),
        ({"remap_pending": True}, Severity.WARNING, "rows wait for a reset to be remapped"),
        ({"retired_pages_pending": True}, Severity.WARNING, "pages wait for a reset to be retired"),
        ({"remap_failure": True, "remap_pending": True}, Severity.CRITICAL, "a row could not be remapped; rows wait"),
    ],
)
def test_failing_memory_is_told_with_its_kind(readings: dict[str, Any], severity: Severity, words: str) -> None:
    [condition] = conditions(JUDGE, facts(gpus=gpus(gpu(**readings))), ECC)
    assert (condition.state, condition.severity) == (BAD, severity)
    assert condition.reason.startswith(words)


def test_errors_of_the_past_and_corrected_ones_are_no_fault() -> None:
    old = {("uncorrected", "aggregate"): 9, ("corrected", "volatile"): 9, ("uncorrected", "volatile"): 0}
    assert state(JUDGE, facts(gpus=gpus(gpu(ecc_errors=old))), ECC) is OK


def test_a_gpu_without_ecc_is_not_judged_by_it() -> None:
    assert conditions(JUDGE, facts(gpus=gpus(gpu())), ECC) == []


def test_containers_are_named_largest_first_and_counted_beyond_ten() -> None:
    crowd = [container(f"c{number:02}") for number in range(12)]
    uses = tuple(use(each, memory_bytes=(12 - number) * GIB) for number, each in enumerate(crowd))
    [condition, _] = conditions(JUDGE, facts(containers=crowd, gpus=gpus(faulty(), use=uses)), LOST)
    assert condition.details[0].startswith("Containers on it: c00 (12.0 GiB), c01 (11.0 GiB), ")
    assert condition.details[0].endswith("c09 (3.0 GiB) and 2 more")


def test_where_processes_cannot_be_matched_nobody_says_that_no_container_uses_it() -> None:
    [lost, _] = conditions(JUDGE, facts(gpus=gpus(faulty())), LOST)
    assert lost.details[0] == "No container is known to use it."
    [lost, _] = conditions(JUDGE, facts(gpus=gpus(faulty(), attributable=False)), LOST)
    assert lost.details[0] == "Which containers use it is not known."


def test_memory_over_several_mig_devices_is_one_sum_and_one_unknown_part_makes_it_unknown() -> None:
    parts = (use(TRAINER, mig_uuid="MIG-1"), use(TRAINER, mig_uuid="MIG-2", memory_bytes=GIB))
    world = facts(containers=[TRAINER], gpus=gpus(faulty(), use=parts))
    assert "trainer (21.0 GiB, compose" in conditions(JUDGE, world, LOST)[0].details[0]
    unknown = replace(world, gpus=gpus(faulty(), use=(parts[0], replace(parts[1], memory_bytes=None))))
    assert "trainer (memory unknown, compose" in conditions(JUDGE, unknown, LOST)[0].details[0]


@pytest.mark.parametrize("knobs", [{"margin_celsius": 0.0}, {"margin_celsius": float("nan")}, {"clear_celsius": 4.0}])
def test_margins_that_make_no_sense_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="celsius must be"):
        GpuDevices(**knobs)


@given(st.floats(0, 150), st.none() | st.floats(-50, 150))
def test_the_alert_never_jumps_from_bad_to_well_within_the_margins(now: float, limit: float | None) -> None:
    world = facts(gpus=gpus(gpu(temperature_celsius={"gpu": now}, slowdown_celsius=limit)))
    for condition in conditions(JUDGE, world, THERMAL):
        assert limit is not None
        margin = limit - now
        assert margin > 0
        assert (condition.state is BAD) == (margin <= 5)
        assert (condition.state is OK) == (margin >= 10)


def test_an_error_of_last_week_is_not_the_cause_of_todays_loss() -> None:
    [condition, _] = conditions(JUDGE, facts(gpus=gpus(faulty(xids=(xid(79, ago=timedelta(days=7)),)))), LOST)
    assert len(condition.details) == 2
