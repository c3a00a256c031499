"""Whether Docker's data lies where there is room for it."""

from __future__ import annotations

import json
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Final

from daemon.doctor import cures
from daemon.doctor.facts import Unseen
from daemon.doctor.finding import Finding, Level, ok, unseen
from daemon.doctor.seen import by_systemd, flags
from policies import words
from policies.disk_pressure import DiskPressure
from policies.gauges import Level as Pressure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Filesystem
    from daemon.doctor.facts import Disks, Host, Target

_SMALL: Final = 64 << 30
"""One image for GPUs takes 10 to 25 GiB, twice while it is pulled."""
_ROOMY: Final = 2
"""So many times the size of the disk that it is on another has to have to be worth a move."""
_PRESSURE: Final = DiskPressure()
_LEVELS: Final = {Pressure.WARN: Level.WARNING, Pressure.ACT: Level.WARNING, Pressure.CRITICAL: Level.PROBLEM}
_RESERVED_RATIO: Final = 0.03
_RESERVED_BYTES: Final = 1 << 30
_CONTAINERD_CONFIG: Final = "/etc/containerd/config.toml"
_STOP: Final = (
    "docker ps -q | xargs -r docker stop   # live-restore would let them run on in the old place",
    "sudo systemctl stop docker.socket docker.service",
)


def data_root(host: Host) -> Iterator[Finding]:
    """Judge whether images and containers share a disk with the operating system that is too small for both."""
    if isinstance(host.disks, Unseen):
        yield unseen(host.disks.why)
        return
    disks, engine = host.disks, host.reach.engine
    store = engine is not None and engine.containerd_store and bool(disks.containerd_root)
    found: list[Finding] = []
    if store:
        found += _on_os_disk(host, disks, "containerd-root")
    found += _on_os_disk(host, disks, "data-root")
    known = any("data-root" in each.roles for each in disks.filesystems)
    if not known:
        yield unseen(disks.errors.get("data-root", "where Docker keeps its data is not known"))
    yield from found or ([ok(f"Docker's data lies in {disks.data_root}, and there is room")] if known else [])


def _on_os_disk(host: Host, disks: Disks, role: str) -> Iterator[Finding]:
    filesystem = next((each for each in disks.filesystems if role in each.roles), None)
    if filesystem is None or "os-root" not in filesystem.roles:
        return
    target = disks.targets[0] if disks.targets else None
    # What lies on the old disk has to go there with room to spare; it is not known how much of it is Docker's.
    if target is not None and target.available_bytes <= filesystem.used_bytes + filesystem.available_bytes:
        target = None
    roomy = target is not None and target.size_bytes >= _ROOMY * filesystem.size_bytes
    tight = filesystem.size_bytes < _SMALL or _space(filesystem) is not Pressure.OK
    if not tight and not roomy:
        return
    left = f"{words.size(filesystem.available_bytes)} of {words.size(filesystem.size_bytes)} left"
    if role == "containerd-root":
        what = f"images lie on the system's disk in {disks.containerd_root}, which is containerd's, not the data-root"
        cure = _move_containerd(host, disks.containerd_root, target)
    else:
        what = f"Docker's data-root {disks.data_root} lies on the system's disk"
        cure = _move_data_root(host, disks.data_root, target)
    yield Finding(Level.WARNING if tight else Level.NOTE, f"{what} ({left})", cure)


def _move_data_root(host: Host, old: str, target: Target | None) -> tuple[str, ...]:
    if target is None:
        return _ADD_A_DISK
    new = f"{target.mountpoint.rstrip('/')}/docker"
    shown = new
    if "name=userns" in (host.reach.info.get("SecurityOptions") or []):
        # With userns-remap the engine works in a folder below the one that it is told: /var/lib/docker/100000.100000.
        old, _, below = old.rstrip("/").rpartition("/")
        shown = f"{new}/{below}"
    if not by_systemd(host):
        return _by_hand(old, new, target)
    point: tuple[str, ...]
    if "data-root" in flags(host):
        point = ("sudo systemctl edit --full docker.service", f"# replace --data-root by --data-root={new}")
    else:
        point = cures.change_settings(host, {"data-root": new})
    return (
        f"# to {target.mountpoint}, where {words.size(target.available_bytes)} are left",
        *_STOP,
        *cures.move_folder(old, new),
        *point,
        "sudo systemctl start docker.socket docker.service",
        f"docker info --format '{{{{.DockerRootDir}}}}'   # prints {shown}",
        "docker images; docker ps -a   # show what they showed before; start what was running",
        f"# only after some days without trouble: sudo rm -rf {quote(old.rstrip('/') + '.old')}",
    )


def _by_hand(old: str, new: str, target: Target) -> tuple[str, ...]:
    """Say what is to be done where we do not know how the engine is stopped: moved below it, it loses what it has."""
    return (
        f"# to {target.mountpoint}, where {words.size(target.available_bytes)} are left",
        "# this engine is not docker.service: stop it by what started it, and see that nothing of it runs any more",
        f"# then copy {old} to {new} with owners, hard links and attributes (rsync -aHAXS --numeric-ids)",
        "# and let data-root name the new place; a snap cannot leave its own",
    )


