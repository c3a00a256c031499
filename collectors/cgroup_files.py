"""Reads figures out of the bytes of cgroup, `/proc/<pid>/net/dev` and `/proc/<pid>/cgroup` files."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

UNLIMITED_FROM = 1 << 62
"""cgroup v1 writes "no limit" as the largest page-aligned 63-bit number."""

_MAX_DIGITS = 20  # an unsigned 64-bit number; a longer run of digits is garbage
_COUNTED = itemgetter(0, 1, 2, 3, 8, 9, 10, 11)
"""The columns of bytes, packets, errors and drops, first received, then sent."""
_COLUMNS = 16
_HEADINGS = 2
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
    if not text.isdigit():
        text = text.strip()
        if not text.isdigit():
            return None
    return int(text) if len(text) <= _MAX_DIGITS else None


def limit(text: bytes | None) -> int | None:
    """Give a limit, 0 when there is none; `None` when it cannot be read."""
    if text is not None and text.strip() == b"max":
        return 0
    value = number(text)
    return 0 if value is not None and value >= UNLIMITED_FROM else value


def keyed(text: bytes | None, key: bytes) -> int | None:
    """Give the number after `key` in a file of `key number` lines, wherever the line stands."""
    return all_keyed(text, markers(key))[0]


def markers(*keys: bytes) -> tuple[bytes, ...]:
    """Give what `all_keyed` looks for to find these keys: each at the beginning of its line, and whole."""
    return tuple(b"\n%s " % key for key in keys)


def all_keyed(text: bytes | None, wanted: tuple[bytes, ...]) -> Sequence[int | None]:
    """
    Give the number after each of the `markers` in a file of `key number` lines, wherever the line stands.

    It is quickest where they are wanted in the order of the file: each is looked for behind the one before it first.
    """
    if text is None:
        return [None] * len(wanted)
    text = b"\n" + text
    found: list[int | None] = []
    end = 0
    for marker in wanted:
        start = text.find(marker, end)
        if start < 0:
            start = text.find(marker)
        if start < 0:
            found.append(None)
            continue
        start += len(marker)
        end = text.find(b"\n", start)
        found.append(number(text[start:end] if end >= 0 else text[start:]))
    return found


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
    read: dict[bytes, int] = {}
    written: dict[bytes, int] = {}
    for line in (text or b"").splitlines():
        device, _, rest = line.partition(b" ")
        operation, _, digits = rest.partition(b" ")
        counts = read if operation == b"Read" else written if operation == b"Write" else None
        if counts is not None and _is_device(device) and (value := number(digits)) is not None:
            counts[device] = value
    return {device.decode(): (read[device], written[device]) for device in sorted(read.keys() & written.keys())}


def _is_device(text: bytes) -> bool:
    major, colon, minor = text.partition(b":")
    return bool(colon) and major.isdigit() and minor.isdigit()


def interfaces(text: bytes | None) -> dict[str, Traffic]:
    """
    Give the traffic per interface of a `net/dev`.

    `lo`, `veth*` and `docker*` are left out: they repeat or never leave what other interfaces count.
    """
    found: dict[str, Traffic] = {}
    for line in (text or b"").splitlines()[_HEADINGS:]:
        name, colon, figures = line.partition(b":")
        name = name.strip()
        if not colon or name == b"lo" or name.startswith((b"veth", b"docker")):
            continue
        columns = figures.split()
        if len(columns) < _COLUMNS:
            continue
        counted = [number(column) for column in _COUNTED(columns)]
        if None not in counted:
            found[name.decode(errors="replace")] = Traffic._make(counted)
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


def resident(status: bytes | None) -> tuple[str, int] | None:
    """Give the name and the resident bytes of a process by its `/proc/PID/status`; `None` if it has no memory."""
    fields = dict(line.split(b":", 1) for line in (status or b"").splitlines() if b":" in line)
    kibibytes = number(fields.get(b"VmRSS", b"").strip().removesuffix(b" kB"))
    if kibibytes is None:
        return None
    return fields.get(b"Name", b"").strip().decode(errors="replace"), kibibytes * 1024
