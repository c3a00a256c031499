"""A host on which all is well, and the same with faults."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from collectors.facts import Container, ContainerState, Engine, EngineState, Filesystem
from daemon.doctor.facts import (
    Address,
    Clock,
    Disks,
    Folder,
    GpuHost,
    Host,
    Ourselves,
    Process,
    Reach,
    SocketFile,
    TextFile,
    User,
)
from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from daemon.doctor.facts import Seen

GIB = 1 << 30
SOCKET = "unix:///var/run/docker.sock"
ENGINE = Engine(
    state=EngineState.UP,
    since=NOW,
    version="28.5.2",
    api_version="1.51",
    data_root="/data/docker",
    storage_driver="overlay2",
    cgroup_version="2",
    live_restore=True,
    runtimes=("runc",),
)
INFO: dict[str, Any] = {"LoggingDriver": "local", "Warnings": None, "DriverStatus": [["Supports d_type", "true"]]}
UNITS = {
    "docker.service": {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "MainPID": "612",
    },
    "docker.socket": {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"},
    "shipkeeper.service": {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "User": "shipkeeper",
        "SupplementaryGroups": "docker",
    },
}


def a_filesystem(mountpoint: str, *roles: str, size: int = 1000 * GIB, **changes: Any) -> Filesystem:
    """Give a filesystem of this size, half full."""
    plain = Filesystem(
        mountpoint=mountpoint,
        device=hash(mountpoint),
        roles=roles,
        size_bytes=size,
        used_bytes=size // 2,
        available_bytes=size - size // 2,
        inodes=1_000_000,
        inodes_free=900_000,
        read_only=False,
    )
    return replace(plain, **changes)


def a_container(name: str, **changes: Any) -> Container:
    """Give a running container with a bounded log."""
    plain = Container(
        id=name.encode().hex().ljust(64, "0"),
        name=name,
        image=f"{name}:1",
        image_id="sha256:" + "b" * 64,
        state=ContainerState.RUNNING,
        created_at=NOW - timedelta(days=3),
        log_driver="local",
    )
    return replace(plain, **changes)


WELL = Host(
    name="gpu-host-2",
    user=User(uid=1000, name="ada", groups=frozenset({"ada", "docker"}), account_groups=frozenset({"ada", "docker"})),
    address=Address(ours=SOCKET, configured=False, cli=SOCKET),
    socket=SocketFile("root", "docker", 0o660),
    reach=Reach(state=EngineState.UP, engine=ENGINE, info=INFO),
    units=UNITS,
    dockerd_installed=True,
    process=Process(arguments=("-H", "fd://", "--containerd=/run/containerd/containerd.sock"), pid=612),
    daemon_json=TextFile(path="/etc/docker/daemon.json", text='{"log-driver": "local", "live-restore": true}'),
    containers=(a_container("web"),),
    disks=Disks(
        filesystems=(a_filesystem("/data", "data-root", "volumes", "logs"), a_filesystem("/", "os-root", "state")),
        devices={"/": "/dev/sda1", "/data": "/dev/sdb1"},
        kinds={"/": "ext4", "/data": "ext4"},
        data_root="/data/docker",
        containerd_root="/var/lib/containerd",
    ),
    clock=Clock(now=NOW, synchronized=True),
    gpus=GpuHost(on_pci_bus=0, driver="", devices=(), toolkit="", cdi_files=()),
    ourselves=Ourselves(
        config_file="/etc/shipkeeper/shipkeeper.toml",
        config_problem="",
        status={
            "version": "0.1.0",
            "store": {"degraded": None},
            "sinks": [{"name": "slack", "state": "ok", "last_error": None}],
        },
        state=Folder(path="/var/lib/shipkeeper", owner="shipkeeper", mode=0o700, writable=False),
        version="0.1.0",
        listen="127.0.0.1:9817",
        web_protected=False,
        port_holder="",
        sinks=True,
        service_groups=frozenset({"shipkeeper"}),
    ),
)
"""Nothing is wrong with it."""


def settings(text: str | None) -> Seen[TextFile]:
    """Give a `daemon.json` with this text."""
    return TextFile(path="/etc/docker/daemon.json", text=text)


def with_engine(info: dict[str, Any] | None = None, **changes: Any) -> Host:
    """Give the host with another engine."""
    return replace(WELL, reach=replace(WELL.reach, engine=replace(ENGINE, **changes), info=INFO | (info or {})))


def without_engine(state: EngineState, why: str, cure: str = "look at its log", **changes: Any) -> Host:
    """Give the host with an engine that does not answer."""
    return replace(WELL, reach=Reach(state=state, why=why, cure=cure), **changes)


def with_units(**changes: dict[str, str]) -> Host:
    """Give the host with other units: `docker_service` stands for docker.service, and so on."""
    units = {name: UNITS[name] | changes.get(name.replace(".", "_"), {}) for name in UNITS}
    return replace(WELL, units=units)


def with_disks(*filesystems: Filesystem, **changes: Any) -> Host:
    """Give the host with these filesystems."""
    assert isinstance(WELL.disks, Disks)
    return replace(WELL, disks=replace(WELL.disks, filesystems=filesystems, **changes))


def with_gpus(**changes: Any) -> Host:
    """Give the host with other hardware or software of NVIDIA's."""
    assert isinstance(WELL.gpus, GpuHost)
    return replace(WELL, gpus=replace(WELL.gpus, **changes))


def with_ours(**changes: Any) -> Host:
    """Give the host with another Shipkeeper on it."""
    return replace(WELL, ourselves=replace(WELL.ourselves, **changes))
