"""The collectors of the metrics page: the explicit list of everything that a scrape shows."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from collectors.cadvisor import DataRoot, Machine
from collectors.containers import ContainerCollector, View
from collectors.dcgm import dcgm_families
from collectors.engine_families import engine_families
from collectors.facts import SourceName, Unknown
from collectors.gpu_containers import container_gpu_families
from collectors.gpu_families import gpu_families
from collectors.host import Host
from collectors.inventory_families import inventory_families
from daemon.cleanup_metrics import cleanup_families, image_families
from daemon.counters import OOM_KILLS
from daemon.counters import families as counter_families
from daemon.dead_mans_switch import heartbeat_families
from daemon.self_metrics import self_families
from daemon.vitals import vital_families
from daemon.web.exposition import NamedCollector, NotReadableError
from policies.xids import XID_WORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from collectors.cgroup import CgroupReader
    from collectors.engine_calls import EngineCalls
    from collectors.facts import Container, Facts
    from collectors.families import Family
    from collectors.reading import MemoryMarks
    from daemon.alerts.pusher import Pusher
    from daemon.alerts.sender import Sender
    from daemon.alerts.silences import Silences
    from daemon.clock import Clock
    from daemon.crew import Crew
    from daemon.dead_mans_switch import DeadMansSwitch
    from daemon.disks import Disks
    from daemon.engine_watch import EngineWatch
    from daemon.events import EventReader
    from daemon.executor import Executor
    from daemon.reload import Configuration
    from daemon.sampler import Sample
    from daemon.steady import SteadyClock
    from daemon.vitals import Vitals
    from daemon.watch import Watch


class Exports:
    """
    Reads every part through what it has published; only cgroup and network files are read at the scrape itself.

    `clock` is what whoever scrapes goes by, `steady` what the outbox is dated by.
    """

    def __init__(  # noqa: PLR0913  the composition root hands in each part by name
        self,
        *,
        clock: Clock,
        steady: SteadyClock,
        cgroups: CgroupReader,
        engine: EngineWatch,
        reader: EventReader,
        disks: Disks,
        watch: Watch,
        sender: Sender,
        pusher: Pusher,
        switch: DeadMansSwitch,
        executor: Executor,
        calls: EngineCalls,
        vitals: Callable[[], Vitals],
        crew: Crew,
        configuration: Configuration,
        silences: Silences,
        local: bool,
    ) -> None:
        """Take `local` if the engine runs on this machine: else this machine's figures say nothing of it."""
        self._clock = clock
        self._steady = steady
        self._cgroups = cgroups
        self._engine = engine
        self._reader = reader
        self._disks = disks
        self._watch = watch
        self._sender = sender
        self._pusher = pusher
        self._switch = switch
        self._executor = executor
        self._calls = calls
        self._vitals = vitals
        self._crew = crew
        self._configuration = configuration
        self._silences = silences
        self._local = local
        self._host = Host()

    def collectors(self) -> Sequence[NamedCollector]:
        """Every collector of the metrics page; a new one is one line here."""
        containers = ContainerCollector(self._cgroups, self._view)
        return (
            NamedCollector("docker", lambda: engine_families(self._engine.engine)),
            NamedCollector("docker_api", self._calls.families),
            NamedCollector("containers", containers.collect),
            NamedCollector("counters", self._counter_families),
            NamedCollector("inventory", self._inventory_families),
            NamedCollector("gpu", self._gpu_families),
            NamedCollector("host", self._host_families),
            NamedCollector("filesystems", self._filesystem_families),
            NamedCollector("disk_usage", self._disks.usage_families),
            NamedCollector("container_logs", self._disks.log_families),
            NamedCollector("cleanup", self._cleanup_families),
            NamedCollector("self", self._self_families),
            NamedCollector("heartbeat", lambda: heartbeat_families(self._switch.stats)),
            NamedCollector("vitals", lambda: vital_families(self._vitals())),
        )

    def _view(self) -> View:
        """Give the containers while Docker tells of them; nothing stale is shown."""
        snapshot, sample, settings = (
            self._watch.snapshot,
            self._disks.sampler.latest,
            self._configuration.settings.metrics,
        )
        known = snapshot if snapshot and snapshot.docker_known else None
        containers = known.facts.containers if known else ()
        return View(
            containers=containers,
            known=known is not None,
            labels=settings.labels,
            cadvisor=settings.cadvisor,
            now=self._clock.now().timestamp(),
            marks=_of_this_run(sample, containers) if sample else {},
            stats=sample.readings if sample else {},
            oom_kills=dict(known.counters.get(OOM_KILLS, ())) if known else {},
            looping=self._looping(known.facts) if known else None,
            layer_bytes=self._disks.layer_bytes(),
            written_bytes=self._disks.written_bytes() if settings.cadvisor else {},
            data_root=self._data_root(sample) if sample else None,
            machine=Machine(cpus=os.cpu_count(), memory_bytes=self._host.memory_bytes) if self._local else None,
        )

    def _looping(self, facts: Facts) -> frozenset[str] | None:
        crashes = self._watch.book.crashes
        return crashes.looping(facts) if crashes else None

    def _data_root(self, sample: Sample) -> DataRoot | None:
        for filesystem in sample.filesystems:
            if "data-root" in filesystem.roles:
                device = self._cgroups.device(filesystem.device)
                return DataRoot(device=device, inodes=filesystem.inodes, inodes_free=filesystem.inodes_free)
        return None

    def _host_families(self) -> Iterable[Family]:
        return self._host.collect() if self._local else ()

    def _filesystem_families(self) -> Iterable[Family]:
        """Give the filesystems of the newest sample; raises NotReadableError while there is none, or it is too old."""
        if self._disks.sampler.latest is None:
            raise NotReadableError("no filesystem was measured lately")
        return self._disks.filesystem_families()

    def _gpu_families(self) -> Iterable[Family]:
        """Give the GPUs of the last cycle; raises NotReadableError while NVML cannot be asked."""
        snapshot, settings = self._watch.snapshot, self._configuration.settings
        if snapshot is None:
            return
        facts = snapshot.facts
        if isinstance(source := facts.sources[SourceName.GPU], Unknown):
            raise NotReadableError(source.why)
        yield from gpu_families(facts.gpus)
        if snapshot.docker_known:
            yield from container_gpu_families(facts.gpus, facts.containers)
        if settings.metrics.dcgm:
            yield from dcgm_families(facts.gpus, settings.host_name(), XID_WORDS)

    def _counter_families(self) -> Iterable[Family]:
        snapshot = self._watch.snapshot
        return counter_families(snapshot.counters if snapshot else {})

    def _inventory_families(self) -> Iterable[Family]:
        snapshot = self._watch.snapshot
        return inventory_families(snapshot.facts) if snapshot and snapshot.complete else ()

    def _cleanup_families(self) -> Iterable[Family]:
        snapshot = self._watch.snapshot
        yield from cleanup_families(snapshot.decision if snapshot else None)
        yield from image_families(snapshot.facts if snapshot else None)
        yield from self._executor.figures.families()

    def _self_families(self) -> Iterable[Family]:
        return self_families(
            self._watch.snapshot,
            reader=self._reader.stats,
            sinks=(*self._sender.stats, *self._pusher.stats),
            cycles=self._watch.cycles,
            failures=self._watch.failures,
            restarts=self._crew.restarts,
            configuration=self._configuration.standing,
            silences=len(self._silences.in_force()),
            now=self._steady.now(),
        )


def _of_this_run(sample: Sample, containers: Iterable[Container]) -> Mapping[str, MemoryMarks]:
    return {each.id: marks for each in containers if (marks := sample.marks.get(each.id)) and sample.saw(each)}
