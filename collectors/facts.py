"""The frozen records that collectors observe and policies decide on.

Nothing here reads, decides or acts. Times are aware UTC datetimes, sizes are bytes, durations are
`timedelta`. A value that could not be read is `None`, never a made-up zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from collectors.gpu_facts import Gpus
from collectors.own_facts import OwnWork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from collectors.gpu_facts import GpuHold, GpuRequest
    from collectors.own_facts import HostMemory, HostOom, MemoryUse
    from collectors.storage_facts import BuildRecord, LogSize, Network, Relieved, Volume

SYSTEM_SOCKETS = frozenset({"/var/run/docker.sock", "/run/docker.sock"})
"""Where the system's engine listens, by both names of /run."""
COMPOSE_PROJECT = "com.docker.compose.project"
COMPOSE_SERVICE = "com.docker.compose.service"
COMPOSE_NUMBER = "com.docker.compose.container-number"
COMPOSE_ONEOFF = "com.docker.compose.oneoff"
NO_LABELS: Mapping[str, str] = MappingProxyType({})
NO_SIZES: Mapping[str, int] = MappingProxyType({})
NO_RATES: Mapping[str, float] = MappingProxyType({})
NO_SPANS: Mapping[str, timedelta] = MappingProxyType({})
NO_MEMORY: Mapping[str, MemoryUse] = MappingProxyType({})
NO_INTENTS: Mapping[str, Intent] = MappingProxyType({})


class SourceName(StrEnum):
    """The parts of the world that can be readable or not, each for itself."""

    DOCKER = "docker"
    IMAGES = "images"
    """The images alone: a proxy may forbid them, and an engine may fail over a broken one."""
    FILESYSTEMS = "filesystems"
    BUILD_CACHE = "build_cache"
    NETWORKS = "networks"
    VOLUMES = "volumes"
    LOGS = "logs"
    """What the logs of all containers take."""
    GPU = "gpu"
    """NVML; on a host without GPUs it is known, and there are none."""


@dataclass(frozen=True, slots=True)
class Known:
    """A source that was read in full at `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Unknown:
    """A source that could not be read: `why` in words, and since when."""

    why: str
    since: datetime


Source: TypeAlias = Known | Unknown


class SubjectKind(StrEnum):
    """What kind of thing an alert or a removal is about."""

    CONTAINER = "container"
    IMAGE = "image"
    BUILD_CACHE = "build_cache"
    """The records of a build cache together: Docker removes them in one go."""
    NETWORK = "network"
    VOLUME = "volume"
    FILESYSTEM = "filesystem"
    GPU = "gpu"
    ENGINE = "engine"
    HOST = "host"
    """The machine as a whole."""
    DAEMON = "daemon"
    """Shipkeeper itself."""


@dataclass(frozen=True, slots=True)
class Subject:
    """
    The thing an alert is about.

    `key` is the stable identity (compose `project/service/number`, else the name; a mount point; never an
    object id), so a recreated container is the same subject. `name` is what people call it.
    """

    kind: SubjectKind
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One Docker object that a cleanup speaks of: its kind, its full id and its name."""

    kind: SubjectKind
    id: str
    name: str


