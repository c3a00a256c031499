"""Remembers which GPUs there were since the machine started, with their XID errors: fewer are a fault."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from collectors.gpu_facts import Gpu, Xid
from daemon.records import readable

if TYPE_CHECKING:
    from collectors.gpu_facts import GpuSample
    from daemon.clock import Clock
    from daemon.store import Store

_KEY = "gpus_seen"


class SeenGpus:
    """Used from the watch thread only. A boot forgets: whoever takes a card out switches the machine off."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Go on from what this boot has seen, also before we were restarted."""
        self._store = store
        self._boot = clock.boot_id()
        self.count = 0
        """The most that were seen at once."""
        self.gpus: dict[str, Gpu] = {}
        """By UUID, all that could ever be read: what they are and which errors they had, not how they are."""
        self.xids_until = 0.0
        """Up to then, by the monotonic clock, these errors are all that there were."""
        rows = store.read("SELECT value FROM meta WHERE key = ?", (_KEY,))
        for count, gpus, until in readable(rows, lambda row: self._resumed(json.loads(row["value"]))):
            self.count, self.gpus, self.xids_until = count, gpus, until

    def note(self, sample: GpuSample) -> None:
        """Take note of what is there now; writes only when there are more than ever, others, or new errors."""
        count = max(self.count, len(sample.gpus))
        known = self.gpus | {
            gpu.uuid: replace(bare(gpu), xids=gpu.xids)
            for gpu in sample.gpus
            if gpu.uuid and (gpu.fault is None or gpu.uuid in self.gpus)
        }
        if (count, known) == (self.count, self.gpus):
            return
        self.count, self.gpus, self.xids_until = count, known, sample.xids_until
        saved = {
            "count": count,
            "boot": self._boot,
            "gpus": [_saved(gpu) for gpu in known.values()],
            "xids_until": sample.xids_until,
        }
        value = json.dumps(saved)
        self._store.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, value)
            )
        )

    def _resumed(self, saved: dict[str, Any]) -> tuple[int, dict[str, Gpu], float]:
        if saved["boot"] != self._boot:
            return 0, {}, 0.0
        gpus = map(_loaded, saved["gpus"])
        return int(saved["count"]), {gpu.uuid: gpu for gpu in gpus}, float(saved["xids_until"])


def bare(gpu: Gpu) -> Gpu:
    """Give what a GPU is, without how it was."""
    return Gpu(uuid=gpu.uuid, index=gpu.index, minor=gpu.minor, name=gpu.name, pci_bus_id=gpu.pci_bus_id, mig=gpu.mig)


def _saved(gpu: Gpu) -> dict[str, object]:
    return {
        "uuid": gpu.uuid,
        "index": gpu.index,
        "minor": gpu.minor,
        "name": gpu.name,
        "pci_bus_id": gpu.pci_bus_id,
        "mig": gpu.mig,
        "xids": [[xid.xid, xid.count, xid.last_at.isoformat()] for xid in gpu.xids],
    }


def _loaded(saved: dict[str, Any]) -> Gpu:
    return Gpu(
        uuid=str(saved["uuid"]),
        index=int(saved["index"]),
        minor=None if saved["minor"] is None else int(saved["minor"]),
        name=str(saved["name"]),
        pci_bus_id=str(saved["pci_bus_id"]),
        mig=bool(saved["mig"]),
        xids=tuple(
            Xid(xid=int(xid), count=int(count), last_at=datetime.fromisoformat(last))
            for xid, count, last in saved["xids"]
        ),
    )
