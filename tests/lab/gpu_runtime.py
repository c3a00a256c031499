"""Lets an engine take requests for GPUs that are not there: by a hook that does nothing, and by CDI."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def pretend_gpus(root: Path, busybox: str, count: int) -> None:
    """
    Put NVIDIA's hook and a CDI specification of so many GPUs below the engine's root, before it starts.

    Docker offers `--gpus` where it finds the hook on its PATH, and runs it before a container's first process.
    """
    hook = root / "usr/bin/nvidia-container-runtime-hook"
    hook.write_text(f"#!{busybox} sh\nexit 0\n")
    hook.chmod(0o755)
    folder = root / "etc/cdi"
    folder.mkdir(parents=True, exist_ok=True)
    names = [*map(str, range(count)), "all"]
    devices = [{"name": name, "containerEdits": {"env": [f"FAKE_GPU={name}"]}} for name in names]
    (folder / "nvidia.json").write_text(
        json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices})
    )
