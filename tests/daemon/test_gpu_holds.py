"""What a container held of GPUs: remembered over its end, over a lost GPU, and not for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.facts import Known, SourceName, Unknown
from daemon.gpu_holds import KEPT, LATELY, GpuHolds
from tests.policies.build import GIB, HOUR, MINUTE, NOW, SECOND, container, death, facts
from tests.policies.build_gpu import faulty, gpu, gpus, reserved, use, uuid

if TYPE_CHECKING:
    from datetime import datetime

    from collectors.facts import Facts, Source
    from collectors.gpu_facts import Gpus, GpuUse

TRAINER = container("trainer", pid=4711)


def at(
    moment: datetime, shown: Gpus, *, containers: tuple[object, ...] = (TRAINER,), source: Source | None = None
) -> Facts:
    """Give what was seen at a moment."""
    world = facts(now=moment, containers=list(containers), gpus=shown)
    return replace(world, sources={**world.sources, SourceName.GPU: source or Known(moment)})


def held_at_the_end(holds: GpuHolds, end: datetime) -> list[tuple[int, int | None]]:
    [told] = holds.add([death("trainer", finished_at=end)])
    return [(hold.gpu_index, hold.memory_bytes) for hold in told.gpus]


def seen(*uses: GpuUse) -> GpuHolds:
    """Give the memory of somebody who saw these uses a little before now."""
    holds = GpuHolds()
    holds.note(at(NOW - 10 * SECOND, gpus(gpu(0), gpu(2), use=uses)))
    return holds


def test_a_death_says_what_the_container_held_by_the_last_look_before() -> None:
    holds = seen(use(TRAINER, 2, memory_bytes=61 * GIB), use(TRAINER, 0, memory_bytes=None))
    assert held_at_the_end(holds, NOW) == [(0, None), (2, 61 * GIB)]


def test_the_look_that_shows_the_death_does_not_take_it_away() -> None:
    holds = seen(use(TRAINER, 2))
    holds.note(at(NOW + SECOND, gpus(gpu(0), gpu(2)), containers=()))
    assert held_at_the_end(holds, NOW) == [(2, 20 * GIB)]


def test_of_mig_devices_of_one_gpu_the_sum_is_said() -> None:
    parts = [use(TRAINER, 2, mig_uuid=each, memory_bytes=GIB) for each in ("MIG-1", "MIG-2")]
    assert held_at_the_end(seen(*parts), NOW) == [(2, 2 * GIB)]


def test_a_reservation_without_a_process_holds_nothing() -> None:
    assert held_at_the_end(seen(reserved(TRAINER, 2)), NOW) == []


def test_another_containers_memory_is_not_this_ones() -> None:
    assert held_at_the_end(seen(use(container("other"), 2)), NOW) == []


def test_what_was_seen_long_before_the_end_is_not_said_to_be_held_until_then() -> None:
    holds = seen(use(TRAINER, 2))
    assert held_at_the_end(holds, NOW - 10 * SECOND + LATELY) == [(2, 20 * GIB)]
    assert held_at_the_end(holds, NOW + LATELY) == []


def test_what_the_next_run_of_a_container_holds_is_not_what_the_last_one_did() -> None:
    assert held_at_the_end(seen(use(TRAINER, 2)), NOW - MINUTE) == []


def test_what_was_held_of_a_gpu_that_cannot_be_read_since_is_kept_and_given() -> None:
    holds = seen(use(TRAINER, 2, memory_bytes=61 * GIB), use(TRAINER, 0))
    shown = holds.note(at(NOW + HOUR, gpus(gpu(0), faulty(2))))
    [last] = shown.gpus.last_held
    assert (last.gpu_uuid, last.container_id, last.memory_bytes) == (uuid(2), TRAINER.id, 61 * GIB)
    assert held_at_the_end(holds, NOW + HOUR) == [(2, 61 * GIB)]


@pytest.mark.parametrize("later", [container("trainer", pid=0), container("other", pid=1)])
def test_a_container_that_does_not_run_was_not_last_seen_on_a_lost_gpu(later: object) -> None:
    shown = seen(use(TRAINER, 2)).note(at(NOW, gpus(gpu(0), faulty(2)), containers=(later,)))
    assert shown.gpus.last_held == ()


def test_a_gpu_that_is_read_again_shows_what_is_held_now() -> None:
    holds = seen(use(TRAINER, 2))
    holds.note(at(NOW, gpus(gpu(0), faulty(2))))
    shown = holds.note(at(NOW + SECOND, gpus(gpu(0), gpu(2))))
    assert shown.gpus.last_held == ()


def test_while_gpus_cannot_be_read_at_all_nothing_new_is_learnt_and_nothing_lost() -> None:
    holds = seen(use(TRAINER, 2))
    holds.note(at(NOW, gpus(), source=Unknown("the driver hangs", NOW)))
    assert held_at_the_end(holds, NOW) == [(2, 20 * GIB)]


def test_of_containers_that_are_gone_nothing_is_kept_for_long() -> None:
    holds = seen(use(TRAINER, 2))
    holds.note(at(NOW, gpus(gpu(0), faulty(2)), containers=()))
    assert held_at_the_end(holds, NOW) == [(2, 20 * GIB)]
    holds.note(at(NOW + KEPT, gpus(gpu(0), faulty(2)), containers=()))
    assert held_at_the_end(holds, NOW) == []


def test_a_wall_clock_that_is_set_back_keeps_nothing_for_ever() -> None:
    holds = seen(use(TRAINER, 2))
    holds.note(at(NOW - timedelta(days=365), gpus(gpu(0), gpu(2)), containers=()))
    assert held_at_the_end(holds, NOW) == []
