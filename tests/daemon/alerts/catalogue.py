"""A host for each alert of the catalogue on which the real policy finds it: what its example message is made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from collectors.facts import (
    ContainerState,
    DiskKind,
    DiskUse,
    Engine,
    EngineState,
    Intent,
    RestartPolicy,
    SourceName,
    Unknown,
)
from collectors.gpu_facts import GpuHeld
from collectors.own_facts import Awaiting, HostMemory, HostOom, MemoryUse, OwnWork
from collectors.storage_facts import ReliefEnd, Relieved
from policies.container_states import ContainerStates
from policies.deaths import Crashes
from policies.disk_forecast import DiskForecast
from policies.disk_pressure import DiskPressure
from policies.disk_writable import DiskReadOnly
from policies.engine import EngineDown, EngineSlow, EngineStuck, EventsStale
from policies.gpu_containers import ContainerGpus
from policies.gpu_devices import GpuDevices
from policies.gpu_refused import GpuRefused
from policies.gpu_usage import GpuUsage
from policies.gpu_xids import GpuXids
from policies.health import ContainerHealth
from policies.health_turns import HealthFlapping
from policies.host_oom import HostOutOfMemory
from policies.logs import LargeLogs
from policies.memory import ContainerMemory, HostMemoryLow
from policies.nvml import NvmlUnavailable
from policies.own_state import OwnWorkDone, StateUnsaved
from policies.relieved import Reliefs
from policies.store_place import StorePlace
from tests.policies.build import (
    DAY,
    GIB,
    HOUR,
    MINUTE,
    NOW,
    compose,
    container,
    death,
    exited,
    facts,
    filesystem,
    image,
    log_size,
    never_started,
    unhealthy,
    volume,
)
from tests.policies.build_gpu import ALL_GPUS, faulty, gpu, gpus, hold, idle, reserved, use, uuid, xid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.facts import Facts
    from policies.policy import Policy

OWNER = "shipkeeper.owner"
LABELS = {**compose("nlp", "trainer", 3), OWNER: "vision team"}
TRAINER = container("nlp-trainer-3", labels=LABELS, image="nlp/train:2026-11", gpu_requests=(ALL_GPUS,))
NOTEBOOK = container("notebook")
ENDED = exited("nlp-trainer-3", ago=MINUTE, code=7, labels=LABELS)
RETRIES = RestartPolicy("on-failure", 5)
LOG = ("step 4180 loss 2.113", "allocating activation buffer …", "RuntimeError: CUDA out of memory")
WEB = container("web", log_driver="json-file")
USES = (
    DiskUse(kind=DiskKind.IMAGES, mountpoint="/", size_bytes=61 * GIB, reclaimable_bytes=38 * GIB),
    DiskUse(kind=DiskKind.BUILD_CACHE, mountpoint="/", size_bytes=22 * GIB),
    DiskUse(kind=DiskKind.CONTAINER_LOGS, mountpoint="/", size_bytes=10 * GIB),
    DiskUse(kind=DiskKind.OTHER, mountpoint="/", size_bytes=11 * GIB),
)


def end(ago: timedelta = MINUTE, code: int = 7, **more: object) -> object:
    """Give an end of the trainer."""
    return death(
        "nlp-trainer-3",
        ago=ago,
        code=code,
        labels=LABELS,
        image="nlp/train:2026-11",
        uptime=timedelta(hours=3, minutes=12),
        restart_policy=RETRIES,
        log_tail=LOG,
        **more,
    )


def on_gpus(*devices: object, **more: object) -> Facts:
    """Give a host with these GPUs and two containers."""
    return facts(containers=[TRAINER, NOTEBOOK], gpus=gpus(*devices, **more), owner_label=OWNER)  # type: ignore[arg-type]


def unread(source: SourceName, why: str, **more: object) -> Facts:
    """Give a host of which one source cannot be read."""
    world = facts(**more)
    return replace(world, sources={**world.sources, source: Unknown(why, NOW - HOUR)})


RELIEFS = Reliefs(pressure=DiskPressure())
CONTAINERD = Engine(state=EngineState.UP, since=NOW - DAY, containerd_store=True, data_root="/data/docker")
SYSTEM = filesystem(available=18 * GIB, roles=("os-root", "containerd-root"))
DATA = filesystem(available=90 * GIB, mountpoint="/data", roles=("data-root", "volumes", "logs"))


def too_full(end: ReliefEnd, *, available: int = 11 * GIB, **more: object) -> Facts:
    """Give a host with a disk of 100 GiB after a run that ended so."""
    used = image("train:2", unique_bytes=9 * GIB), volume("pgdata", size_bytes=30 * GIB)
    run = Relieved(
        mountpoint="/",
        at=NOW - MINUTE,
        end=end,
        removed=3,
        freed_bytes=GIB,
        freed_inodes=0,
        left_bytes=available,
    )
    kinds = {DiskKind.IMAGES: 9, DiskKind.VOLUMES: 30, DiskKind.OTHER: 41}
    plain: dict[str, object] = {
        "filesystems": [filesystem(available=available, roles=("data-root", "volumes", "logs"))],
        "images": [used[0]],
        "volumes": [used[1]],
        "pressed": frozenset({"/"}),
        "reliefs": [run],
        "disk_uses": [DiskUse(kind=kind, mountpoint="/", size_bytes=size * GIB) for kind, size in kinds.items()],
    }
    return facts(**(plain | more))


HOSTS: Mapping[str, tuple[Policy, Facts]] = {
    "container-crashed": (Crashes(), facts(containers=[ENDED], deaths=[end()])),
    "container-oom-killed": (
        Crashes(),
        facts(
            containers=[ENDED],
            deaths=[
                end(
                    code=137,
                    oom=True,
                    memory_limit_bytes=16 * GIB,
                    gpus=(hold(TRAINER, size=65_819_000_000),),
                    memory=MemoryUse(
                        used_bytes=17_000_000_000,
                        rose_bytes=10 * GIB,
                        over=9 * MINUTE,
                        largest="python",
                        largest_bytes=16_300_000_000,
                    ),
                )
            ],
        ),
    ),
    "container-restart-loop": (
        Crashes(),
        facts(containers=[ENDED], deaths=[end(ago=each * MINUTE) for each in range(5, 0, -1)]),
    ),
    "container-unhealthy": (
        ContainerHealth(),
        facts(containers=[container("web", labels=compose("shop", "web"), health=unhealthy())]),
    ),
    "container-health-flapping": (
        HealthFlapping(),
        facts(containers=[container("web", labels=compose("shop", "web"))], health_turns={"shop/web/1": 5}),
    ),
    "container-not-running": (
        ContainerStates(),
        facts(containers=[replace(ENDED, restart_policy=RETRIES, restart_count=5)], ended_by={ENDED.id: Intent.NONE}),
    ),
    "container-stuck": (ContainerStates(), facts(containers=[container("old-web", state=ContainerState.DEAD)])),
    "container-memory-near-limit": (
        ContainerMemory(),
        facts(
            containers=[replace(TRAINER, memory_limit_bytes=16 * GIB)],
            memory={TRAINER.id: MemoryUse(used_bytes=17_000_000_000, rose_bytes=9 * GIB, over=9 * MINUTE)},
        ),
    ),
    "container-start-failed": (
        ContainerHealth(),
        facts(
            containers=[
                never_started("migrate", ago=MINUTE, exit_code=127, error='exec: "migrate": not found in $PATH')
            ]
        ),
    ),
    "container-gpu-refused": (
        GpuRefused(),
        facts(
            containers=[
                container(
                    "vllm",
                    state=ContainerState.CREATED,
                    started_at=None,
                    exit_code=128,
                    error='could not select device driver "" with capabilities: [[gpu]]',
                )
            ]
        ),
    ),
    "container-gpu-lost": (
        ContainerGpus(),
        on_gpus(gpu(0), faulty(2), use=(use(TRAINER, 0), reserved(TRAINER, 2))),
    ),
    "container-gpu-missing": (
        ContainerGpus(),
        facts(containers=[container("vllm", gpu_image=True)], gpus=gpus(gpu())),
    ),
    "engine-down": (
        EngineDown(),
        unread(
            SourceName.DOCKER,
            "no engine",
            engine=Engine(state=EngineState.CRASHED, since=NOW - MINUTE, why="docker.service failed: core-dump"),
        ),
    ),
    "engine-slow": (EngineSlow(), facts(own=OwnWork(engine_answers_within=timedelta(seconds=3.2)))),
    "event-stream-stale": (EventsStale(), facts(own=OwnWork(no_events_for=3 * MINUTE))),
    "disk-low": (
        DiskPressure(),
        facts(
            filesystems=[filesystem(size=128 * GIB, available=11 * GIB)],
            images=[
                image("nlp/train:2026-09", digests=("nlp/train@sha256:1",), size_bytes=18 * GIB, unique_bytes=17 * GIB)
            ],
            containers=[WEB],
            logs=[log_size(WEB, 9 * GIB)],
            disk_uses=USES,
            growth={"/": 11 * GIB / (5 * 3600)},
        ),
    ),
    "disk-fill-predicted": (
        DiskForecast(),
        facts(
            filesystems=[filesystem(size=1000 * GIB, available=90 * GIB)],
            containers=[WEB],
            disk_uses=USES,
            growth={"/": 90 * GIB / (3.5 * 3600)},
        ),
    ),
    "disk-read-only": (DiskReadOnly(), facts(filesystems=[filesystem(read_only=True)])),
    "host-memory-low": (
        HostMemoryLow(),
        facts(
            containers=[TRAINER, WEB],
            memory={TRAINER.id: MemoryUse(used_bytes=40 * GIB), WEB.id: MemoryUse(used_bytes=2 * GIB)},
            host_memory=HostMemory(total_bytes=64 * GIB, available_bytes=2 * GIB),
        ),
    ),
    "host-oom": (
        HostOutOfMemory(),
        facts(
            containers=[TRAINER, WEB],
            memory={TRAINER.id: MemoryUse(used_bytes=40 * GIB), WEB.id: MemoryUse(used_bytes=2 * GIB)},
            owner_label="shipkeeper.owner",
            host_ooms=(
                HostOom(key="7@boot", at=NOW, process="python", resident_bytes=38 * GIB, containers=(TRAINER.id,)),
            ),
        ),
    ),
    "disk-relieved": (RELIEFS, too_full(ReliefEnd.TARGET, available=21 * GIB, pressed=frozenset())),
    "disk-target-missed": (RELIEFS, too_full(ReliefEnd.EXHAUSTED)),
    "disk-not-docker": (RELIEFS, too_full(ReliefEnd.NO_PROGRESS)),
    "engine-stuck": (EngineStuck(), facts(engine_stuck="it has been working out what volumes take for 12 min")),
    "images-on-system-disk": (StorePlace(), facts(engine=CONTAINERD, filesystems=[SYSTEM, DATA])),
    "container-log-large": (LargeLogs(), facts(containers=[WEB], logs=[log_size(WEB, 3 * GIB)])),
    "logs-large": (LargeLogs(), facts(containers=[WEB], logs=[log_size(WEB, 30 * GIB)])),
    "gpu-lost": (
        GpuDevices(),
        on_gpus(faulty(2, xids=(xid(79),)), use=(reserved(NOTEBOOK),), last_held=(hold(TRAINER, size=65_819_000_000),)),
    ),
    "gpu-xid": (
        GpuXids(),
        on_gpus(replace(gpu(2), xids=(xid(48),)), use=(use(TRAINER, memory_bytes=65_819_000_000),)),
    ),
    "gpu-xid-app": (
        GpuXids(),
        on_gpus(replace(gpu(2), xids=(xid(31),)), use=(use(TRAINER, memory_bytes=65_819_000_000),)),
    ),
    "gpu-thermal": (
        GpuDevices(),
        on_gpus(gpu(2, temperature_celsius={"gpu": 85.0}, slowdown_celsius=87.0), use=(use(TRAINER),)),
    ),
    "gpu-ecc": (GpuDevices(), on_gpus(gpu(2, remap_failure=True, remap_pending=True), use=(use(TRAINER),))),
    "gpu-idle": (
        GpuUsage(),
        on_gpus(gpu(2), use=(idle(TRAINER, memory_bytes=65_819_000_000), reserved(NOTEBOOK))),
    ),
    "gpu-memory-orphan": (
        GpuUsage(),
        replace(
            on_gpus(
                gpu(2),
                held=(
                    GpuHeld(
                        gpu_uuid=uuid(2), host_memory_bytes=0, host_processes=0, unattributed_memory_bytes=40 * GIB
                    ),
                ),
            ),
            deaths=(death("trainer-4", ago=20 * MINUTE, gpus=(hold(container("trainer-4"), size=40 * GIB),)),),
        ),
    ),
    "nvml-unavailable": (
        NvmlUnavailable(),
        unread(SourceName.GPU, "NVML: driver/library version mismatch", containers=[TRAINER], gpus=gpus(seen=8)),
    ),
    "notify-degraded": (
        OwnWorkDone(),
        facts(own=OwnWork(undelivered={"slack": "takes none: Slack says invalid_auth"})),
    ),
    "job-overdue": (OwnWorkDone(), facts(own=OwnWork(overdue={"ask-usage": "not done for 25 min"}))),
    "config-reload-failed": (
        OwnWorkDone(),
        facts(own=OwnWork(reload_fault='[docker] hots = … no such key; did you mean "host"?')),
    ),
    "cleanup-failed": (
        OwnWorkDone(),
        facts(
            own=OwnWork(
                cleanup_fault="run 12: 3 objects in a row failed",
            )
        ),
    ),
    "cleanup-awaiting-approval": (
        OwnWorkDone(),
        facts(own=OwnWork(awaiting=Awaiting(objects=14, size_bytes=41 * GIB))),
    ),
    "state-unsaved": (
        StateUnsaved(),
        facts(state_fault="/var/lib/shipkeeper/state.db cannot be written (database or disk is full)"),
    ),
}
"""By alert: a policy, and what it is shown."""
LONGEST_HOLD = DAY
"""Longer than any alert has to be bad before it is told."""
