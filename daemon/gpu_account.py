"""Keeps account of who uses which GPU from one sample to the next."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeAlias

from collectors.facts import Known
from collectors.gpu_facts import Gpus
from collectors.gpu_use import share

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from collectors.facts import Container, Source
    from collectors.gpu_facts import Gpu, GpuHeld, GpuSample, GpuUse
    from collectors.process_owner import Named, ProcessOwners
    from daemon.clock import Clock
    from daemon.gpu_seen import SeenGpus

log = logging.getLogger(__name__)

_Run: TypeAlias = "tuple[str, datetime | None, str, str]"
"""One run of a container on one GPU or MIG device: its id, when it was started, both UUIDs."""


class GpuEyes(Protocol):
    """Whoever asks NVML."""

    @property
    def latest(self) -> GpuSample | None:
        """The newest sample; `None` where there are no GPUs, and where they are not known."""
        ...

    @property
    def source(self) -> Source:
        """Whether the GPUs are known; that there are none is known, too."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCharge:
    """What a container had of one GPU since the sample before; 0 seconds when it is met."""

    container: Container
    gpu_uuid: str
    profile: str
    """Of a MIG device; empty for a whole GPU."""
    allocated_seconds: float
    sm_seconds: float | None
    """Time of all its multiprocessors; `None` where the driver does not tell it (MIG)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLook:
    """What one look found: the GPUs, and what is to be charged since the last one."""

    source: Source
    gpus: Gpus
    charges: tuple[GpuCharge, ...] = ()


class GpuAccount:
    """
    Matches processes with containers once for each sample, and adds up what lies between two of them.

    Where there is no sample, nobody knows what happened: idle times begin anew, and nothing is charged. Used
    from the watch thread only.
    """

    def __init__(self, eyes: GpuEyes, owners: ProcessOwners, seen: SeenGpus, clock: Clock) -> None:
        self._eyes = eyes
        self._owners = owners
        self._seen = seen
        self._clock = clock
        self._sample: GpuSample | None = None
        self._sampled = 0.0
        """When it was first looked at, by the monotonic clock."""
        self._named: Mapping[int, Named] | None = None
        self._worked: dict[_Run, float] = {}
        """When each was last seen to work, or seen at all, by the monotonic clock."""
        self._charged: frozenset[_Run] = frozenset()
        self._blind = False
        """Whether it was said that processes cannot be matched."""

    def look(self, containers: Sequence[Container], *, complete: bool, idle_below: float) -> GpuLook:
        """
        Give the GPUs and who has them; `complete` is False before every container has been seen once.

        Whoever uses less than `idle_below` of the multiprocessors' time is idle.
        """
        latest, source = self._eyes.latest, self._eyes.source
        if latest is None and isinstance(source, Known):
            latest = self._eyes.latest  # it may have come between the two
        if latest is None:
            self._forget()
            return GpuLook(source=source, gpus=Gpus(seen=self._seen.count))
        self._seen.note(len(latest.gpus))
        if not complete:
            self._forget()
            return GpuLook(source=Known(latest.at), gpus=self._told(latest, (), ()))
        fresh, passed = latest is not self._sample, 0.0
        if fresh:
            passed = self._take(latest)
        shares = share(latest, self._named, containers)
        by_id = {container.id: container for container in containers}
        runs = [
            ((use.container_id, by_id[use.container_id].started_at, use.gpu_uuid, use.mig_uuid), use)
            for use in shares.use
        ]
        return GpuLook(
            source=Known(latest.at),
            gpus=self._told(latest, tuple(self._timed(runs, idle_below)), shares.held),
            charges=tuple(self._charges(runs, by_id, passed)) if fresh else (),
        )

    def _take(self, sample: GpuSample) -> float:
        """Begin with a sample, and give the seconds since the one before."""
        now = self._clock.monotonic()
        passed = 0.0 if self._sample is None else now - self._sampled
        self._sample, self._sampled = sample, now
        pids = {process.pid for gpu in sample.gpus for process in gpu.processes or ()}
        attributable = self._owners.attributable()
        if not attributable and not self._blind:
            log.warning(
                "which container uses which GPU cannot be told: this is a PID namespace of our own\n"
                "  cure: run it with --pid host (pid: host in compose)"
            )
        self._blind = not attributable
        self._named = self._owners.read(pids) if attributable else None
        return passed

    def _forget(self) -> None:
        self._sample, self._named, self._worked, self._charged = None, None, {}, frozenset()

    def _told(self, sample: GpuSample, use: tuple[GpuUse, ...], held: tuple[GpuHeld, ...]) -> Gpus:
        return Gpus(
            driver_version=sample.driver_version,
            devices=sample.gpus,
            use=use,
            held=held,
            attributable=self._sample is None or self._named is not None,
            seen=self._seen.count,
        )

    def _timed(self, runs: Sequence[tuple[_Run, GpuUse]], idle_below: float) -> Iterator[GpuUse]:
        """Tell of each how long it has been idle, as of the sample."""
        before, self._worked = self._worked, {}
        for run, use in runs:
            if use.sm_ratio is None:
                yield use
                continue
            works = use.sm_ratio > 0 and use.sm_ratio >= idle_below
            since = self._worked[run] = self._sampled if works else before.get(run, self._sampled)
            yield replace(use, idle_for=timedelta(seconds=self._sampled - since))

    def _charges(
        self, runs: Sequence[tuple[_Run, GpuUse]], by_id: Mapping[str, Container], passed: float
    ) -> Iterator[GpuCharge]:
        """Charge what was there at the sample before too; what is new is charged from now on."""
        gpus = {gpu.uuid: gpu for gpu in self._sample.gpus} if self._sample else {}
        before, self._charged = self._charged, frozenset(run for run, _ in runs)
        for run, use in runs:
            gpu = gpus[use.gpu_uuid]
            if gpu.fault is not None:
                continue
            seconds = passed if run in before else 0.0
            yield GpuCharge(
                container=by_id[use.container_id],
                gpu_uuid=use.gpu_uuid,
                profile=next((mig.profile for mig in gpu.instances if mig.uuid == use.mig_uuid), ""),
                allocated_seconds=seconds,
                sm_seconds=None if use.sm_ratio is None or not _tells_time(gpu) else use.sm_ratio * seconds,
            )


def _tells_time(gpu: Gpu) -> bool:
    """Tell whether the driver gives the multiprocessor time of processes: it does not under MIG."""
    return not gpu.mig and all(process.sm_ratio is not None for process in gpu.processes or ())
