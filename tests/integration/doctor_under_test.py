"""The doctor as its users call it: a process of its own, root or not, that looks at an engine of the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

NOBODY = 65534
NOTHING: Mapping[str, str] = MappingProxyType({})
_AS_NOBODY = """
import os, sys
from daemon.cli import main
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
main()
"""
"""The modules are loaded as root: nobody else may read them where tests lie in root's home."""
_LONGEST = 110
"""Seconds; it ends by itself long before, whatever it meets."""


@dataclass(frozen=True)
class Said:
    """What it answered."""

    code: int
    document: Mapping[str, Any]

    def of(self, check: str) -> list[Mapping[str, Any]]:
        """Give the findings of one check."""
        return [each for each in self.document["findings"] if each["check"] == check]

    def one(self, check: str) -> tuple[str, str]:
        """Give status and words of the only finding of a check."""
        (finding,) = self.of(check)
        return finding["status"], finding["what"]

    def cure(self, check: str) -> str:
        """Give all lines of the cures of a check."""
        return "\n".join(line for each in self.of(check) for line in each["cure"])


def doctor(
    docker_host: str,
    folder: Path,
    *,
    nobody: bool = False,
    environ: Mapping[str, str] = NOTHING,
    inside: Sequence[str] = (),
) -> Said:
    """
    Let it look at this engine; its home, and the state's folder, lie in `folder`.

    `inside` is the beginning of a command line that leads into another root or namespace.
    """
    command = (
        [sys.executable, "-c", _AS_NOBODY.format(nobody=NOBODY)] if nobody else [sys.executable, "-m", "daemon.cli"]
    )
    done = subprocess.run(
        [*inside, *command, "doctor", "--json"],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HOME": str(folder),
            "SHIPKEEPER_CONFIG": str(_empty(folder)),
            "SHIPKEEPER_DOCKER__HOST": docker_host,
            "SHIPKEEPER_CONTROL__SOCKET": str(folder / "control.sock"),
            "SHIPKEEPER_STATE__DIR": str(folder / "state"),
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST,
    )
    assert done.returncode in {0, 1}, done.stderr
    return Said(done.returncode, json.loads(done.stdout))


def _empty(folder: Path) -> Path:
    file = folder / "shipkeeper.toml"
    if not file.exists():
        file.touch()
    return file