def _move_containerd(host: Host, old: str, target: Target | None) -> tuple[str, ...]:
    if target is None:
        return _ADD_A_DISK
    new = f"{target.mountpoint.rstrip('/')}/containerd"
    if not by_systemd(host):
        return _by_hand(old, new, target)
    return (
        f"# to {target.mountpoint}, where {words.size(target.available_bytes)} are left",
        *_STOP,
        "sudo systemctl stop containerd.service",
        *cures.move_folder(old, new),
        *_point_containerd(new),
        "sudo systemctl start containerd.service docker.socket docker.service",
        "docker images; docker ps -a   # show what they showed before; start what was running",
        f"# only after some days without trouble: sudo rm -rf {quote(old.rstrip('/') + '.old')}",
    )


def _point_containerd(new: str) -> tuple[str, ...]:
    """Put the key `root`, which belongs before all tables, first into containerd's configuration."""
    script = f'f={_CONTAINERD_CONFIG}; [ -e $f ] && sed -i.before "/^#*root *=/d" $f; '
    script += f"{{ echo {quote(f'root = {json.dumps(new)}')}; cat $f; }} > $f.new; mv $f.new $f"
    return ("sudo mkdir -p /etc/containerd", f"sudo sh -c {quote(script)}")


_ADD_A_DISK: Final = (
    "lsblk -o NAME,SIZE,FSTYPE,MOUNTPOINTS   # this host has no other local disk with more room in use",
    "# add one, mount it by /etc/fstab, and ask again: then the steps to move are here",
)


def disk_space(host: Host) -> Iterator[Finding]:
    """Judge how much is left on each filesystem that matters, by the default levels of the alert disk-low."""
    if isinstance(host.disks, Unseen):
        yield unseen(host.disks.why)
        return
    found = []
    for filesystem in host.disks.filesystems:
        where = f"{filesystem.mountpoint} ({', '.join(filesystem.roles)})"
        if filesystem.read_only:
            why = "sudo dmesg | tail -50   # why the kernel made it so"
            what = f"nobody can write to {where}: it is mounted read-only"
            found.append(Finding(Level.PROBLEM, what, (why, f"# then fsck it, or {_REMOUNT}")))
        level = _space(filesystem)
        if level is not Pressure.OK:
            left = f"{words.size(filesystem.available_bytes)} of {words.size(filesystem.size_bytes)} left"
            found.append(Finding(_LEVELS[level], f"{where} is nearly full: {left}", _FREE))
    # The folders below the data-root are out of sight with it.
    hidden = _BELOW if "data-root" in host.disks.errors else frozenset()
    errors = [unseen(why) for role, why in host.disks.errors.items() if role not in hidden]
    yield from [*found, *errors] or [ok("there is room on every filesystem that matters")]


_BELOW: Final = frozenset({"volumes", "logs"})
_REMOUNT: Final = "mount -o remount,rw"
_FREE: Final = (
    "shipkeeper plan   # what a cleanup would remove, and why",
    "docker system df -v   # what takes the space",
)


def inodes(host: Host) -> Iterator[Finding]:
    """Judge how many inodes are left: without one no file can be made, however much space there is."""
    if isinstance(host.disks, Unseen):
        yield unseen(host.disks.why)
        return
    found = []
    for filesystem in host.disks.filesystems:
        if not filesystem.inodes or filesystem.inodes_free is None:
            continue
        share = 100 * filesystem.inodes_free / filesystem.inodes
        if share < _PRESSURE.inodes_warn_percent:
            level = Level.PROBLEM if share < _PRESSURE.inodes_critical_percent else Level.WARNING
            what = f"{filesystem.mountpoint} has {filesystem.inodes_free:,} of {filesystem.inodes:,} inodes left"
            count = f"sudo du --inodes -xd2 {quote(filesystem.mountpoint)} | sort -n | tail   # who has so many files"
            found.append(Finding(level, what, (count, _FREE[0])))
    yield from found or [ok("there are inodes enough")]


def reserved_blocks(host: Host) -> Iterator[Finding]:
    """Judge how much of Docker's own disk is kept back for root, who is not who needs it there."""
    if isinstance(host.disks, Unseen):
        yield unseen(host.disks.why)
        return
    found = []
    for filesystem in host.disks.filesystems:
        kind = host.disks.kinds.get(filesystem.mountpoint, "")
        reserved = filesystem.size_bytes - filesystem.used_bytes - filesystem.available_bytes
        much = reserved >= _RESERVED_BYTES and reserved >= _RESERVED_RATIO * filesystem.size_bytes
        if not kind.startswith("ext") or "os-root" in filesystem.roles or not much:
            continue
        device = host.disks.devices.get(filesystem.mountpoint, "")
        found.append(
            Finding(
                Level.NOTE,
                f"{words.size(reserved)} of {filesystem.mountpoint} are reserved for root and cannot be used by others",
                (f"sudo tune2fs -m 1 {quote(device)}",),
            )
        )
    yield from found or [ok("no disk of Docker's keeps much back for root")]


def _space(filesystem: Filesystem) -> Pressure:
    """Give the level of the space alone."""
    return _PRESSURE.level_of(replace(filesystem, inodes=None, inodes_free=None), 0) or Pressure.OK
