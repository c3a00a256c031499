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
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from collectors.facts import Container, Source
    from collectors.gpu_facts import Gpu, GpuHeld, GpuSample, GpuUse
    from collectors.gpu_use import Shares
    from collectors.process_owner import Named, ProcessOwners
    from daemon.clock import Clock
    from daemon.gpu_seen import SeenGpus

log = logging.getLogger(__name__)

_Run: TypeAlias = "tuple[str, datetime | None, str, str]"
"""One run of a container on one GPU or MIG device: its id, when it was started, both UUIDs."""


class GpuEyes(Protocol):
    """Whoever asks NVML."""

    @property
    def recent(self) -> tuple[tuple[float, GpuSample], ...]:
        """
        The newest sample and some before it, the oldest first, each with when it was taken by the monotonic clock.

        None where there are no GPUs, and where they are not known.
        """
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
    Matches processes with containers in every sample, and adds up what lies between two of them.

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
        """When it was taken, by the monotonic clock."""
        self._named: Mapping[int, Named] | None = None
        self._worked: dict[_Run, float] = {}
        """When each was last seen to work, or seen at all, by the monotonic clock."""
        self._charged: frozenset[_Run] = frozenset()
        self._idle_below = 0.0
        self._current = True
        self._blind = False
        """Whether it was said that processes cannot be matched."""

    def look(
        self, containers: Sequence[Container], *, complete: bool, idle_below: float, current: bool = True
    ) -> GpuLook:
        """
        Give the GPUs and who has them; `complete` is False before every container has been seen once.

        `current` is False while Docker cannot be asked: then only whoever is seen on a GPU is charged, for one that
        asked for it may have ended. Whoever uses less than `idle_below` of the multiprocessors' time is idle.
        """
        self._idle_below, self._current = idle_below, current
        recent, source = self._eyes.recent, self._eyes.source
        if not recent and isinstance(source, Known):
            recent = self._eyes.recent  # the first one may have come between the two
        if not recent:
            self._forget()
            # Where it is known that there are none, or they are not to be read, none is missed.
            return GpuLook(source=source, gpus=Gpus() if isinstance(source, Known) else Gpus(seen=self._seen.count))
        latest = recent[-1][1]
        self._seen.note(latest)
        if not complete:
            self._forget()
            return GpuLook(source=Known(latest.at), gpus=self._told(latest, (), ()))
        charges = tuple(self._take(recent, containers))
        shares = share(latest, self._named, containers)
        runs = _runs(shares, containers)
        self._note_work(runs)  # once more: a container may have come since
        use = tuple(self._timed(run, use) for run, use in runs)
        return GpuLook(source=Known(latest.at), gpus=self._told(latest, use, shares.held), charges=charges)

    def _take(self, recent: Sequence[tuple[float, GpuSample]], containers: Sequence[Container]) -> Iterator[GpuCharge]:
        """Go through the samples that have come since the last look, and give what each is to be charged for."""
        begins = self._sample is None
        fresh = recent[-1:] if begins else [(at, sample) for at, sample in recent if at > self._sampled]
        if not fresh:
            return
        before, self._named = self._named, self._read([sample for _, sample in fresh])
        for at, sample in fresh:
            passed = 0.0 if begins else at - self._sampled
            self._sample, self._sampled = sample, at
            # One that has ended meanwhile was where it was: but what it still holds now is nobody's.
            named = self._named if at == fresh[-1][0] or self._named is None else {**(before or {}), **self._named}
            runs = _runs(share(sample, named, containers), containers)
            self._note_work(runs)
            had = [(run, use) for run, use in runs if self._current or use.processes]
            yield from self._charges(sample, had, {container.id: container for container in containers}, passed)

    def _read(self, samples: Sequence[GpuSample]) -> Mapping[int, Named] | None:
        """Read where the processes of these samples are; `None` if that cannot be known."""
        attributable = self._owners.attributable()
        if not attributable and not self._blind:
            log.warning(
                "which container uses which GPU cannot be told: the processes of the host cannot be seen from here\n"
                "  cure: in a container run it with --pid host (pid: host in compose); else mount /proc without hidepid"
            )
        self._blind = not attributable
        pids = {process.pid for sample in samples for gpu in sample.gpus for process in gpu.processes or ()}
        return self._owners.read(pids) if attributable else None

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

    def _note_work(self, runs: Sequence[tuple[_Run, GpuUse]]) -> None:
        """Note who worked in the sample; of whom that is not known, nothing is known any more."""
        before, self._worked = self._worked, {}
        for run, use in runs:
            if use.sm_ratio is not None:
                works = use.sm_ratio > 0 and use.sm_ratio >= self._idle_below
                self._worked[run] = self._sampled if works else before.get(run, self._sampled)

    def _timed(self, run: _Run, use: GpuUse) -> GpuUse:
        """Tell how long it has been idle, as of the sample."""
        since = self._worked.get(run)
        return use if since is None else replace(use, idle_for=timedelta(seconds=self._sampled - since))

    def _charges(
        self,
        sample: GpuSample,
        runs: Sequence[tuple[_Run, GpuUse]],
        by_id: Mapping[str, Container],
        passed: float,
    ) -> Iterator[GpuCharge]:
        """Charge what was there at the sample before too; what is new is charged from now on."""
        gpus = {gpu.uuid: gpu for gpu in sample.gpus}
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


def _runs(shares: Shares, containers: Iterable[Container]) -> list[tuple[_Run, GpuUse]]:
    started = {container.id: container.started_at for container in containers}
    return [((use.container_id, started[use.container_id], use.gpu_uuid, use.mig_uuid), use) for use in shares.use]


def _tells_time(gpu: Gpu) -> bool:
    """Tell whether the driver gives the multiprocessor time of processes: it does not under MIG."""
    return not gpu.mig and all(process.sm_ratio is not None for process in gpu.processes or ())
