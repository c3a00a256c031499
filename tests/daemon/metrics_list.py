"""The page that lists every metric with what the code itself says of it, and where it has been proved."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "metrics-list.md"
GOLDEN = {version: TESTS / "golden" / f"metrics-cgroup-{version}.txt" for version in ("v1", "v2")}
SEEN = {version: TESTS / "golden" / f"metrics-seen-{version}.txt" for version in ("v1", "v2")}
"""The names that a real daemon has shown of real containers on a machine with such cgroups, one a line."""

_LABEL = re.compile(r'[{,](\w+)="(?:[^"\\]|\\.)*"')
_UNITS = ("seconds", "bytes", "ratio", "celsius", "joules", "watts", "volts", "hertz")
_LAYERS = {"shipkeeper_": "native", "container_": "cAdvisor", "machine_": "cAdvisor", "DCGM_": "DCGM"}
_HEAD = """\
# Every metric

Made from the metrics page itself: `GOLDEN=write pytest tests/daemon/test_metrics_list.py` writes it anew, a test
compares. What each one means and where it comes from stands in [metrics.md](metrics.md).

*Proved*: `fixture v1`, `fixture v2` on files as kernels write them, in every test run; `real v1`, `real v2` by a daemon
that watched real containers on a machine with such cgroups. A metric without `real` needs something that the machine
of the tests lacks: another kernel, a second filesystem, a fault.

| metric | type | unit | labels | layer | proved | says |
|---|---|---|---|---|---|---|
"""


@dataclass
class _Metric:
    """What the golden pages show of one metric."""

    says: str
    kind: str
    labels: set[str] = field(default_factory=set)
    fixtures: list[str] = field(default_factory=list)


def page() -> str:
    """Give the page as it has to be."""
    found: dict[str, _Metric] = {}
    for version, golden in GOLDEN.items():
        _gather(golden.read_text(), version, found)
    seen = {version: names_seen(version) for version in SEEN}
    return _HEAD + "".join(_row(name, metric, seen) for name, metric in sorted(found.items()))


def names_seen(version: str) -> frozenset[str]:
    """Give the names that real containers have shown under this version of cgroups."""
    file = SEEN[version]
    return frozenset(file.read_text().split()) if file.exists() else frozenset()


def names_of(document: str) -> Iterator[str]:
    """Give the names of a page's own families, without those of the process."""
    for name in re.findall(r"^# TYPE (\w+) ", document, flags=re.MULTILINE):
        if _layer(name):
            yield name


def _gather(document: str, version: str, found: dict[str, _Metric]) -> None:
    """Add a page; a parser would take the end off the name of a counter."""
    says = name = ""
    for line in document.splitlines():
        if line.startswith("# HELP "):
            says = line.split(" ", 3)[3]
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            found.setdefault(name, _Metric(says, kind)).fixtures.append(f"fixture {version}")
        else:
            found[name].labels |= {label for label in _LABEL.findall(line) if label != "le"}


def _row(name: str, metric: _Metric, seen: Mapping[str, frozenset[str]]) -> str:
    proved = metric.fixtures + [f"real {version}" for version, names in seen.items() if name in names]
    labels = ", ".join(sorted(metric.labels))
    cells = (f"`{name}`", metric.kind, _unit(name), labels, _layer(name), ", ".join(proved), metric.says)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def _unit(name: str) -> str:
    word = name.removesuffix("_total").rpartition("_")[2]
    return word if word in _UNITS else ""


def _layer(name: str) -> str:
    return next((layer for prefix, layer in _LAYERS.items() if name.startswith(prefix)), "")
