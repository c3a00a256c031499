"""How the engine is set up: its logs, build cache, storage, cgroups, age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from daemon.doctor import cures
from daemon.doctor.facts import Unseen
from daemon.doctor.finding import Finding, Level, ok, unseen
from daemon.doctor.seen import daemon_settings, flags, remote
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from collectors.facts import Engine
    from daemon.doctor.facts import Host

_NO_ANSWER: Final = "the engine does not answer"
_UNBOUNDED: Final = "json-file"
_OPTIONS_OF_LOCAL: Final = frozenset({"max-size", "max-file", "compress"})
_MOST_NAMED: Final = 10
# systemd goes by the last word, and the one that asked for version 1 may stand behind.
_ASK_FOR_V2: Final = (
    r's/ *\bsystemd\.unified_cgroup_hierarchy(=[^ "]*)?//; '
    r's/^(GRUB_CMDLINE_LINUX=")(.*)/\1systemd.unified_cgroup_hierarchy=1 \2/'
)
_FIRST_WITH_GC: Final = (23, 0)
_RELEASED: Final = (
    ((20, 10), "December 2020"),
    ((23, 0), "February 2023"),
    ((24, 0), "May 2023"),
    ((25, 0), "January 2024"),
    ((26, 0), "March 2024"),
    ((27, 0), "June 2024"),
    ((28, 0), "February 2025"),
)
"""The engines that we were tested with, or between those; Docker itself mends the newest only."""
_MENDED: Final = (28, 0)
_DISTRIBUTIONS: Final = ("dfsg", "ubuntu", "deb", ".fc", ".el")
_IN_BUILDS: Final = "ubuntu"
"""Ubuntu leaves the version as it is and marks the build; other signs may stand in the number of any commit."""
_DRIVERS: Final[Mapping[str, tuple[Level, str]]] = {
    "vfs": (Level.PROBLEM, "copies every layer as a whole: each container takes the size of its image"),
    "devicemapper": (Level.WARNING, "was removed in 25.0"),
    "aufs": (Level.WARNING, "was removed in 24.0"),
    "overlay": (Level.WARNING, "was removed in 24.0; overlay2 is another one"),
}


def log_rotation(host: Host) -> Iterator[Finding]:
    """Judge whether the logs of containers are bounded."""
    if host.reach.engine is None:
        yield unseen(_NO_ANSWER)
        return
    driver = host.reach.info.get("LoggingDriver")
    bounded = driver != _UNBOUNDED or "max-size" in _log_options(host)
    if isinstance(host.containers, Unseen):
        yield unseen(f"the containers: {host.containers.why}")
        without = []
    else:
        without = [each for each in host.containers if each.log_driver == _UNBOUNDED and not each.log_max_size]
        bounded = bounded or _all_bounded(host)
    if not bounded and not host.containers and isinstance(host.daemon_json, Unseen):
        yield unseen(host.daemon_json.why)
    elif not bounded:
        yield Finding(
            Level.WARNING,
            "new containers get logs that grow without end: the log driver is json-file without max-size",
            (
                *cures.change_settings(host, _bounded_logs(host)),
                cures.restart(host),
                "# containers that are there keep their old driver until they are made anew",
            ),
        )
    if without:
        names = words.some(sorted(each.name for each in without), _MOST_NAMED)
        yield Finding(
            Level.NOTE if bounded else Level.WARNING,
            f"{words.count(len(without), 'container')} with a log that grows without end: {names}",
            ("docker compose up -d --force-recreate   # in the folder of each compose project",),
            "What a log may take is settled when a container is made.",
        )
    elif bounded:
        yield ok(f"logs are bounded, the log driver is {driver}")


def _log_options(host: Host) -> frozenset[str]:
    """Give the names of the options that new containers' logs get, by the engine's file and by its flags."""
    written = daemon_settings(host).get("log-opts")
    by_flag = {option.partition("=")[0] for option in flags(host).get("log-opts", ())}
    return frozenset(by_flag | (written.keys() if isinstance(written, dict) else set()))


def _bounded_logs(host: Host) -> Mapping[str, Any]:
    """Give the settings that bound logs; with an option that its log driver does not know an engine does not start."""
    if _log_options(host) <= _OPTIONS_OF_LOCAL:
        return {"log-driver": "local"}
    return {"log-opts": {"max-size": "20m", "max-file": "5"}}


def _all_bounded(host: Host) -> bool:
    """Tell from the newest container what the engine gives by default, where its settings cannot be read."""
    if isinstance(host.containers, Unseen) or not host.containers or not isinstance(host.daemon_json, Unseen):
        return False
    newest = max(host.containers, key=lambda each: each.created_at)
    return newest.log_driver != _UNBOUNDED or bool(newest.log_max_size)


def build_cache_gc(host: Host) -> Iterator[Finding]:
    """Judge whether the build cache is bounded."""
    if remote(host) or isinstance(host.daemon_json, Unseen):
        yield unseen("the engine's settings cannot be read")
        return
    builder = daemon_settings(host).get("builder")
    garbage = builder.get("gc") if isinstance(builder, dict) else None
    enabled = garbage.get("enabled") if isinstance(garbage, dict) else None
    version = host.reach.version
    on = enabled if isinstance(enabled, bool) else version is None or version >= _FIRST_WITH_GC
    if on:
        yield ok("BuildKit tidies its cache")
        return
    change = {"builder": {"gc": {"enabled": True, "defaultKeepStorage": "20GB"}}}
    said = "is switched off" if enabled is False else "is off unless somebody switches it on, before 23.0"
    yield Finding(
        Level.WARNING if enabled is False else Level.NOTE,
        f"the garbage collection of the build cache {said}",
        (*cures.change_settings(host, change), cures.restart(host)),
    )


def live_restore(host: Host) -> Iterator[Finding]:
    """Judge whether containers outlive a restart of the engine."""
    yield from _of_engine(host, _live_restore)


def _live_restore(host: Host, engine: Engine) -> Iterator[Finding]:
    if engine.live_restore or engine.swarm or engine.podman:
        yield ok("containers outlive a restart of the engine" if engine.live_restore else "not possible here")
        return
    change = {"live-restore": True}
    yield Finding(
        Level.NOTE,
        "live-restore is off: containers are stopped with the engine",
        (*cures.change_settings(host, change), cures.reload(host)),
    )


def storage_driver(host: Host) -> Iterator[Finding]:
    """Judge the storage driver."""
    yield from _of_engine(host, _storage_driver)


def _storage_driver(host: Host, engine: Engine) -> Iterator[Finding]:
    driver = engine.storage_driver
    if driver in _DRIVERS:
        level, what = _DRIVERS[driver]
        yield Finding(
            level,
            f"the storage driver {driver} {what}",
            (
                "# images and containers do not move along: push or save what is to stay, see to its volumes",
                *cures.change_settings(host, _overlay2(host)),
                cures.restart(host),
            ),
        )
    elif ["Supports d_type", "false"] in (host.reach.info.get("DriverStatus") or []):
        yield Finding(
            Level.PROBLEM,
            f"{driver} lies on a filesystem without d_type: {engine.data_root}",
            ("# make an XFS anew with: mkfs.xfs -n ftype=1; then move the data-root there",),
            "Files that were removed in an upper layer come back; newer engines refuse to start.",
        )
    else:
        yield ok(f"the storage driver is {driver}")


def _overlay2(host: Host) -> Mapping[str, Any]:
    """Give the settings of another driver, without the options of the one before: with those no engine starts."""
    written = daemon_settings(host).get("storage-opts")
    options = [*(written if isinstance(written, list) else []), *flags(host).get("storage-opts", ())]
    kept = [each for each in options if str(each).startswith("overlay2.")]
    return {"storage-driver": "overlay2"} if kept == options else {"storage-driver": "overlay2", "storage-opts": kept}


def cgroup_version(host: Host) -> Iterator[Finding]:
    """Judge the version of control groups."""
    yield from _of_engine(host, _cgroup_version)


def _cgroup_version(_: Host, engine: Engine) -> Iterator[Finding]:
    if engine.cgroup_version != "1":
        yield ok(f"control groups are of version {engine.cgroup_version or 'unknown'}")
        return
    yield Finding(
        Level.NOTE,
        "this host uses control groups of version 1",
        (
            f"sudo sed -i -E '{_ASK_FOR_V2}' /etc/default/grub",
            "sudo update-grub   # then reboot",
        ),
    )


def engine_age(host: Host) -> Iterator[Finding]:
    """Judge the engine's version."""
    yield from _of_engine(host, _engine_age)


