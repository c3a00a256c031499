"""The watch on GPUs that a test sets: what their alerts and the deaths on them survive."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from daemon.alerts.state import Phase
from policies.gpu_devices import GpuDevices
from policies.gpu_refused import GpuRefused
from policies.gpu_usage import GpuUsage
from policies.gpu_xids import GpuXids
from policies.nvml import NvmlUnavailable
from tests.daemon.watchpost import HOUR, MINUTE, POLICIES, SECOND, Options, WatchPost
from tests.fakes.gpus import GIB, READINGS, a_gpu, a_lost_gpu, a_process, in_container, write_processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from collectors.gpu_facts import Gpu
    from policies.policy import Policy
    from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine

OF_GPUS: Mapping[str, Policy] = {
    "devices": GpuDevices(),
    "xids": GpuXids(),
    "usage": GpuUsage(),
    "nvml": NvmlUnavailable(),
    "refused": GpuRefused(),
}
QUARTER = 15 * SECOND


@pytest.fixture
def post(engine: ScriptedEngine, tmp_path: Path) -> Iterator[WatchPost]:
    post = WatchPost(engine, tmp_path, Options(policies={**POLICIES, **OF_GPUS}))
    yield post
    post.close()


@pytest.fixture
def trainer(post: WatchPost) -> ScriptedContainer:
    trainer = post.engine.add("trainer")
    write_processes(post.folder / "proc", {7: in_container([trainer.id])})
    return trainer


def used(ratio: float, size: int = 61 * GIB) -> Gpu:
    """Give a GPU all of whose memory in use is the trainer's."""
    return a_gpu(0, a_process(7, size, ratio), readings=replace(READINGS, memory_used_bytes=size))


def see(post: WatchPost, *gpus: Gpu, after: timedelta = QUARTER) -> timedelta:
    """Let time pass, take a sample, and do a round; give how long the watch would rest."""
    post.clock.advance(after)
    post.gpus.show(*gpus)
    return post.cycle(timedelta(0))


def test_a_death_keeps_what_was_held_of_gpus_through_a_restart(post: WatchPost, trainer: ScriptedContainer) -> None:
    see(post, used(0.5))
    post.die(trainer, 137)
    post.cycles(4)
    after = post.restarted()
    [death] = after.stored_deaths()
    after.close()
    assert [(hold.gpu_index, hold.memory_bytes) for hold in death.gpus] == [(0, 61 * GIB)]


@pytest.mark.usefixtures("trainer")
def test_our_own_restart_neither_ends_an_idleness_nor_tells_it_again(post: WatchPost) -> None:
    for _ in range(9):
        see(post, used(0.0), after=15 * MINUTE)
    assert post.phase("gpu-idle", "GPU 0") is Phase.FIRING
    after = post.restarted()
    for _ in range(40):
        see(after, used(0.0))
    assert after.phase("gpu-idle", "GPU 0") is Phase.FIRING
    see(after, used(0.5))
    for _ in range(40):
        see(after, used(0.5))
    assert after.phase("gpu-idle", "GPU 0") is None
    told = [each for each in after.told() if each[0] == "gpu-idle"]
    after.close()
    assert told == [("gpu-idle", "fired"), ("gpu-idle", "resolved")]


def test_the_engines_words_about_a_gpu_are_told_without_secrets(post: WatchPost) -> None:
    words = 'could not select device driver "" with token=hunter2 and capabilities: [[gpu]]'
    post.engine.add("vllm", state="created", exit_code=128, error=words)
    post.cycle()
    assert "token=***" in " ".join(post.alerts["container-gpu-refused", "vllm"].details)
    assert [alert for alert, _ in post.told()] == ["container-gpu-refused"], "it speaks for the failed start"


def test_a_driver_that_says_nothing_resolves_no_alert(post: WatchPost) -> None:
    see(post, a_lost_gpu(0))
    see(post, a_lost_gpu(0), after=30 * SECOND)
    assert post.phase("gpu-lost", "GPU 0") is Phase.FIRING
    post.gpus.fail("the driver hangs")
    post.cycles(20, MINUTE)
    assert post.alerts["gpu-lost", "GPU 0"].unknown
    assert post.phase("nvml-unavailable", "NVML") is Phase.FIRING
    see(post, a_gpu(0))
    for _ in range(6):
        see(post, a_gpu(0))
    assert [each for each in post.told() if each[1] == "resolved"] == [
        ("nvml-unavailable", "resolved"),
        ("gpu-lost", "resolved"),
    ]


def test_the_error_that_led_to_a_loss_is_told_with_it_and_not_beside_it(post: WatchPost) -> None:
    post.clock.advance(HOUR)  # the XID of the lost GPU is an hour old
    for _ in range(5):
        see(post, a_lost_gpu(0))
    assert [alert for alert, _ in post.told()] == ["gpu-lost"]
    assert "XID 79" in " ".join(post.alerts["gpu-lost", "GPU 0"].details)


@pytest.mark.usefixtures("trainer")
def test_what_waits_for_long_is_not_looked_at_every_second(post: WatchPost) -> None:
    orphan = a_gpu(0, readings=replace(READINGS, memory_used_bytes=20 * GIB))
    rests = [see(post, orphan, after=MINUTE) for _ in range(16)]
    assert rests[0] == timedelta(seconds=5)
    assert rests[14] == timedelta(seconds=1), "within a minute of being told"
    assert post.phase("gpu-memory-orphan", "GPU 0") is Phase.FIRING


def test_a_card_that_was_taken_out_is_missed_until_the_machine_was_started_anew(post: WatchPost) -> None:
    see(post, a_gpu(0), a_lost_gpu(1))
    see(post, a_gpu(0), a_lost_gpu(1), after=MINUTE)
    assert post.phase("gpu-lost", "GPU 1") is Phase.FIRING
    see(post, a_gpu(0))
    assert post.phase("gpu-lost", "GPU 1") is Phase.FIRING, "it is missing"
    post.clock.boot = "another boot"
    after = post.restarted(MINUTE)
    for _ in range(6):
        see(after, a_gpu(0))
    told = [each for each in after.told() if each[0] == "gpu-lost"]
    after.close()
    assert told == [("gpu-lost", "fired"), ("gpu-lost", "resolved")]