class ContainerState(StrEnum):
    """Docker's `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class HealthStatus(StrEnum):
    """Docker's `State.Health.Status`; a container without a health check has no `Health` at all."""

    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a health check: `last_output` is the newest probe's output, at most 400 characters."""

    status: HealthStatus
    failing_streak: int
    last_output: str


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Docker's `HostConfig.RestartPolicy`: `name` is no, always, unless-stopped or on-failure."""

    name: str = "no"
    maximum_retries: int = 0

    def restarts(self, exit_code: int | None) -> bool:
        """Tell whether Docker itself starts a container again that exited with this code."""
        if self.name in {"always", "unless-stopped"}:
            return True
        return self.name == "on-failure" and exit_code != 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container as `GET /containers/{id}/json` shows it."""

    id: str
    name: str
    image: str
    """`Config.Image`: what the owner asked for."""
    image_id: str
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    state: ContainerState
    health: Health | None = None
    pid: int = 0
    """The host PID of the first process; 0 when none runs."""
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    """`State.Error`: the engine's own words on a failed start."""
    created_at: datetime
    started_at: datetime | None = None
    """`None` if it was never started (Docker writes year 1)."""
    finished_at: datetime | None = None
    """`None` if it never ended."""
    restart_count: int = 0
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    stop_signal: int = 15
    stop_timeout: timedelta = timedelta(seconds=10)
    network_mode: str = ""
    cgroup_parent: str = ""
    log_path: str = ""
    log_driver: str = ""
    """`HostConfig.LogConfig.Type`, the engine's default for it included."""
    log_max_size: str = ""
    """Its option `max-size`, in Docker's words; empty where nothing was set."""
    stopped_for: timedelta | None = None
    """How long we have watched it stopped, rounded down; `None` where we did not. No wall clock is in it."""
    volumes: tuple[str, ...] = ()
    """The names of the volumes that it mounts, anonymous ones too."""
    networks: tuple[str, ...] = ()
    """The names and ids of the networks that it is to join, whether it runs or not."""
    mounted_images: tuple[str, ...] = ()
    """The references of the images that it mounts."""
    leans_on: tuple[str, ...] = ()
    """Names and ids of the containers whose namespaces or volumes it uses, or to which it is linked."""
    memory_limit_bytes: int | None = None
    """`None` when unlimited."""
    runtime: str = ""
    """`HostConfig.Runtime`; empty for the engine's default."""
    privileged: bool = False
    gpu_requests: tuple[GpuRequest, ...] = ()
    """What it asked for and, by its runtime, gets."""
    gpu_image: bool = False
    """Its environment says that the image was made for NVIDIA GPUs."""
    size_bytes: int | None = None
    """The writable layer; `None` until a slow lane has measured it."""
    inspected: bool = True
    """False when Docker lists it and cannot inspect it: then only what the list tells is known."""
    subject: Subject = field(init=False, repr=False, compare=False)
    """The identity that survives recreation; told once, for every policy asks for it in every cycle."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject", container_subject(self.name, self.labels))

    @property
    def compose_project(self) -> str:
        """The compose project, or an empty string."""
        return self.labels.get(COMPOSE_PROJECT, "")

    @property
    def compose_service(self) -> str:
        """The compose service, or an empty string."""
        return self.labels.get(COMPOSE_SERVICE, "")

    @property
    def probed(self) -> HealthStatus | None:
        """
        What its probes say, while it runs; `None` without a health check, or until one was made.

        Docker calls unhealthy what it does not probe: what is stopped or paused, and after a pause until the next one.
        """
        health = self.health
        if health is None or self.state is not ContainerState.RUNNING:
            return None
        unasked = health.status is HealthStatus.UNHEALTHY and health.failing_streak == 0
        return None if unasked else health.status

    @property
    def ref(self) -> ObjectRef:
        """This very object."""
        return ObjectRef(SubjectKind.CONTAINER, self.id, self.name)


def container_subject(name: str, labels: Mapping[str, str]) -> Subject:
    """Give the stable identity of a container: compose `project/service/number`, else its name."""
    project, service = labels.get(COMPOSE_PROJECT), labels.get(COMPOSE_SERVICE)
    # `docker compose run` numbers its containers from 1 as well: as the service's number 1 the end of a
    # one-off would be told as the service's own, and the running service would hide it.
    if project and service and not one_off(labels):
        key = f"{project}/{service}/{labels.get(COMPOSE_NUMBER, '1')}"
        return Subject(SubjectKind.CONTAINER, key, name)
    return Subject(SubjectKind.CONTAINER, name, name)


def one_off(labels: Mapping[str, str]) -> bool:
    """Tell whether `docker compose run` made the container, which is then no part of its service."""
    return labels.get(COMPOSE_ONEOFF, "").lower() == "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One local image as `GET /images/json` and, for candidates, its inspect show it."""

    id: str
    tags: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    size_bytes: int
    created_at: datetime | None
    """Build time; `None` when absent or absurd (year 1, 1970)."""
    last_tagged_at: datetime | None = None
    """`Metadata.LastTagTime`: when it was tagged or pulled here; `None` if never or unknown."""
    parent_id: str = ""
    inspected: bool = True
    """False while only the list tells of it: then nobody knows yet when it was tagged."""
    watched_for: timedelta = timedelta(0)
    """How long we have watched this image lie unused, summed over our own running time only."""
    last_used_at: datetime | None = None
    """Its last use that we know of, at the earliest when we first saw it; `None` before that."""
    pull_seen: bool = False
    """True if we saw it being pulled or pushed: a registry has it."""
    unique_bytes: int | None = None
    """What no other image shares with it, so what its removal frees at least; `None` until a slow lane asked."""

    @property
    def dangling(self) -> bool:
        """True when no tag names it."""
        return not self.tags

    @property
    def ref(self) -> ObjectRef:
        """This very object."""
        return ObjectRef(
            SubjectKind.IMAGE, self.id, self.tags[0] if self.tags else self.id.removeprefix("sha256:")[:12]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """One distinct filesystem (one device number) that matters to Docker, from statvfs."""

    mountpoint: str
    device: int
    """`st_dev`: the identity of the filesystem."""
    roles: tuple[str, ...]
    """Why it matters: data-root, containerd-root, volumes, logs, volume (a single one's), os-root, state."""
    size_bytes: int
    used_bytes: int
    """Blocks that are not free, the root reserve counted as free."""
    available_bytes: int
    """What an unprivileged writer may still use."""
    inodes: int | None
    """`None` where the filesystem has no inode count (btrfs)."""
    inodes_free: int | None
    read_only: bool | None = None
    """Nobody can write to it, not only we; `None` where the kernel does not tell."""

    @property
    def free_ratio(self) -> float:
        """Free share as `df` counts it: available / (used + available)."""
        total = self.used_bytes + self.available_bytes
        return self.available_bytes / total if total else 0.0

    @property
    def subject(self) -> Subject:
        """The filesystem, shown by its mount point."""
        return Subject(SubjectKind.FILESYSTEM, self.mountpoint, self.mountpoint)


class DiskKind(StrEnum):
    """What takes space on a disk."""

    IMAGES = "images"
    CONTAINER_LAYERS = "container_layers"
    """What containers wrote into their own root filesystems."""
    VOLUMES = "volumes"
    BUILD_CACHE = "build_cache"
    CONTAINER_LOGS = "container_logs"
    OTHER = "other"
    """What none of the above explains: not Docker's, as far as we know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeUsage:
    """What one volume holds at `path`, and whether no container uses it."""

    path: str
    size_bytes: int
    unused: bool
    name: str = ""
    references: int | None = None
    """How many containers mount it; `None` where it is not known."""
    created_at: datetime | None = None
    """By which it is told from another one of its name; `None` where Docker does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KindUsage:
    """
    What Docker told of all objects of one kind at `at`.

    A figure that it did not tell, or of which a part is missing, is `None`.
    """

    kind: DiskKind
    at: datetime
    size_bytes: int | None
    """With containerd's image store the one of images is all that it keeps: layers and build cache are part of it."""
    reclaimable_bytes: int | None
    """What would be gone with the objects that nothing uses; at least so much."""
    count: int | None
    active: int | None
    """Those of them that something uses."""
    volumes: tuple[VolumeUsage, ...] = ()
    """One by one, where Docker told them so."""
    layers: Mapping[str, int] = field(default_factory=dict)
    """What each container wrote into its own root filesystem, by its id, where Docker told them one by one."""
    unique_bytes: Mapping[str, int] = field(default_factory=lambda: NO_SIZES)
    """By image id, where Docker told it: what no other image shares with this one."""
    build_records: tuple[BuildRecord, ...] | None = None
    """Those of the build cache, `None` where only their sums were told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What takes how much of one filesystem; `mountpoint` is empty where the place is not known."""

    kind: DiskKind
    mountpoint: str
    size_bytes: int
    reclaimable_bytes: int | None = None


class Intent(StrEnum):
    """Why a container ended, as far as somebody wanted it to."""

    NONE = "none"
    """Nobody asked: it ended by itself or was killed from outside Docker."""
    API = "api"
    """Somebody asked Docker to stop, kill, restart or remove it."""
    ENGINE = "engine"
    """The engine was stopping or restarting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """
    One end of one container's main process: a row of the ledger.

    `key` (container id and FinishedAt) is unique: the same end seen by an event and by a reconcile is one
    death. What is needed to speak of it after the container is gone is copied in.
    """

    container_id: str
    name: str
    image: str
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    """Compose and `shipkeeper.*` labels only."""
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    memory_limit_bytes: int | None = None
    finished_at: datetime
    exit_code: int | None
    """`None` when it cannot be known."""
    oom: bool = False
    intent: Intent = Intent.NONE
    uptime: timedelta | None = None
    inferred: bool = False
    """True when no event told of it and a reconcile found it."""
    log_tail: tuple[str, ...] = ()
    """The last lines, already redacted."""
    gpus: tuple[GpuHold, ...] = ()
    """What it held of GPUs until then, as far as that was seen."""
    memory: MemoryUse | None = None
    """What was last seen of its memory, if it was killed for that."""
    clock_set: timedelta = timedelta(0)
    """How far the wall clock was set since then, forward if positive: no part of its age."""
    subject: Subject = field(init=False, repr=False, compare=False)
    """The container it happened to."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject", container_subject(self.name, self.labels))

    def age(self, now: datetime) -> timedelta:
        """Give how long ago it happened, whatever the wall clock was set to since."""
        return now - self.finished_at - self.clock_set

    @property
    def key(self) -> str:
        """The identity of this death."""
        return f"{self.container_id}@{self.finished_at.isoformat()}"

    @property
    def bad(self) -> bool:
        """True for an end that nobody asked for and that was not a clean exit."""
        return self.intent is Intent.NONE and (self.exit_code != 0 or self.oom)


