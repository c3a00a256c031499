"""The list of all checks, what each looks at and why that matters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from daemon.doctor.checks import daemon_json, disks, engine, gpus, ourselves, reach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from daemon.doctor.facts import Host
    from daemon.doctor.finding import Finding


@dataclass(frozen=True, slots=True)
class Check:
    """One question that the doctor asks; every `judge` gives at least one finding."""

    name: str
    about: str
    why: str
    judge: Callable[[Host], Iterable[Finding]]


CHECKS: tuple[Check, ...] = (
    Check(
        "engine-reachable",
        "whether Docker runs, and whether this user may talk to it",
        "Without the engine nothing starts, and nobody can tell what still runs.",
        reach.reachable,
    ),
    Check(
        "engine-exposed",
        "who can talk to the engine: its ports, the permissions of its socket",
        "Whoever can talk to the engine is root on its host: a container may mount its whole disk.",
        reach.exposed,
    ),
    Check(
        "daemon-json",
        "whether the engine's settings are valid, known to this version, and not set by a flag as well",
        "A mistake in it does nothing to the engine that runs, and keeps the next one from starting.",
        daemon_json.daemon_json,
    ),
    Check(
        "disk-space",
        "what is left on the filesystems of Docker and of the system; whether they can be written",
        "On a full disk containers fail in the middle of a write, and the engine can start none.",
        disks.disk_space,
    ),
    Check(
        "inodes",
        "how many more files those filesystems can hold",
        "Without an inode every new file fails with `no space left on device`, on a disk that shows room.",
        disks.inodes,
    ),
    Check(
        "data-root",
        "whether images and containers share a disk with the operating system that is small",
        "A pull that fills the system's disk takes the logins, the logs and the upgrades down with it.",
        disks.data_root,
    ),
    Check(
        "log-rotation",
        "whether the logs of containers are bounded",
        "Docker's default writes a container's output into one file for as long as the container exists.",
        engine.log_rotation,
    ),
    Check(
        "storage-driver",
        "the storage driver, and the filesystem below it",
        "Old drivers are gone from newer engines, with every image and container in them.",
        engine.storage_driver,
    ),
    Check(
        "socket-activation",
        "whether docker.socket and docker.service fit together",
        "With socket activation a connection starts the engine, and without the socket it does not start at all.",
        reach.socket_activation,
    ),
    Check(
        "gpu-driver",
        "whether the driver shows every NVIDIA GPU that is there",
        "A GPU that the driver has lost is lost to its containers too, until it is reset.",
        gpus.gpu_driver,
    ),
    Check(
        "gpu-runtime",
        "whether the engine can give containers GPUs, by NVIDIA's runtime, its hook or CDI",
        "Without it `--gpus` fails, and images for GPUs run on the CPU without a word.",
        gpus.gpu_runtime,
    ),
    Check(
        "gpu-cdi",
        "whether CDI specifications of NVIDIA's are read",
        "`--device nvidia.com/gpu=all` needs them.",
        gpus.cdi,
    ),
    Check(
        "gpu-containers",
        "containers that asked for GPUs and have none, and images for GPUs that run without one",
        "They do not start, or run on the CPU, a hundred times slower, and look well.",
        gpus.gpu_containers,
    ),
    Check(
        "service",
        "whether the daemon of Shipkeeper runs, in the version that is installed",
        "While it does not run, nobody watches.",
        ourselves.service,
    ),
    Check(
        "service-access",
        "whether the user of the service may talk to the engine",
        "Without access it can say that, and no more.",
        ourselves.access,
    ),
    Check(
        "configuration",
        "Shipkeeper's own configuration",
        "With a mistake in it the daemon does not start, or goes on with the settings before.",
        ourselves.configuration,
    ),
    Check(
        "state-directory",
        "the folder of what must survive a restart: whose it is, who may look into it",
        "Alerts that are due, evidence and the time of each image's last use lie in it.",
        ourselves.state_directory,
    ),
    Check(
        "sinks",
        "whether alerts reach people",
        "An alert that nobody reads is none.",
        ourselves.sinks,
    ),
    Check(
        "port",
        "whether the port of the metrics is free, and who may read them",
        "On a taken port the daemon does not start; on an open one everyone reads what runs here.",
        ourselves.port,
    ),
    Check(
        "build-cache",
        "whether BuildKit tidies its cache",
        "What a build leaves is kept for the next one, which may never come.",
        engine.build_cache_gc,
    ),
    Check(
        "engine-age",
        "the engine's version",
        "Holes are mended in the newest line only, and each one's hole is root on its host.",
        engine.engine_age,
    ),
    Check(
        "clock",
        "whether something keeps the clock right",
        "Ages, certificates and the order of events on several hosts all go by it.",
        ourselves.clock,
    ),
    Check(
        "live-restore",
        "whether containers outlive a restart of the engine",
        "Each upgrade of Docker, which may come by itself, is an outage of everything otherwise.",
        engine.live_restore,
    ),
    Check(
        "cgroup-version",
        "the version of control groups",
        "systemd 256 and later do not start with version 1 unless forced, and memory pressure is told by 2 only.",
        engine.cgroup_version,
    ),
    Check(
        "reserved-blocks",
        "how much of a disk of Docker's own is kept back for root",
        "ext4 keeps back one block in twenty, so that root can repair a full system disk; on others it is lost space.",
        disks.reserved_blocks,
    ),
    Check(
        "docker-context",
        "whether the docker command of this user talks to the engine that is watched",
        "Otherwise what one sees in the terminal is not what is measured.",
        reach.docker_context,
    ),
    Check(
        "engine-warnings",
        "what the engine itself warns of",
        "It says so once at its start, in a log that nobody reads.",
        engine.engine_warnings,
    ),
)
"""What matters most comes first; a new check is one entry here."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finding with the check that it came from."""

    check: Check
    finding: Finding


def examine(host: Host) -> Iterator[Result]:
    """Give all findings, the worst first, among equals by the order of the checks."""
    found = [
        Result(check, replace(finding, why=finding.why or check.why))
        for check in CHECKS
        for finding in check.judge(host)
    ]
    return iter(sorted(found, key=lambda each: each.finding.level.rank))
