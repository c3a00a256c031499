"""Who the GPUs of this host are: those that can be read and those that are missed, with their XID errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from collectors.gpu_facts import Gpu, GpuFault, GpuSample, Xid
from collectors.kernel_log import pci_address
from daemon.gpu_seen import bare

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from collectors.nvml_lines import Listing


class GpuRoster:
    """
    Remembers every GPU that could be read once, by its UUID: one that is missing is lost, never just not there.

    XID errors are counted from the last start of the machine on if the kernel's log tells them, else from our first
    start since.
    """

    def __init__(self, known: Iterable[Gpu] = ()) -> None:
        """Begin with those that were known before, and their errors."""
        known = tuple(known)
        self._known = {gpu.uuid: bare(gpu) for gpu in known}
        self._xids = {(gpu.uuid, xid.xid): xid for gpu in known for xid in gpu.xids}

    def __bool__(self) -> bool:
        """Tell whether this host has, or had, any GPU."""
        return bool(self._known)

    def note_xid(self, uuid: str, xid: int, at: datetime, times: int = 1) -> None:
        """Count an XID error that came so many times."""
        known = self._xids.get((uuid, xid))
        count, last_at = (known.count, max(known.last_at, at)) if known else (0, at)
        self._xids[uuid, xid] = Xid(xid=xid, count=count + times, last_at=last_at)

    def by_address(self, pci: tuple[int, ...]) -> str:
        """Give the UUID of the GPU at an address of the PCI bus, empty if there was never one."""
        for gpu in self._known.values():
            if pci_address(gpu.pci_bus_id) == pci:
                return gpu.uuid
        return ""

    def meet(self, listing: Listing) -> None:
        """Remember the GPUs of a sample."""
        for gpu in listing.gpus:
            if gpu.readings is not None:
                self._known[gpu.uuid] = bare(gpu)

    def sample(self, listing: Listing, at: datetime, xids_until: float = 0.0) -> GpuSample:
        """Give all GPUs that were ever met, and those nameless ones that cannot be read, in NVML's order."""
        gpus = sorted(self._gpus(listing), key=lambda gpu: (gpu.index, gpu.uuid))
        with_xids = tuple(replace(gpu, xids=self._xids_of(gpu.uuid)) for gpu in gpus)
        return GpuSample(at=at, driver_version=listing.driver_version, gpus=with_xids, xids_until=xids_until)

    def _gpus(self, listing: Listing) -> Iterator[Gpu]:
        yield from (gpu for gpu in listing.gpus if gpu.fault is None)
        missing = {uuid: gpu for uuid, gpu in self._known.items() if all(uuid != seen.uuid for seen in listing.gpus)}
        for failed in (gpu for gpu in listing.gpus if gpu.fault is not None):
            known = self._known.get(failed.uuid) if failed.uuid else _at_index(list(missing.values()), failed.index)
            if known is not None:
                missing.pop(known.uuid, None)
            yield replace(known, index=failed.index, fault=failed.fault) if known else failed
        yield from (replace(gpu, fault=GpuFault.LOST) for gpu in missing.values())

    def _xids_of(self, uuid: str) -> tuple[Xid, ...]:
        return tuple(xid for (whose, _), xid in sorted(self._xids.items()) if whose == uuid)


def _at_index(missing: list[Gpu], index: int) -> Gpu | None:
    """Give who is most likely the one that does not tell its name: who stood at its place, else the next one."""
    at_its_place = [gpu for gpu in missing if gpu.index == index]
    return next(iter(at_its_place + missing), None)
