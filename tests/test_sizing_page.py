"""The page about sizing: its table follows from its figures, and golden pages hold what it says of them."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from tests.lab.binaries import promtool
from tests.proofs import REPOSITORY
from tests.sizing_page import FIGURES, HEADING, PAGE, rows

if TYPE_CHECKING:
    from pathlib import Path

GOLDEN = REPOSITORY / "tests" / "golden"


def series(page: str, *parts: str) -> list[str]:
    """Give the lines of a page that are series and hold all these parts."""
    lines = (line for line in (GOLDEN / page).read_text().splitlines() if not line.startswith("#"))
    return [line for line in lines if all(part in line for part in parts)]


def test_the_table_follows_from_the_figures() -> None:
    text = PAGE.read_text()
    table = re.compile(rf"(?<=\n{HEADING}\n)(.*?\|--[^\n]*\n)(?:\|[^\n]*\n)+", re.DOTALL)
    worked_out = table.sub(lambda found: found[1] + "".join(f"{row}\n" for row in rows()), text, count=1)
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_text(worked_out)
    assert PAGE.read_text() == worked_out
    assert all(row in worked_out for row in rows())


def test_series_of_cgroup_v2_and_of_gpus_are_those_of_the_golden_pages() -> None:
    of_one = series("metrics-host-v2-systemd.txt", 'name="writer"')
    native = [line for line in of_one if not line.startswith("container_")]
    assert FIGURES["series of each container, cgroup v2 and one network"] == len(of_one)
    assert FIGURES["the same without cAdvisor's names, cgroup v2 and one network"] == len(native)
    assert FIGURES["series of 8 GPUs with 20 processes"] == len(series("gpus-8-with-20-processes.txt"))


def test_prometheus_takes_the_lines_that_share_the_targets(tmp_path: Path) -> None:
    (piece,) = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "targets").mkdir()
    (tmp_path / "prometheus.yml").write_text(piece)
    done = subprocess.run(
        [promtool(), "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
