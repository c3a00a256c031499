"""Every fault that a check knows, as a host that has it: the page of troubleshooting is made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from collectors.facts import ContainerState, EngineState
from collectors.gpu_facts import Gpu, GpuFault
from daemon.doctor.facts import (
    Address,
    Clock,
    Folder,
    GpuHost,
    Host,
    Process,
    Silent,
    SocketFile,
    Target,
    Unseen,
    User,
)
from daemon.doctor.finding import Level
from tests.daemon.doctor.hosts import (
    GIB,
    WELL,
    a_container,
    a_filesystem,
    settings,
    with_disks,
    with_engine,
    with_gpus,
    with_ours,
    with_units,
    without_engine,
)

_PROBLEM, _WARNING, _NOTE, _UNSEEN = Level.PROBLEM, Level.WARNING, Level.NOTE, Level.UNSEEN
_ALONE = User(uid=1000, name="ada", groups=frozenset({"ada"}), account_groups=frozenset({"ada"}))
_DENIED = "Docker is there, but this user may not talk to it (/var/run/docker.sock: permission denied)"
_STOPPED = "Docker is not running (/var/run/docker.sock: no such socket)"
_HUNG = "Docker is hung: it does not answer in time (/var/run/docker.sock)"
_STORE = Target(mountpoint="/data", size_bytes=1000 * GIB, available_bytes=900 * GIB)
_SMALL = a_filesystem("/", "os-root", "state", "data-root", size=40 * GIB)
_STATE = Folder(path="/var/lib/shipkeeper", owner="shipkeeper", mode=0o700, writable=True)
_GPU = Gpu(uuid="GPU-1", index=0)
_CREATED = a_container(
    "trainer-3", state=ContainerState.CREATED, error='could not select device driver "" with capabilities: [[gpu]]'
)
_PLAIN = without_engine(EngineState.STOPPED, _STOPPED)


@dataclass(frozen=True)
class Case:
    """A host, and what a check has to say of it: parts of the finding, and of its cure's lines."""

    check: str
    level: Level
    what: str
    cure: str
    host: Host
    when: str = ""
    """What makes the cure this one, for the page."""


def _json(text: str) -> Host:
    return replace(WELL, daemon_json=settings(text))


def _old(text: str, version: str) -> Host:
    return replace(with_engine(version=version), daemon_json=settings(text))


def _units_of(engine: Host, **changes: dict[str, str]) -> Host:
    return replace(engine, units=with_units(**changes).units)


def _disk(*roles: str, size: int = 1000 * GIB, left: int, inodes_free: int = 900_000) -> Host:
    return with_disks(
        a_filesystem("/data", *roles, size=size, used_bytes=size - left, available_bytes=left, inodes_free=inodes_free)
    )


