"""Reads figures out of the bytes of cgroup, `/proc/<pid>/net/dev` and `/proc/<pid>/cgroup` files."""

from __future__ import annotations

from typing import NamedTuple

UNLIMITED_FROM = 1 << 62
"""cgroup v1 writes "no limit" as the largest page-aligned 63-bit number."""

_MAX_DIGITS = 20  # an unsigned 64-bit number; a longer run of digits is garbage
_NEWLINE = ord(b"\n")
_COUNTED = (0, 1, 2, 3, 8, 9, 10, 11)
"""The columns of bytes, packets, errors and drops, first received, then sent."""
_COLUMNS = 16
_MICROSECONDS = 1_000_000


class BlockIo(NamedTuple):
    """What a block device counted: bytes, and operations where they are told."""

    read_bytes: int
    write_bytes: int
    reads: int | None = None
    writes: int | None = None


class Traffic(NamedTuple):
    """What an interface counted, seen from inside of the container."""

    receive_bytes: int
    receive_packets: int
    receive_errors: int
    receive_dropped: int
    transmit_bytes: int
    transmit_packets: int
    transmit_errors: int
    transmit_dropped: int


class Pressure(NamedTuple):
    """
    A file of pressure stall information: seconds in which some, and in which all processes waited.

    `None` where the kernel does not tell.
    """

    waiting_seconds: float | None = None
    stalled_seconds: float | None = None


NO_PRESSURE = Pressure()


def number(text: bytes | None) -> int | None:
    """Give the one non-negative number that a file holds; `None` for anything else, "max" included."""
    if text is None:
        return None
    digits = text.strip()
    return int(digits) if digits.isdigit() and len(digits) <= _MAX_DIGITS else None


def limit(text: bytes | None) -> int | None:
    """Give a limit, 0 when there is none; `None` when it cannot be read."""
    if text is not None and text.strip() == b"max":
        return 0
    value = number(text)
    return 0 if value is not None and value >= UNLIMITED_FROM else value


def keyed(text: bytes | None, key: bytes) -> int | None:
    """Give the number after `key` in a file of `key number` lines, wherever the line stands."""
    if text is None:
        return None
    marker = key + b" "
    start = text.find(marker)
    while start > 0 and text[start - 1] != _NEWLINE:  # the end of a longer key
        start = text.find(marker, start + 1)
    if start < 0:
        return None
    end = text.find(b"\n", start)
    return number(text[start + len(marker) : end if end >= 0 else len(text)])


def numbers(text: bytes | None) -> tuple[int | None, ...]:
    """Give the numbers of a file that holds several in a line; `None` in the place of "max"."""
    return tuple(number(word) for word in (text or b"").split())


def pressure(text: bytes | None) -> Pressure:
    """Give the totals of a `cpu.pressure`, `memory.pressure` or `io.pressure`."""
    if text is None:
        return NO_PRESSURE
    totals: dict[bytes, float] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(b" ")
        total = number(rest.rpartition(b"total=")[2])
        if total is not None:
            totals[kind] = total / _MICROSECONDS
    return Pressure(totals.get(b"some"), totals.get(b"full"))


def io_v2(text: bytes | None) -> dict[str, BlockIo]:
    """Give the figures per `major:minor` of an `io.stat`."""
    found: dict[str, BlockIo] = {}
    for line in (text or b"").splitlines():
        device, _, rest = line.partition(b" ")
        fields = dict(field.partition(b"=")[::2] for field in rest.split())
        read, written = number(fields.get(b"rbytes")), number(fields.get(b"wbytes"))
        if read is not None and written is not None and _is_device(device):
            found[device.decode()] = BlockIo(read, written, number(fields.get(b"rios")), number(fields.get(b"wios")))
    return found


def io_v1(byte_counts: bytes | None, operation_counts: bytes | None) -> dict[str, BlockIo]:
    """Give the figures per `major:minor` of a `blkio.throttle.io_service_bytes` and `….io_serviced`."""
    operations = _by_direction(operation_counts)
    return {
        device: BlockIo(read, written, *operations.get(device, (None, None)))
        for device, (read, written) in _by_direction(byte_counts).items()
    }


def _by_direction(text: bytes | None) -> dict[str, tuple[int, int]]:
    """Give what was read and what was written, by device; one that lacks either is left out."""
    counts: dict[tuple[bytes, bytes], int] = {}
    for line in (text or b"").splitlines():
        device, _, rest = line.partition(b" ")
        operation, _, digits = rest.partition(b" ")
        value = number(digits)
        if value is not None and _is_device(device):
            counts[device, operation] = value
    return {
        device.decode(): (counts[device, b"Read"], counts[device, b"Write"])
        for device, operation in sorted(counts)
        if operation == b"Read" and (device, b"Write") in counts
    }


def _is_device(text: bytes) -> bool:
    major, colon, minor = text.partition(b":")
    return bool(colon) and major.isdigit() and minor.isdigit()


def interfaces(text: bytes | None) -> dict[str, Traffic]:
    """
    Give the traffic per interface of a `net/dev`.

    `lo`, `veth*` and `docker*` are left out: they repeat or never leave what other interfaces count.
    """
    found: dict[str, Traffic] = {}
    for line in (text or b"").splitlines():
        name, colon, figures = line.partition(b":")
        name = name.strip()
        if not colon or name == b"lo" or name.startswith((b"veth", b"docker")):
            continue
        columns = figures.split()
        if len(columns) < _COLUMNS:
            continue
        counted = [value for column in _COUNTED if (value := number(columns[column])) is not None]
        if len(counted) == len(_COUNTED):
            found[name.decode(errors="replace")] = Traffic(*counted)
    return found


def paths_of(text: bytes | None, container_id: str) -> dict[str, str]:
    """
    Give, per controller, the cgroup path of a container out of a `/proc/<pid>/cgroup`.

    The unified hierarchy's controller is the empty string. A path ends with the element that names the
    container; leading `/..` of a private cgroup namespace are dropped. Paths that do not name it are left out,
    so the file of a PID that now belongs to another process gives nothing.
    """
    found: dict[str, str] = {}
    for line in (text or b"").decode(errors="replace").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        elements = [element for element in path.split("/") if element not in {"", ".", ".."}]
        at = next((index for index, element in enumerate(elements) if container_id in element), None)
        if not colon or at is None:
            continue
        for controller in controllers.split(","):
            found[controller] = "/".join(elements[: at + 1])
    return found
