"""The frozen records of what the doctor has seen of a host."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from collectors.facts import SYSTEM_SOCKETS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from collectors.facts import Container, Engine, EngineState, Filesystem
    from collectors.gpu_facts import Gpu

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Silent:
    """A daemon that is there and gives no answer, and how that showed, in words."""

    why: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be looked at, and why, in words."""

    why: str


Seen: TypeAlias = T | Unseen
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Who asks: `groups` are those of this process, `account_groups` those that the account has by now."""

    uid: int
    name: str
    groups: frozenset[str]
    account_groups: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """
    Where the engine is looked for, and where the docker command of this user looks for it.

    `cli_from` names what says so: `DOCKER_HOST`, a context; empty where it is Docker's default.
    """

    ours: str
    configured: bool
    """True if somebody wrote it down, false if it is the default."""
    cli: str
    cli_from: str = ""

    @property
    def socket_path(self) -> str:
        """The path of our unix socket; empty for an engine that is reached over TCP."""
        return self.ours.removeprefix("unix://") if self.ours.startswith("unix://") else ""

    @property
    def of_system(self) -> bool:
        """True for the socket of the system's engine, which docker.service starts where there is one."""
        return self.socket_path in SYSTEM_SOCKETS


@dataclass(frozen=True, slots=True)
class SocketFile:
    """Who owns the engine's socket, and its permissions."""

    owner: str
    group: str
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What came of talking to the engine; `info` is the answer to `GET /info`, as it came."""

    state: EngineState
    why: str = ""
    cure: str = ""
    engine: Engine | None = None
    info: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    @property
    def version(self) -> tuple[int, int] | None:
        """The major and minor version of the engine, as far as it is known."""
        major, _, rest = (self.engine.version if self.engine else "").partition(".")
        minor = rest.partition(".")[0]
        return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """The engine's own process, or what systemd would start: its arguments without the program."""

    arguments: tuple[str, ...]
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file of settings; `text` is `None` where there is no such file."""

    path: str
    text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Another local filesystem of this host, to which Docker's data could move."""

    mountpoint: str
    size_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """The filesystems that matter; `devices` and `kinds` say by mount point what lies below them."""

    filesystems: tuple[Filesystem, ...]
    errors: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    devices: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    kinds: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    targets: tuple[Target, ...] = ()
    """Those that could take Docker's data, the one with the most room first."""
    data_root: str = ""
    containerd_root: str = ""
    """Where containerd keeps its things, if the engine uses one of the system's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """This host's wall clock; `synchronized` is the kernel's word for it."""

    now: datetime
    synchronized: Seen[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuHost:
    """NVIDIA's hardware and software on this host."""

    on_pci_bus: int
    """Devices of NVIDIA's that compute or draw."""
    driver: str
    """The version of the loaded kernel module; empty if none is."""
    devices: Seen[tuple[Gpu, ...]]
    """By NVML."""
    toolkit: str
    """The path of a program of the NVIDIA Container Toolkit; empty if there is none."""
    cdi_files: tuple[str, ...]
    """Specifications that name NVIDIA's GPUs."""

    @property
    def count(self) -> int:
        """How many GPUs there are, by whoever sees the most."""
        return max(self.on_pci_bus, 0 if isinstance(self.devices, Unseen) else len(self.devices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of ours; `writable` says whether the asking user may write to it."""

    path: str
    owner: str
    mode: int
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ourselves:
    """Shipkeeper on this host."""

    config_file: str
    """Empty where there is none, and the defaults hold."""
    config_problem: Seen[str]
    """What is wrong with the configuration; empty if nothing is."""
    status: Seen[Mapping[str, Any] | Silent | None]
    """The running daemon's answer to `/status`; `None` if no daemon runs."""
    state: Seen[Folder | None]
    """The folder of what must not be lost; `None` if it is not there yet."""
    version: str
    listen: str
    web_protected: bool
    """Somebody wrote down who may see its pages."""
    port_holder: str | None
    """Who listens on our port; `None` if nobody does, empty if that cannot be seen."""
    sinks: bool
    """The configuration names a place for alerts besides the log."""
    service_groups: frozenset[str] | None
    """The groups of the user `shipkeeper`; `None` if there is no such user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Everything that was seen."""

    name: str
    user: User
    address: Address
    socket: Seen[SocketFile | None]
    """`None` where there is no such file."""
    reach: Reach
    units: Seen[Mapping[str, Mapping[str, str]]]
    """By name what systemd says of docker.service, docker.socket and shipkeeper.service."""
    dockerd_installed: bool
    process: Seen[Process]
    daemon_json: Seen[TextFile]
    containers: Seen[tuple[Container, ...]]
    disks: Seen[Disks]
    clock: Clock
    gpus: Seen[GpuHost]
    ourselves: Ourselves