CASES = (
    Case(
        "engine-reachable",
        _PROBLEM,
        "permission denied",
        "sudo usermod -aG docker ada",
        without_engine(EngineState.DENIED, _DENIED, user=_ALONE),
        "you are in no group that may",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "permission denied",
        "newgrp docker",
        without_engine(EngineState.DENIED, _DENIED),
        "you became a member after you logged in",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "permission denied",
        "groupadd --force docker",
        without_engine(EngineState.DENIED, _DENIED, socket=SocketFile("root", "root", 0o600)),
        "the socket is root's alone",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "no such socket",
        "docs.docker.com/engine/install",
        replace(_PLAIN, units={}, dockerd_installed=False),
        "there is no dockerd",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "no such socket",
        "systemd does not know it",
        replace(_PLAIN, units={}),
        "it is not systemd that starts it",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "no such socket",
        "enable --now docker.service",
        _units_of(_PLAIN, docker_service={"ActiveState": "inactive", "UnitFileState": "disabled"}),
        "it does not start at boot either",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "no such socket",
        "sudo systemctl start docker.service",
        _units_of(_PLAIN, docker_service={"ActiveState": "inactive"}),
        "somebody stopped it",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "no such socket",
        "unmask docker.service",
        _units_of(_PLAIN, docker_service={"ActiveState": "inactive", "UnitFileState": "masked"}),
        "somebody forbade systemd to start it",
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "docker.service failed (exit-code)",
        "reset-failed docker.service",
        _units_of(
            without_engine(EngineState.CRASHED, "docker.service failed (exit-code)"),
            docker_service={"ActiveState": "failed"},
        ),
    ),
    Case(
        "engine-reachable",
        _PROBLEM,
        "no such socket",
        '[docker] host = "unix:///run/user/1000/docker.sock"',
        replace(
            _PLAIN,
            address=Address(
                ours=WELL.address.ours,
                configured=False,
                cli="unix:///run/user/1000/docker.sock",
                cli_from="the context rootless, by /home/ada/.docker/config.json",
            ),
        ),
        "docker itself is told to look elsewhere",
    ),
    Case("engine-reachable", _PROBLEM, "Docker is hung", "journalctl", without_engine(EngineState.HUNG, _HUNG)),
    Case(
        "engine-reachable",
        _PROBLEM,
        "is too old",
        "# upgrade Docker",
        without_engine(
            EngineState.UNSUPPORTED,
            "Docker 19.03 is too old: it speaks API 1.40 at most, Shipkeeper needs 1.41",
            "upgrade Docker to 20.10 or newer",
        ),
    ),
    Case(
        "engine-exposed",
        _PROBLEM,
        "listens at tcp://0.0.0.0:2375 without verifying",
        "use ssh",
        _json('{"hosts": ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2375"]}'),
    ),
    Case(
        "engine-exposed",
        _WARNING,
        "every user and container of this host",
        "docker.service",
        replace(WELL, process=Process(arguments=("-H", "tcp://127.0.0.1:2375"))),
    ),
    Case(
        "engine-exposed",
        _PROBLEM,
        "/var/run/docker.sock has mode 0666",
        "sudo chmod o= /var/run/docker.sock",
        replace(WELL, socket=SocketFile("root", "docker", 0o666)),
    ),
    Case(
        "daemon-json",
        _PROBLEM,
        "is no valid JSON: line 1, column 24",
        "dockerd --validate",
        _json('{"log-driver": "local" "debug": true}'),
    ),
    Case("daemon-json", _PROBLEM, "is no valid JSON: it holds no object", "sudoedit", _json("[]")),
    Case(
        "daemon-json",
        _PROBLEM,
        '"graph": removed in 23.0: "data-root" has taken its place',
        'remove "graph"',
        _json('{"graph": "/data/docker"}'),
    ),
    Case(
        "daemon-json",
        _WARNING,
        '"graph": refused from 23.0 on',
        'remove "graph"',
        _old('{"graph": "/data/docker"}', "20.10.24"),
    ),
    Case(
        "daemon-json",
        _PROBLEM,
        '"live-restor": no such key; did you mean "live-restore"?',
        "remove",
        _json('{"live-restor": true}'),
    ),
    Case(
        "daemon-json",
        _PROBLEM,
        '"max-size": no such key',
        'remove "max-size"',
        _json('{"log-opt": {"max-size": "10m"}}'),
        "the file has it under a key that is called log-opts",
    ),
    Case(
        "daemon-json",
        _PROBLEM,
        '"log-format": unknown to an engine as old as this one',
        "remove",
        _old('{"log-format": "json"}', "20.10.24"),
    ),
    Case(
        "daemon-json",
        _PROBLEM,
        '"log-opts" "max-file" has to be text in quotes',
        'write it as "3"',
        _json('{"log-opts": {"max-file": 3}}'),
    ),
    Case(
        "daemon-json",
        _WARNING,
        '"registry-mirror" has no effect: in this file it is called "registry-mirrors"',
        'rename "registry-mirror" to "registry-mirrors"',
        _json('{"registry-mirror": ["https://mirror.example"]}'),
    ),
    Case(
        "daemon-json",
        _WARNING,
        '"debug" stands in it twice',
        'leave one "debug"',
        _json('{"debug": true, "debug": false}'),
    ),
    Case(
        "daemon-json",
        _PROBLEM,
        '"hosts" is set in /etc/docker/daemon.json and by a flag of dockerd as well',
        "systemctl edit --full docker.service",
        _json('{"hosts": ["unix:///var/run/docker.sock"]}'),
    ),
    Case(
        "daemon-json",
        _WARNING,
        '"deprecated-key-path": of an identity that nothing uses any more',
        'remove "deprecated-key-path"',
        _json('{"deprecated-key-path": "/etc/docker/key.json"}'),
    ),
    Case(
        "daemon-json",
        _UNSEEN,
        "permission denied",
        "sudo shipkeeper doctor",
        replace(WELL, daemon_json=Unseen("daemon.json: permission denied (/etc/docker/daemon.json)")),
    ),
    Case(
        "disk-space",
        _WARNING,
        "/data (data-root) is nearly full: 15.0 GiB of 1000.0 GiB left",
        "shipkeeper plan",
        _disk("data-root", left=15 * GIB),
    ),
    Case("disk-space", _PROBLEM, "is nearly full: 4.0 GiB", "docker system df", _disk("data-root", left=4 * GIB)),
    Case(
        "disk-space",
        _PROBLEM,
        "nobody can write to /data (data-root): it is mounted read-only",
        "dmesg",
        with_disks(a_filesystem("/data", "data-root", read_only=True)),
    ),
    Case(
        "disk-space",
        _UNSEEN,
        "the filesystem has not answered for 2 s",
        "",
        with_disks(errors={"volumes": "/data/docker/volumes: the filesystem has not answered for 2 s"}),
    ),
    Case(
        "inodes",
        _WARNING,
        "/data has 120,000 of 1,000,000 inodes left",
        "du --inodes",
        _disk("data-root", left=500 * GIB, inodes_free=120_000),
    ),
    Case(
        "inodes",
        _PROBLEM,
        "/data has 10 of 1,000,000 inodes left",
        "du --inodes",
        _disk("data-root", left=500 * GIB, inodes_free=10),
    ),
    Case(
        "data-root",
        _WARNING,
        "Docker's data-root /var/lib/docker lies on the system's disk (20.0 GiB of 40.0 GiB left)",
        "sudo rsync -aHAXS --numeric-ids /var/lib/docker/ /data/docker/",
        with_disks(_SMALL, data_root="/var/lib/docker", targets=(_STORE,)),
    ),
    Case(
        "data-root",
        _WARNING,
        "lies on the system's disk",
        "# add one, mount it by /etc/fstab",
        with_disks(_SMALL, data_root="/var/lib/docker"),
    ),
    Case(
        "data-root",
        _WARNING,
        "lies on the system's disk",
        "# replace --data-root by --data-root=/data/docker",
        replace(
            with_disks(_SMALL, data_root="/srv/docker", targets=(_STORE,)),
            process=Process(arguments=("--data-root=/srv/docker",)),
        ),
    ),
    Case(
        "data-root",
        _NOTE,
        "lies on the system's disk",
        "sudo mv /var/lib/docker /var/lib/docker.old",
        with_disks(
            a_filesystem("/", "os-root", "data-root", size=400 * GIB), data_root="/var/lib/docker", targets=(_STORE,)
        ),
    ),
    Case(
        "data-root",
        _WARNING,
        "images lie on the system's disk in /var/lib/containerd, which is containerd's, not the data-root",
        "sudo rsync -aHAXS --numeric-ids /var/lib/containerd/ /data/containerd/",
        replace(
            with_disks(
                a_filesystem("/", "os-root", "containerd-root", size=40 * GIB),
                a_filesystem("/data", "data-root"),
                targets=(_STORE,),
            ),
            reach=with_engine(containerd_store=True).reach,
        ),
    ),
    Case(
        "log-rotation",
        _WARNING,
        "the log driver is json-file without max-size",
        """'{"log-driver": "local"}' | sudo tee /etc/docker/daemon.json""",
        replace(with_engine({"LoggingDriver": "json-file"}), daemon_json=settings(None)),
    ),
    Case(
        "log-rotation",
        _WARNING,
        "the log driver is json-file without max-size",
        "sudo cp -p /etc/docker/daemon.json /etc/docker/daemon.json.before",
        with_engine({"LoggingDriver": "json-file"}),
    ),
    Case(
        "log-rotation",
        _WARNING,
        "the log driver is json-file without max-size",
        """'{"log-opts": {"tag": "{{.Name}}", "max-size": "20m", "max-file": "5"}}'""",
        replace(
            with_engine({"LoggingDriver": "json-file"}), daemon_json=settings('{"log-opts": {"tag": "{{.Name}}"}}')
        ),
        "the driver local does not know an option that is set",
    ),
    Case(
        "log-rotation",
        _WARNING,
        "the log driver is json-file without max-size",
        'add to what stands there: "log-driver": "local"',
        replace(
            with_engine({"LoggingDriver": "json-file"}),
            daemon_json=Unseen("daemon.json: permission denied (/etc/docker/daemon.json)"),
            containers=(a_container("web", log_driver="json-file"),),
        ),
        "this user may not read its settings, and the newest container has such a log",
    ),
    Case(
        "log-rotation",
        _WARNING,
        "the log driver is json-file without max-size",
        "a flag of dockerd sets log-driver there: let it say local",
        replace(
            with_engine({"LoggingDriver": "json-file"}),
            daemon_json=settings("{}"),
            process=Process(arguments=("--log-driver=json-file",), pid=612),
        ),
        "a flag sets it",
    ),
    Case(
        "log-rotation",
        _UNSEEN,
        "permission denied",
        "",
        replace(
            with_engine({"LoggingDriver": "json-file"}),
            daemon_json=Unseen("daemon.json: permission denied (/etc/docker/daemon.json)"),
            containers=(),
        ),
    ),
    Case(
        "log-rotation",
        _NOTE,
        "1 container with a log that grows without end: web",
        "--force-recreate",
        replace(WELL, containers=(a_container("web", log_driver="json-file"),)),
    ),
    Case("log-rotation", _UNSEEN, "the engine does not answer", "", _PLAIN),
    Case("storage-driver", _PROBLEM, "the storage driver vfs copies", "overlay2", with_engine(storage_driver="vfs")),
    Case(
        "storage-driver",
        _WARNING,
        "devicemapper was removed in 25.0",
        "overlay2",
        with_engine(storage_driver="devicemapper"),
    ),
    Case(
        "storage-driver",
        _WARNING,
        "devicemapper was removed in 25.0",
        """'{"storage-driver": "overlay2", "storage-opts": []}'""",
        replace(
            with_engine(storage_driver="devicemapper"), daemon_json=settings('{"storage-opts": ["dm.basesize=20G"]}')
        ),
        "its options would keep the engine from starting with another one",
    ),
    Case(
        "storage-driver",
        _PROBLEM,
        "without d_type",
        "ftype=1",
        with_engine({"DriverStatus": [["Supports d_type", "false"]]}),
    ),
    Case(
        "socket-activation",
        _PROBLEM,
        "takes its socket from docker.socket, which is inactive",
        "enable --now docker.socket",
        _units_of(_PLAIN, docker_service={"ActiveState": "failed"}, docker_socket={"ActiveState": "inactive"}),
    ),
    Case(
        "socket-activation",
        _NOTE,
        "whoever connects next starts the engine",
        "stop docker.socket",
        _units_of(_PLAIN, docker_service={"ActiveState": "inactive"}),
    ),
    Case(
        "socket-activation",
        _WARNING,
        "systemd has not read it since",
        "daemon-reload",
        with_units(docker_service={"NeedDaemonReload": "yes"}),
    ),
    Case(
        "socket-activation",
        _UNSEEN,
        "systemd does not run this host",
        "",
        replace(WELL, units=Unseen("systemd: systemd does not run this host")),
    ),
    Case(
        "gpu-driver",
        _WARNING,
        "2 NVIDIA GPUs on the bus, and no driver",
        "sudo modprobe nvidia",
        with_gpus(on_pci_bus=2, devices=Unseen("NVML: driver not loaded")),
    ),
    Case(
        "gpu-driver",
        _WARNING,
        "2 NVIDIA GPUs on the bus, and no driver",
        "sudo modprobe nvidia",
        with_gpus(on_pci_bus=2),
    ),
    Case(
        "gpu-driver",
        _PROBLEM,
        "the GPUs cannot be read: NVML: Driver/library version mismatch",
        "sudo reboot",
        with_gpus(on_pci_bus=2, driver="580.65", devices=Unseen("NVML: Driver/library version mismatch")),
    ),
    Case(
        "gpu-driver",
        _PROBLEM,
        "GPU 0 cannot be reached (lost)",
        "dmesg",
        with_gpus(on_pci_bus=1, driver="580.65", devices=(replace(_GPU, fault=GpuFault.LOST),)),
    ),
    Case(
        "gpu-runtime",
        _PROBLEM,
        "this host has 1 GPU, and the engine can give containers none: the NVIDIA Container Toolkit is not installed",
        "sudo apt-get install nvidia-container-toolkit",
        with_gpus(on_pci_bus=1, driver="580.65", devices=(_GPU,)),
    ),
    Case(
        "gpu-runtime",
        _PROBLEM,
        "this host has 1 GPU, and the engine can give containers none",
        "sudo nvidia-ctk runtime configure --runtime=docker",
        with_gpus(on_pci_bus=1, driver="580.65", devices=(_GPU,), toolkit="/usr/bin/nvidia-ctk"),
    ),
    Case(
        "gpu-cdi",
        _NOTE,
        "the feature cdi is off",
        '"features": {"cdi": true}',
        replace(
            with_engine(version="27.5.1"),
            gpus=GpuHost(on_pci_bus=1, driver="580.65", devices=(_GPU,), toolkit="", cdi_files=("/etc/cdi/n.yaml",)),
        ),
    ),
    Case(
        "gpu-cdi",
        _NOTE,
        "this engine is too old to read any",
        "install an engine from 25.0 on",
        replace(
            with_engine(version="20.10.24"),
            gpus=GpuHost(on_pci_bus=1, driver="580.65", devices=(_GPU,), toolkit="", cdi_files=("/etc/cdi/n.yaml",)),
        ),
    ),
    Case(
        "gpu-containers",
        _WARNING,
        "trainer-3: this engine has no runtime for GPUs",
        "--gpus all",
        replace(WELL, containers=(_CREATED,)),
    ),
    Case(
        "gpu-containers",
        _NOTE,
        "was made for NVIDIA GPUs, and it was started without --gpus",
        "--gpus all",
        replace(
            with_gpus(on_pci_bus=1, driver="580.65", devices=(_GPU,)),
            containers=(a_container("notebook", gpu_image=True),),
        ),
    ),
    Case(
        "service",
        _WARNING,
        "the daemon that runs is 0.0.9, installed is 0.1.0",
        "sudo systemctl restart shipkeeper.service",
        with_ours(status={"version": "0.0.9"}),
    ),
    Case(
        "service",
        _PROBLEM,
        "shipkeeper.service failed (watchdog)",
        "reset-failed shipkeeper.service",
        replace(
            with_ours(status=None),
            units=with_units(shipkeeper_service={"ActiveState": "failed", "Result": "watchdog"}).units,
        ),
    ),
    Case(
        "service",
        _WARNING,
        "shipkeeper.service is installed and does not run",
        "enable --now shipkeeper.service",
        replace(with_ours(status=None), units=with_units(shipkeeper_service={"ActiveState": "inactive"}).units),
    ),
    Case(
        "service",
        _WARNING,
        "does not answer at its control socket",
        "restart shipkeeper.service",
        with_ours(status=None),
    ),
    Case(
        "service",
        _NOTE,
        "no daemon watches this host",
        "shipkeeper run",
        replace(with_ours(status=None), units={}),
    ),
    Case(
        "service",
        _PROBLEM,
        "did not answer within 5 s",
        "systemctl restart shipkeeper",
        with_ours(status=Silent("the daemon at /run/shipkeeper/control.sock did not answer within 5 s; its log")),
    ),
    Case(
        "service",
        _PROBLEM,
        "did not answer within 5 s",
        "start it again",
        replace(
            with_ours(status=Silent("the daemon at /home/ada/control.sock did not answer within 5 s; its log")),
            units={},
        ),
        "systemd does not run it",
    ),
    Case(
        "service",
        _UNSEEN,
        "this user may not talk to the daemon",
        "sudo usermod -aG shipkeeper ada",
        with_ours(status=Unseen("this user may not talk to the daemon (/run/shipkeeper/control.sock)")),
    ),
    Case(
        "service-access",
        _PROBLEM,
        "who is not in the group docker",
        "sudo usermod -aG docker shipkeeper",
        with_units(shipkeeper_service={"SupplementaryGroups": ""}),
    ),
    Case(
        "service-access",
        _PROBLEM,
        "the engine's socket is for no group that it could be in",
        "sudo groupadd --force docker",
        replace(WELL, socket=SocketFile("root", "root", 0o660)),
    ),
    Case(
        "service-access",
        _PROBLEM,
        "there is no such user",
        "sudo systemd-sysusers",
        with_ours(service_groups=None),
    ),
    Case(
        "configuration",
        _PROBLEM,
        "cannot read the configuration /etc/shipkeeper/shipkeeper.toml",
        '# [docker] hots = …      no such key; did you mean "host"?',
        with_ours(
            config_problem="cannot read the configuration /etc/shipkeeper/shipkeeper.toml\n"
            '  [docker] hots = …      no such key; did you mean "host"?\n1 problem; these settings are not in force.'
        ),
    ),
    Case(
        "configuration",
        _UNSEEN,
        "Permission denied",
        "sudo shipkeeper doctor",
        with_ours(config_problem=Unseen("/etc/shipkeeper/shipkeeper.toml: Permission denied")),
    ),
    Case(
        "state-directory",
        _WARNING,
        "everyone on this host may look into /var/lib/shipkeeper (mode 0755)",
        "sudo chmod o= /var/lib/shipkeeper",
        with_ours(state=replace(_STATE, mode=0o755)),
    ),
    Case(
        "state-directory",
        _PROBLEM,
        "/var/lib/shipkeeper belongs to root, and shipkeeper.service runs as shipkeeper",
        "sudo chown -R shipkeeper: /var/lib/shipkeeper",
        with_ours(state=replace(_STATE, owner="root")),
    ),
    Case(
        "state-directory",
        _WARNING,
        "ada cannot write to /var/lib/shipkeeper, which belongs to root",
        "[state] dir",
        replace(with_ours(state=replace(_STATE, owner="root", writable=False)), units={}),
    ),
    Case(
        "state-directory",
        _PROBLEM,
        "what the daemon knows is in memory only: disk I/O error",
        "df -h /srv/shipkeeper",
        with_ours(status={"store": {"degraded": "disk I/O error"}}, state=replace(_STATE, path="/srv/shipkeeper")),
    ),
    Case(
        "sinks",
        _PROBLEM,
        "alerts do not reach slack: no_service",
        "shipkeeper alerts test",
        with_ours(status={"sinks": [{"name": "slack", "state": "down", "last_error": "no_service"}]}),
    ),
    Case("sinks", _NOTE, "alerts go to the log alone", "webhook_url_file", with_ours(sinks=False, status=None)),
    Case(
        "sinks",
        _UNSEEN,
        "a file that this user may not read",
        "",
        with_ours(status=None, config_problem=Unseen("permission denied")),
    ),
    Case(
        "port",
        _PROBLEM,
        "the port of 127.0.0.1:9817 is taken by pid 4711 (prometheus)",
        "sudo ss -ltnp 'sport = :9817'",
        with_ours(status=None, port_holder="pid 4711 (prometheus)"),
    ),
    Case(
        "port",
        _NOTE,
        "is published by a container: by Shipkeeper itself, if it runs in one",
        "docker ps --filter publish=9817",
        with_ours(status=None, port_holder="pid 4712 (docker-proxy)"),
    ),
    Case(
        "port",
        _WARNING,
        "everyone who reaches 0.0.0.0:9817 may read the metrics",
        "config_file",
        with_ours(listen="0.0.0.0:9817"),
    ),
    Case(
        "build-cache",
        _WARNING,
        "the garbage collection of the build cache is switched off",
        '"enabled": true',
        _json('{"builder": {"gc": {"enabled": false}}}'),
    ),
    Case(
        "build-cache",
        _NOTE,
        "is off unless somebody switches it on",
        "defaultKeepStorage",
        with_engine(version="20.10.24"),
    ),
    Case(
        "engine-age",
        _WARNING,
        "Docker 24.0.7 is of a line from May 2023: Docker no longer mends it",
        "docs.docker.com",
        with_engine(version="24.0.7", build="311b9ff"),
    ),
    Case(
        "engine-age",
        _NOTE,
        "this distribution may still mend it",
        "--only-upgrade docker.io",
        with_engine(version="20.10.24+dfsg1"),
    ),
    Case(
        "engine-age",
        _NOTE,
        "Docker 24.0.7 is of a line from May 2023: this distribution may still mend it",
        "--only-upgrade docker.io",
        with_engine(version="24.0.7", build="24.0.7-0ubuntu4.1"),
    ),
    Case("engine-age", _NOTE, "is newer than what", "newer Shipkeeper", with_engine(version="29.1.0")),
    Case(
        "clock",
        _WARNING,
        "nothing keeps this host's clock right",
        "timedatectl set-ntp true",
        replace(WELL, clock=replace(WELL.clock, synchronized=False)),
    ),
    Case(
        "clock",
        _PROBLEM,
        "the clock shows 1970-01-02",
        "timedatectl",
        replace(WELL, clock=Clock(now=datetime(1970, 1, 2, tzinfo=UTC), synchronized=False)),
    ),
    Case(
        "live-restore",
        _NOTE,
        "live-restore is off",
        "sudo systemctl reload docker",
        with_engine(live_restore=False),
    ),
    Case(
        "cgroup-version",
        _NOTE,
        "control groups of version 1",
        "systemd.unified_cgroup_hierarchy=1",
        with_engine(cgroup_version="1"),
    ),
    Case(
        "reserved-blocks",
        _NOTE,
        "50.0 GiB of /data are reserved for root",
        "sudo tune2fs -m 1 /dev/sdb1",
        with_disks(a_filesystem("/data", "data-root", available_bytes=450 * GIB)),
    ),
    Case(
        "docker-context",
        _NOTE,
        "docker of this user talks to ssh://ada@build (DOCKER_HOST)",
        "export DOCKER_HOST=unix:///var/run/docker.sock",
        replace(WELL, address=replace(WELL.address, cli="ssh://ada@build", cli_from="DOCKER_HOST")),
    ),
    Case(
        "engine-warnings",
        _NOTE,
        "No swap limit support",
        "docker info",
        with_engine({"Warnings": ["WARNING: No swap limit support"]}),
    ),
)
