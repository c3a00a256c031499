"""Remembers which GPUs there were since the machine started: fewer are a fault, not a smaller machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from collectors.gpu_facts import Gpu
from daemon.records import readable

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        """By UUID, all that could ever be read: what they are, not how."""
        rows = store.read("SELECT value FROM meta WHERE key = ?", (_KEY,))
        for count, gpus in readable(rows, lambda row: self._resumed(json.loads(row["value"]))):
            self.count, self.gpus = count, gpus

    def note(self, gpus: Iterable[Gpu]) -> None:
        """Take note of what is there now; writes only when there are more than ever, or others."""
        gpus = tuple(gpus)
        count = max(self.count, len(gpus))
        known = self.gpus | {gpu.uuid: bare(gpu) for gpu in gpus if gpu.uuid and gpu.fault is None}
        if (count, known) == (self.count, self.gpus):
            return
        self.count, self.gpus = count, known
        value = json.dumps({"count": count, "boot": self._boot, "gpus": [_saved(gpu) for gpu in known.values()]})
        self._store.write(
            lambda connection: connection.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, value)
            )
        )

    def _resumed(self, saved: dict[str, Any]) -> tuple[int, dict[str, Gpu]]:
        if saved["boot"] != self._boot:
            return 0, {}
        gpus = map(_loaded, saved["gpus"])
        return int(saved["count"]), {gpu.uuid: gpu for gpu in gpus}


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
    }


def _loaded(saved: dict[str, Any]) -> Gpu:
    return Gpu(
        uuid=str(saved["uuid"]),
        index=int(saved["index"]),
        minor=None if saved["minor"] is None else int(saved["minor"]),
        name=str(saved["name"]),
        pci_bus_id=str(saved["pci_bus_id"]),
        mig=bool(saved["mig"]),
    )
