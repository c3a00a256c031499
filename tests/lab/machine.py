"""A machine with a kernel of its own: Debian with cgroup v2, systemd and Docker, in QEMU's software emulation."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.binaries import Suite, cached, find, mirror
from tests.lab.errors import LabError

if TYPE_CHECKING:
    from datetime import timedelta

_SUITE = "trixie"
_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "kmod", "linux-image-cloud-amd64"),
    *("docker.io", "docker-cli", "docker-compose", "iproute2", "iptables", "ca-certificates", "python3"),
)
_DISK_MB = 3072
_TRANSFER_MB = 128
# The service runs instead of a login. What it is given comes as a tar on the second disk, what it leaves goes as a tar
# onto the third.
_SERVICE = """\
[Unit]
After=basic.target dbus.service
[Service]
Type=oneshot
ExecStart=/bin/sh /usr/local/sbin/work
ExecStopPost=/bin/systemctl poweroff --force --force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
"""
_WORK = """\
mkdir -p /run/work/results && tar -xf /dev/vdb -C /run/work && cd /run/work || exit 1
OUT=/run/work/results sh ./run.sh
echo "work ended with exit code $?"
tar -cf /dev/vdc -C /run/work/results . && sync
"""
_ENDED_WELL = "work ended with exit code 0"
# The kernel has everything built in but the driver of its disks.
_INIT = """\
#!/bin/busybox sh
busybox mount -t devtmpfs dev /dev
busybox insmod /virtio_blk.ko
until [ -b /dev/vda ]; do busybox sleep 0.1; done
busybox mount -t ext4 /dev/vda /root
exec busybox switch_root /root /sbin/init "$@"
"""
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BOOT_OPTIONS = (
    "root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off psi=1 "
    "systemd.unit=work.service systemd.wants=work.service systemd.show_status=0"
)


def run(inside: Path, results: Path, patience: timedelta, memory_mb: int = 1500) -> str:
    """
    Boot a fresh machine, let it run `inside/run.sh` as root with a running systemd, and give what it printed.

    What is `inside` may take a fifth of the memory. Files that it leaves in $OUT lie in `results` afterwards. The first
    time builds the machine, which takes a minute. Raises `LabError` with the last words of one that did not end well.
    """
    digest = hashlib.sha256(" ".join(_PACKAGES).encode()).hexdigest()[:12]
    machine = cached(f"machine/{_SUITE}-{digest}", _build)
    with tempfile.TemporaryDirectory(prefix="shipkeeper-machine-") as name:
        given, left = Path(name) / "given", Path(name) / "left"
        with tarfile.open(given, "w") as archive:
            archive.add(inside, ".")
        for disk in (given, left):
            with disk.open("ab") as file:
                file.truncate(max(file.tell(), _TRANSFER_MB << 20))
        said = _boot(machine, given, left, patience, memory_mb)
        if _ENDED_WELL not in said:
            raise LabError(f"the virtual machine did not do its work; its last words:\n{said[-4000:]}")
        with tarfile.open(left) as archive:
            archive.extractall(results, filter="data")
    return said


def _boot(machine: Path, given: Path, left: Path, patience: timedelta, memory_mb: int) -> str:
    command = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(memory_mb)),
        *("-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"),
        *("-kernel", str(machine / "vmlinux"), "-initrd", str(machine / "initrd"), "-append", _BOOT_OPTIONS),
        *("-drive", f"file={machine / 'disk'},if=virtio,format=raw,snapshot=on"),
        *("-drive", f"file={given},if=virtio,format=raw"),
        *("-drive", f"file={left},if=virtio,format=raw"),
    ]
    try:
        done = subprocess.run(
            ["setpriv", "--pdeathsig", "KILL", *command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=patience.total_seconds(),
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(f"the virtual machine was not done in time; its last words:\n{_text(error.stdout)}") from error
    return _text(done.stdout)


def _text(console: bytes | None) -> str:
    return (console or b"").decode(errors="replace").replace("\r", "")


def _build(folder: Path) -> None:
    """Make the disk, the kernel and the first file system of the machine, about 0.7 GB."""
    with tempfile.TemporaryDirectory(prefix="shipkeeper-machine-") as name:
        root = Path(name) / "root"
        _run("mmdebstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root), mirror())
        (root / "etc/systemd/system/work.service").write_text(_SERVICE)
        (root / "etc/systemd/system/serial-getty@ttyS0.service").symlink_to("/dev/null")
        (root / "usr/local/sbin/work").write_text(_WORK)
        _unpack_kernel(next((root / "boot").glob("vmlinuz-*")), folder / "vmlinux")
        _make_initrd(root, Path(name) / "initrd", folder / "initrd")
        _run("mkfs.ext4", "-q", "-F", "-d", str(root), str(folder / "disk"), f"{_DISK_MB}M")


def _unpack_kernel(packed: Path, kernel: Path) -> None:
    """Take the kernel out of its self-extracting file: emulated, that alone would take half a minute."""
    content = packed.read_bytes()
    unpacked = subprocess.run(
        ["zstd", "--decompress", "--quiet", "--stdout"],
        input=content[content.index(_ZSTD_MAGIC) :],
        check=False,  # what follows the kernel in the file is no zstd
        capture_output=True,
    ).stdout
    if not unpacked.startswith(b"\x7fELF"):
        raise LabError(f"{packed.name} holds no kernel that zstd can unpack")
    kernel.write_bytes(unpacked)


def _make_initrd(root: Path, tree: Path, initrd: Path) -> None:
    for name in ("bin", "dev", "root"):
        (tree / name).mkdir(parents=True)
    engine = find(Suite.SID)  # whose busybox needs no libraries
    (tree / "bin/busybox").write_bytes((engine.root / engine.busybox.lstrip("/")).read_bytes())
    [module] = (root / "usr/lib/modules").glob("**/virtio_blk.ko*")
    unpack = {".xz": ["xz", "-dc"], ".zst": ["zstd", "-dcq"]}.get(module.suffix, ["cat"])
    (tree / "virtio_blk.ko").write_bytes(_run(*unpack, str(module)))
    (tree / "init").write_text(_INIT)
    for program in ("init", "bin/busybox"):
        (tree / program).chmod(0o755)
    names = b"\n".join(str(path.relative_to(tree)).encode() for path in sorted(tree.rglob("*")))
    initrd.write_bytes(_run("cpio", "-o", "-H", "newc", "--quiet", "-D", str(tree), given=names + b"\n"))


def _run(*command: str, given: bytes = b"") -> bytes:
    try:
        return subprocess.run(command, input=given, check=True, capture_output=True).stdout
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is missing\n  cure: tests/lab/need.sh slow") from error
    except subprocess.CalledProcessError as error:
        raise LabError(f"{command[0]} failed: {error.stderr.decode(errors='replace').strip()[-1000:]}") from error
