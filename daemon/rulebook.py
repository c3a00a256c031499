"""What the owner wants, as far as it can change while the daemon runs: one frozen value for everything that judges."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.modes import lesser
from daemon.redact import Redactor
from policies import relief
from policies.bounds import PLAIN
from policies.container_states import ContainerStates
from policies.deaths import Crashes
from policies.disk_pressure import DiskPressure
from policies.disk_writable import DiskReadOnly
from policies.engine import EngineDown, EngineStuck, EventsStale
from policies.gpu_containers import ContainerGpus
from policies.gpu_refused import GpuRefused
from policies.gpu_xids import GpuXids
from policies.health import ContainerHealth
from policies.health_turns import HealthFlapping
from policies.host_oom import HostOutOfMemory
from policies.nvml import NvmlUnavailable
from policies.own_state import OwnWorkDone, StateUnsaved
from policies.relieved import Reliefs
from policies.store_place import StorePlace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.facts import Protection
    from daemon.alerts.routing import RoutingRule
    from daemon.config import Settings
    from daemon.modes import Mode
    from policies.bounds import Bounds
    from policies.catalogue import AlertRule
    from policies.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """By what one cycle judges, from its first look to its last message."""

    mode: Mode
    grace: timedelta
    """How long nothing is removed by itself after a start, an outage or a step of the clock."""
    grace_critical: timedelta = timedelta(minutes=2)
    """The same while a disk is critical; never longer than `grace`."""
    evidence_bytes: int = 256 << 20
    """What the evidence of removed containers may take in all; 0 for none."""
    daily_digest: bool = True
    """Whether all sinks are told once a day what a cleanup would have removed."""
    host: str
    """How this machine is called in messages."""
    policies: Mapping[str, Policy]
    """By name, in the order in which they are asked."""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    """What bounds each policy that removes, by the policy's name."""
    rules: Mapping[str, AlertRule]
    """By alert; one that is switched off, or that no policy speaks of, is absent."""
    protection: Protection
    ignore: tuple[str, ...]
    """Globs of container names that no alert may speak of."""
    owner_label: str
    """The label of containers that names their owner; empty for none."""
    gpu_idle_below: float
    """The share of a GPU's multiprocessor time below which a container counts as idle."""
    log_lines: int
    """0 if nothing that a container writes may leave this host: neither its log nor its probes' output."""
    redact: Redactor
    group_wait: timedelta
    routes: tuple[RoutingRule, ...] = ()
    """Which sinks are told of which alert; what none of them takes goes to all that are told by default."""

    @classmethod
    def of(cls, settings: Settings) -> Rulebook:
        """Take from the settings what can change; re.error for a pattern of `[alerts] redact` that is none."""
        policies: dict[str, Policy] = {
            **settings.enabled_policies(),
            "deaths": Crashes(),
            "health": ContainerHealth(),
            "health_turns": HealthFlapping(),
            "container_states": ContainerStates(),
            "engine": EngineDown(),
            "engine_stuck": EngineStuck(),
            "store_place": StorePlace(),
            "events": EventsStale(),
            "disk_writable": DiskReadOnly(),
            "host_oom": HostOutOfMemory(),
            "gpu_xids": GpuXids(),
            "gpu_containers": ContainerGpus(),
            "gpu_refused": GpuRefused(),
            "nvml": NvmlUnavailable(),
            "own_state": StateUnsaved(),
            "own_work": OwnWorkDone(),
        }
        bounds = settings.bounds()
        if isinstance(pressure := policies.get(relief.NAME), DiskPressure):
            bounded = replace(pressure, bounds=bounds.get(relief.NAME, PLAIN))
            policies[relief.NAME], policies["reliefs"] = bounded, Reliefs(pressure=bounded)
        spoken_of = {alert for policy in policies.values() for alert in policy.alerts}
        return cls(
            mode=settings.mode,
            grace=settings.cleanup.grace,
            grace_critical=min(settings.cleanup.grace, settings.cleanup.grace_critical),
            evidence_bytes=settings.cleanup.evidence_max_bytes,
            daily_digest=settings.cleanup.daily_digest,
            host=settings.host_name(),
            policies=policies,
            bounds=bounds,
            rules={name: rule for name, rule in settings.rules().items() if name in spoken_of},
            protection=settings.protection(),
            ignore=settings.alerts.ignore,
            owner_label=settings.gpu.owner_label,
            gpu_idle_below=settings.gpu.idle_below_percent / 100,
            log_lines=settings.alerts.log_lines,
            redact=Redactor(settings.alerts.redact),
            group_wait=settings.alerts.group_wait,
            routes=settings.routing(),
        )

    def mode_of(self, policy: str) -> Mode:
        """Give what a policy may do: its own mode or that of the whole, whichever does less."""
        return lesser(self.mode, self.bounds_of(policy).mode)

    @property
    def pressure(self) -> DiskPressure | None:
        """The policy that judges how full the disks are; `None` where it is switched off."""
        policy = self.policies.get(relief.NAME)
        return policy if isinstance(policy, DiskPressure) else None

    @property
    def crashes(self) -> Crashes | None:
        """The policy that judges who keeps restarting; `None` where there is none."""
        policy = self.policies.get("deaths")
        return policy if isinstance(policy, Crashes) else None

    def bounds_of(self, policy: str) -> Bounds:
        """Give what bounds a policy."""
        return self.bounds.get(policy, PLAIN)

    def for_one_look(self) -> Rulebook:
        """Give the same without any wait: whoever looks once wants to hear at once what is wrong now."""
        rules = {name: replace(rule, hold=timedelta(0)) for name, rule in self.rules.items()}
        return replace(self, rules=rules, group_wait=timedelta(0))
