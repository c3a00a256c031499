from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.gpu_xids import GpuXids
from policies.policy import ConditionState, Occurrence, Severity
from policies.xids import XIDS, Resolution
from tests.policies.build import GIB, HOUR, MINUTE, container, facts, occurrences, state
from tests.policies.build_gpu import faulty, gpu, gpus, use, uuid, xid

FAULT, APP = "gpu-xid", "gpu-xid-app"
JUDGE = GpuXids()
CRITICAL = {46, 48, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, *range(143, 151), 155, 156, 158}
"""What NVIDIA resolves by reset, reboot or a hardware workflow, as monitoring of clusters pages on it."""
PROGRAMS = {13, 25, 31, 32, 39, 40, 41, 68, 69, 70, 71, 72, 80, 94}
SILENT = {43, 45, 63, 92, 121, 154}


def told(*codes: int) -> dict[int, str]:
    device = replace(gpu(), xids=tuple(xid(code) for code in codes))
    found = [each for each in JUDGE.decide(facts(gpus=gpus(device))) if isinstance(each, Occurrence)]
    return {int(each.key.split(":")[1].partition("@")[0]): each.alert for each in found}


def test_an_error_is_told_by_what_resolves_it() -> None:
    assert told(*CRITICAL) == dict.fromkeys(CRITICAL, FAULT)
    assert told(*PROGRAMS) == dict.fromkeys(PROGRAMS, APP)
    assert told(*SILENT) == {}


def test_45_never_pages_however_often_it_comes() -> None:
    assert XIDS[45].resolution is Resolution.NOTHING
    flood = replace(gpu(), xids=(xid(45, count=11_760),))
    assert occurrences(JUDGE, facts(gpus=gpus(flood)), FAULT) == []
    assert occurrences(JUDGE, facts(gpus=gpus(flood)), APP) == []


def test_a_code_that_nobody_knows_is_not_told() -> None:
    assert told(999, 1) == {}


def test_it_is_told_in_words_with_what_to_do_and_who_is_on_the_gpu() -> None:
    trainer = container("trainer")
    world = facts(
        containers=[trainer],
        gpus=gpus(replace(gpu(), xids=(xid(48),)), use=(use(trainer, memory_bytes=61 * GIB),)),
    )
    [occurrence] = occurrences(JUDGE, world, FAULT)
    assert occurrence.severity is Severity.CRITICAL
    assert occurrence.reason == "XID 48, a double-bit ECC error (ROBUST_CHANNEL_GPU_ECC_DBE)"
    assert occurrence.details == (
        "Containers on it: trainer (61.0 GiB)",
        f"NVIDIA's advice: {Resolution.HARDWARE.action}.",
        f"NVIDIA H100 80GB HBM3 · PCI 00000000:62:00.0 · {uuid(2)}",
    )


def test_each_new_error_is_an_occurrence_whatever_its_count_and_a_little_otherwise_dated_it_is_the_same() -> None:
    def key(count: int, ago: timedelta) -> str:
        hit = replace(gpu(), xids=(xid(31, count=count, ago=ago),))
        [occurrence] = occurrences(JUDGE, facts(gpus=gpus(hit)), APP)
        return occurrence.key

    first = key(1, MINUTE)
    assert key(2, timedelta(0)) != first
    assert key(1, timedelta(0)) != first, "counting may begin anew"
    assert key(1, MINUTE - timedelta(milliseconds=3)) == first


def test_what_the_log_of_the_kernel_tells_of_last_week_is_no_news() -> None:
    old = replace(gpu(), xids=(xid(79, ago=24 * HOUR), xid(48, ago=23 * HOUR)))
    assert len(occurrences(JUDGE, facts(gpus=gpus(old)), FAULT)) == 1


@pytest.mark.parametrize(
    ("action", "ago", "expected"),
    [
        ("none", HOUR, ConditionState.OK),
        ("reset", 48 * HOUR, ConditionState.BAD),
        ("reboot", HOUR, ConditionState.BAD),
        (None, HOUR, ConditionState.BETWEEN),
        (None, 48 * HOUR, ConditionState.OK),
    ],
)
def test_well_again_is_what_the_driver_calls_so_and_after_a_day_what_older_drivers_say_nothing_of(
    action: str | None, ago: timedelta, expected: ConditionState
) -> None:
    device = replace(gpu(recovery_action=action), xids=(xid(79, ago=ago),))
    assert state(JUDGE, facts(gpus=gpus(device)), FAULT) is expected


def test_a_gpu_that_cannot_be_read_is_not_well_again() -> None:
    assert state(JUDGE, facts(gpus=gpus(faulty())), FAULT) is ConditionState.BETWEEN


def test_the_table_covers_the_reference_and_says_everything_in_words() -> None:
    assert len(XIDS) > 90
    for meaning in XIDS.values():
        assert meaning.mnemonic.isupper() or meaning.mnemonic[0].isupper()
        assert meaning.words
        assert meaning.resolution.action


@given(st.lists(st.integers(1, 999), unique=True, max_size=20))
def test_every_code_is_told_by_one_alert_at_most(codes: list[int]) -> None:
    for code, alert in told(*codes).items():
        assert (alert == FAULT) == (XIDS[code].resolution in {Resolution.REBOOT, Resolution.RESET, Resolution.HARDWARE})
