"""What the doctor looks through: the environment, the files, the programs and the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.clock import Clock
    from daemon.unit_state import Runner


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The asking user's view of this host; `root` is where its files begin, `run` runs a program within seconds."""

    environ: Mapping[str, str]
    home: Path
    run: Runner
    clock: Clock
    root: Path = Path("/")
