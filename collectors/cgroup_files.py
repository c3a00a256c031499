"""Reads figures out of the bytes of cgroup, `/proc/<pid>/net/dev` and `/proc/<pid>/cgroup` files."""

from __future__ import annotations

from dataclasses import dataclass

UNLIMITED_FROM = 1 << 62
"""cgroup v1 writes "no limit" as the largest page-aligned 63-bit number."""

_MAX_DIGITS = 20  # an unsigned 64-bit number; a longer run of digits is garbage
_NEWLINE = ord(b"\n")
_RECEIVED, _SENT, _COLUMNS = 0, 8, 16


@dataclass(frozen=True, slots=True)
class Flow:
    """Two counters of bytes: read and written of a block device, received and sent of an interface."""

    incoming: int
    outgoing: int


def number(text: bytes | None) -> int | None:
    """Give the one non-negative number that a file holds; `None` for anything else, "max" included."""
    if text is None:
        return None
    digits = text.strip()
    return int(digits) if digits.isdigit() and len(digits) <= _MAX_DIGITS else None


def limit(text: bytes | None) -> int | None:
    """Give a limit; `None` when there is none or it cannot be read."""
    value = number(text)
    return value if value is None or value < UNLIMITED_FROM else None


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


def io_v2(text: bytes | None) -> dict[str, Flow]:
    """Give the bytes per `major:minor` of an `io.stat`."""
    flows: dict[str, Flow] = {}
    for line in (text or b"").splitlines():
        device, _, rest = line.partition(b" ")
        fields = dict(field.partition(b"=")[::2] for field in rest.split())
        read, written = number(fields.get(b"rbytes")), number(fields.get(b"wbytes"))
        if read is not None and written is not None and _is_device(device):
            flows[device.decode()] = Flow(read, written)
    return flows


def io_v1(text: bytes | None) -> dict[str, Flow]:
    """Give the bytes per `major:minor` of a `blkio.throttle.io_service_bytes`."""
    counts: dict[tuple[bytes, bytes], int] = {}
    for line in (text or b"").splitlines():
        device, _, rest = line.partition(b" ")
        operation, _, digits = rest.partition(b" ")
        value = number(digits)
        if value is not None and _is_device(device):
            counts[device, operation] = value
    devices = {device for device, _ in counts}
    return {
        device.decode(): Flow(counts[device, b"Read"], counts[device, b"Write"])
        for device in sorted(devices)
        if (device, b"Read") in counts and (device, b"Write") in counts
    }


def _is_device(text: bytes) -> bool:
    major, colon, minor = text.partition(b":")
    return bool(colon) and major.isdigit() and minor.isdigit()


def interfaces(text: bytes | None) -> dict[str, Flow]:
    """
    Give the bytes per interface of a `net/dev`.

    `lo`, `veth*` and `docker*` are left out: they repeat or never leave what other interfaces count.
    """
    flows: dict[str, Flow] = {}
    for line in (text or b"").splitlines():
        name, colon, figures = line.partition(b":")
        name = name.strip()
        if not colon or name == b"lo" or name.startswith((b"veth", b"docker")):
            continue
        columns = figures.split()
        if len(columns) < _COLUMNS:
            continue
        received, sent = number(columns[_RECEIVED]), number(columns[_SENT])
        if received is not None and sent is not None:
            flows[name.decode(errors="replace")] = Flow(received, sent)
    return flows


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