@dataclass(frozen=True, slots=True, kw_only=True)
class OomKill:
    """A process killed for memory inside a container that lived on (cgroup `oom_kill` rose)."""

    container_id: str
    subject: Subject
    at: datetime
    count: int
    """How many processes were killed since the counter was last read."""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    """As those of a `Death`."""


class EngineState(StrEnum):
    """What the engine looks like from outside."""

    UP = "up"
    STARTING = "starting"
    """Not reached yet since we started; too early to call it down."""
    STOPPED = "stopped"
    """Its socket is gone, or systemd says that somebody stopped it."""
    CRASHED = "crashed"
    """The socket is there and nobody listens."""
    HUNG = "hung"
    """It accepts and does not answer."""
    DENIED = "denied"
    """It is there and this user may not talk to it."""
    UNSUPPORTED = "unsupported"
    """Too old, or not a kind of endpoint that we can serve."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The Docker Engine: its state, in words why, since when, and what it said of itself when last up."""

    state: EngineState
    since: datetime
    why: str = ""
    cure: str = ""
    version: str = ""
    build: str = ""
    """What it was built from: a commit, or the version of a distribution's package (`24.0.7-0ubuntu4.1`)."""
    api_version: str = ""
    data_root: str = ""
    storage_driver: str = ""
    containerd_store: bool = False
    """Images and layers are kept by containerd, under a folder of its own that the API does not tell."""
    containerd_address: str = ""
    """The socket of the containerd in use; empty where the engine does not tell it."""
    cgroup_driver: str = ""
    cgroup_version: str = ""
    runtimes: tuple[str, ...] = ()
    """The names of the runtimes that containers may ask for."""
    default_runtime: str = ""
    cdi_devices: tuple[str, ...] = ()
    """The devices that it found through CDI (`nvidia.com/gpu=0`); older engines than 28.3 do not tell."""
    live_restore: bool = False
    swarm: bool = False
    """It is a node of a swarm, whose services refer to images, volumes and networks that no container shows."""
    described: bool = True
    """False where a proxy keeps from us what the engine says of itself: it may be a node of a swarm."""
    podman: bool = False

    @property
    def subject(self) -> Subject:
        """The one engine of this host."""
        return Subject(SubjectKind.ENGINE, "docker", "Docker Engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """The owner's settings of what is never removed: globs of names, of images of their references."""

    containers: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One frozen snapshot of everything that a policy may know."""

    now: datetime
    sources: Mapping[SourceName, Source]
    engine: Engine
    containers: tuple[Container, ...] = ()
    images: tuple[Image, ...] = ()
    filesystems: tuple[Filesystem, ...] = ()
    build_records: tuple[BuildRecord, ...] = ()
    networks: tuple[Network, ...] = ()
    volumes: tuple[Volume, ...] = ()
    logs: tuple[LogSize, ...] = ()
    pressed: frozenset[str] = frozenset()
    """Mount points that were too full for several samples in a row and have not come to their target since."""
    watched: timedelta | None = None
    """How long we have watched this host in all, summed over our own running time; `None` where nobody counts."""
    reliefs: tuple[Relieved, ...] = ()
    """What the last run against each full disk came to, since our start."""
    engine_stuck: str = ""
    """What Docker does not finish of what we asked of it, in words; empty if nothing."""
    clock_set_ago: timedelta | None = None
    """How long ago, in time that we watched, the wall clock was last set forward; `None` if we never saw it."""
    deaths: tuple[Death, ...] = ()
    """The last hour's, oldest first."""
    oom_kills: tuple[OomKill, ...] = ()
    """The last hour's, oldest first."""
    gpus: Gpus = field(default_factory=Gpus)
    protection: Protection = field(default_factory=Protection)
    own_container_id: str = ""
    """The container that we run in; empty where we run in none."""
    ignore: tuple[str, ...] = ()
    """Globs of the names of containers that the owner wants to hear nothing of."""
    owner_label: str = ""
    """The label of containers that names who is to be asked about them; empty for none."""
    growth: Mapping[str, float] = field(default_factory=lambda: NO_RATES)
    """How fast each filesystem fills, in bytes per second over the last hours, by mount point, where it is known."""
    disk_uses: tuple[DiskUse, ...] = ()
    """What takes how much of which filesystem."""
    memory: Mapping[str, MemoryUse] = field(default_factory=lambda: NO_MEMORY)
    """By container id: the newest reading of what it uses, where there is one."""
    host_memory: HostMemory | None = None
    host_ooms: tuple[HostOom, ...] | None = None
    """The last day's, oldest first; `None` where the kernel's log may not be read."""
    health_turns: Mapping[str, int] = field(default_factory=lambda: NO_SIZES)
    """How often health turned bad or good again in the last half an hour, by the key of the container."""
    unhealthy_for: Mapping[str, timedelta] = field(default_factory=lambda: NO_SPANS)
    """How long each container has been unhealthy without a turn, as far as we watched, by its key."""
    health_watched: bool = True
    """True once we have watched for half an hour: before, one without a turn is not yet called stable."""
    all_filesystems: bool = False
    """True if every place of the engine was found when `filesystems` were read: another one is not there any more."""
    ended_by: Mapping[str, Intent] = field(default_factory=lambda: NO_INTENTS)
    """By container id: why it ended last, as far as an event told."""
    own: OwnWork = field(default_factory=OwnWork)
    state_fault: str = ""
    """Why our own state cannot be written to the disk; empty while it can."""
    derived: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What was worked out of this very snapshot and is asked for again; a changed copy begins anew."""

    def known(self, needed: frozenset[SourceName]) -> bool:
        """Tell whether every one of these sources was read."""
        return all(isinstance(self.sources.get(name), Known) for name in needed)