def _engine_age(host: Host, engine: Engine) -> Iterator[Finding]:
    version = host.reach.version
    if engine.podman or version is None:
        yield ok(f"version {engine.version}")
        return
    if version[0] > _MENDED[0]:
        yield Finding(
            Level.NOTE,
            f"Docker {engine.version} is newer than what this Shipkeeper was tested with, up to {_MENDED[0]}",
            ("# look for a newer Shipkeeper",),
            "It speaks the old API as well; what is new in it is not seen.",
        )
    elif version >= _MENDED:
        yield ok(f"Docker {engine.version}")
    else:
        released = [when for first, when in _RELEASED if first <= version]
        packaged = any(sign in engine.version for sign in _DISTRIBUTIONS) or _IN_BUILDS in engine.build
        whom = "this distribution may still mend it" if packaged else "Docker no longer mends it"
        yield Finding(
            Level.NOTE if packaged else Level.WARNING,
            f"Docker {engine.version} is of a line from {released[-1] if released else 'before December 2020'}: {whom}",
            (
                "sudo apt-get update && sudo apt-get install --only-upgrade docker.io"
                if packaged
                else "# https://docs.docker.com/engine/install/ tells how to upgrade",
            ),
        )


def engine_warnings(host: Host) -> Iterator[Finding]:
    """Pass on what the engine itself warns of."""
    if host.reach.engine is None:
        yield unseen(_NO_ANSWER)
        return
    said = host.reach.info.get("Warnings") or []
    found = [words.one_line(str(each), 300).removeprefix("WARNING: ") for each in said if isinstance(each, str)]
    # What it says of its open ports is a check of its own, and that cgroup v1 lacks things belongs to that.
    told = [each for each in found if "API is accessible" not in each]
    yield from [Finding(Level.NOTE, each, ("docker info",)) for each in told] or [ok("the engine warns of nothing")]


def _of_engine(host: Host, judge: Callable[[Host, Engine], Iterator[Finding]]) -> Iterator[Finding]:
    """Judge what only an engine that answers can tell."""
    if host.reach.engine is None:
        yield unseen(_NO_ANSWER)
    else:
        yield from judge(host, host.reach.engine)
