from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from collectors.facts import COMPOSE_PROJECT
from collectors.gpu_facts import GpuHeld
from policies.gpu_usage import GpuUsage
from policies.policy import ConditionState, Severity
from tests.policies.build import GIB, HOUR, MINUTE, conditions, container, death, facts, state
from tests.policies.build_gpu import any_gpus, faulty, gpu, gpus, hold, idle, reserved, use, uuid

if TYPE_CHECKING:
    from collectors.facts import Facts

BAD, OK, BETWEEN = ConditionState.BAD, ConditionState.OK, ConditionState.BETWEEN
IDLE, ORPHAN = "gpu-idle", "gpu-memory-orphan"
JUDGE = GpuUsage()
TRAINER, NOTEBOOK = container("trainer"), container("notebook", labels={"shipkeeper.owner": "ana"})
BOTH = [TRAINER, NOTEBOOK]


def world(*uses: object, **changes: object) -> Facts:
    return facts(containers=BOTH, gpus=gpus(gpu(), use=uses, **changes), owner_label="shipkeeper.owner")


def test_a_reservation_that_nobody_computes_on_for_long_is_idle_and_its_owner_named() -> None:
    [condition] = conditions(JUDGE, world(reserved(NOTEBOOK)), IDLE)
    assert (condition.state, condition.severity) == (BAD, Severity.INFO)
    assert condition.reason == "notebook has computed nothing on it for 3 h"
    assert condition.details[0] == "Containers on it: notebook (reserved, owner ana)"


def test_memory_that_is_held_without_a_reservation_is_idle_too() -> None:
    assert state(JUDGE, world(idle(TRAINER, requested=False)), IDLE) is BAD


@pytest.mark.parametrize(
    ("since", "expected"), [(timedelta(0), BETWEEN), (MINUTE, BETWEEN), (2 * HOUR - MINUTE, BETWEEN), (2 * HOUR, BAD)]
)
def test_what_rests_is_idle_after_a_while_and_well_again_only_when_it_computes(
    since: timedelta, expected: ConditionState
) -> None:
    assert state(JUDGE, world(idle(TRAINER, since=since)), IDLE) is expected


def test_a_reservation_is_no_waste_while_another_container_computes_there() -> None:
    assert state(JUDGE, world(reserved(NOTEBOOK), use(TRAINER)), IDLE) is OK


def test_memory_is_a_waste_though_another_container_computes_there() -> None:
    [condition] = conditions(JUDGE, world(idle(NOTEBOOK), use(TRAINER)), IDLE)
    assert condition.state is BAD
    assert "notebook has computed" in condition.reason


def test_a_little_memory_is_no_waste_where_others_compute() -> None:
    assert state(JUDGE, world(idle(NOTEBOOK, memory_bytes=GIB - 1), use(TRAINER)), IDLE) is OK


def test_several_idle_containers_are_counted_and_named() -> None:
    [condition] = conditions(JUDGE, world(reserved(NOTEBOOK), idle(TRAINER, since=5 * HOUR)), IDLE)
    assert condition.reason == "2 containers have computed nothing on it for 3 h"


def test_where_the_driver_does_not_tell_who_computes_nobody_is_called_idle_or_busy() -> None:
    assert conditions(JUDGE, world(use(TRAINER, sm_ratio=None, idle_for=None)), IDLE) == []


def test_where_processes_cannot_be_matched_nobody_is_called_idle_or_busy() -> None:
    assert conditions(JUDGE, world(reserved(TRAINER), attributable=False), IDLE) == []


def test_a_gpu_that_nobody_holds_is_well_and_one_that_cannot_be_read_is_not_judged() -> None:
    assert state(JUDGE, world(), IDLE) is OK
    assert conditions(JUDGE, facts(gpus=gpus(faulty())), IDLE) == []


def test_of_a_muted_container_nothing_is_told_but_its_work_counts() -> None:
    muted = replace(TRAINER, labels={"shipkeeper.alerts": "off"})
    quiet = facts(containers=[muted, NOTEBOOK], gpus=gpus(gpu(), use=(idle(muted),)))
    assert state(JUDGE, quiet, IDLE) is OK
    both = facts(containers=[muted, NOTEBOOK], gpus=gpus(gpu(), use=(use(muted), reserved(NOTEBOOK))))
    assert state(JUDGE, both, IDLE) is OK


@pytest.mark.parametrize(
    ("lost", "expected"),
    [(0, OK), (GIB // 2 - 1, OK), (GIB // 2, BETWEEN), (GIB - 1, BETWEEN), (GIB, BAD), (40 * GIB, BAD)],
)
def test_memory_that_no_process_explains_is_an_orphan(lost: int, expected: ConditionState) -> None:
    held = GpuHeld(gpu_uuid=uuid(2), host_memory_bytes=0, host_processes=0, unattributed_memory_bytes=lost)
    assert state(JUDGE, world(held=(held,)), ORPHAN) is expected


def test_an_orphan_is_told_with_who_ended_lately_while_it_held_memory_there() -> None:
    held = GpuHeld(gpu_uuid=uuid(2), host_memory_bytes=0, host_processes=0, unattributed_memory_bytes=40 * GIB)
    labels = {COMPOSE_PROJECT: "nlp", "shipkeeper.owner": "vision team"}
    doomed, elsewhere = container("doomed"), container("elsewhere")
    deaths = (
        death("doomed", ago=30 * MINUTE, labels={COMPOSE_PROJECT: "nlp"}, gpus=(hold(doomed, size=GIB),)),
        death("elsewhere", ago=3 * MINUTE, gpus=(hold(elsewhere, index=1),)),
        death("other", ago=2 * MINUTE, gpus=(hold(container("other"), size=None),)),
        death("doomed", ago=MINUTE, labels=labels, gpus=(hold(doomed),)),
    )
    [condition] = conditions(JUDGE, replace(world(held=(held,)), deaths=deaths), ORPHAN)
    assert condition.details[1] == (
        "Ended in the last hour with memory of it: "
        "doomed (20.0 GiB, compose project nlp, owner vision team, at 2026-11-23 16:01 UTC), "
        "other (memory unknown, at 2026-11-23 16:00 UTC)"
    )


def test_memory_of_processes_of_the_host_is_no_orphan_and_what_is_unknown_is_not_judged() -> None:
    held = GpuHeld(gpu_uuid=uuid(2), host_memory_bytes=40 * GIB, host_processes=1, unattributed_memory_bytes=0)
    assert state(JUDGE, world(held=(held,)), ORPHAN) is OK
    unknown = replace(held, unattributed_memory_bytes=None)
    assert conditions(JUDGE, world(held=(unknown,)), ORPHAN) == []


@pytest.mark.parametrize(
    "knobs",
    [{"idle_for": timedelta(0)}, {"orphan_bytes": 0}],
)
def test_knobs_that_make_no_sense_are_refused(knobs: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(knobs))):
        GpuUsage(**knobs)  # type: ignore[arg-type]


@given(any_gpus())
def test_nobody_is_called_idle_of_whom_it_is_not_known_for_how_long(drawn: object) -> None:
    here = facts(containers=[container("c0"), container("c1")], gpus=drawn)
    known = {each.gpu_uuid for each in here.gpus.use if each.idle_for is not None and each.idle_for >= 2 * HOUR}
    for condition in conditions(JUDGE, here, IDLE):
        assert condition.state is not BAD or condition.subject.key in known
