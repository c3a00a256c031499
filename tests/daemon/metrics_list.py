"""The page that lists every metric with what the code itself says of it, and where it has been proved."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client import Metric

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "metrics-list.md"
GOLDEN = {version: TESTS / "golden" / f"metrics-cgroup-{version}.txt" for version in ("v1", "v2")}
SEEN = {version: TESTS / "golden" / f"metrics-seen-{version}.txt" for version in ("v1", "v2")}
"""The names that a real daemon has shown of real containers on a machine with such cgroups, one a line."""

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


def page() -> str:
    """Give the page as it has to be."""
    found: dict[str, dict[str, Metric]] = {}
    for version, golden in GOLDEN.items():
        document = golden.read_text()
        shown = set(names_of(document))
        for family in text_string_to_metric_families(document):
            # The parser takes the end off a counter's name, or adds one to a name of cAdvisor's that has none.
            name = next((name for name in (f"{family.name}_total", family.name) if name in shown), "")
            if name:
                found.setdefault(name, {})[version] = family
    seen = {version: names_seen(version) for version in SEEN}
    return _HEAD + "".join(_row(name, in_fixtures, seen) for name, in_fixtures in sorted(found.items()))


def names_seen(version: str) -> frozenset[str]:
    """Give the names that real containers have shown under this version of cgroups."""
    file = SEEN[version]
    return frozenset(file.read_text().split()) if file.exists() else frozenset()


def names_of(document: str) -> Iterator[str]:
    """Give the names of a page's own families, without those of the process."""
    for name in re.findall(r"^# TYPE (\w+) ", document, flags=re.MULTILINE):
        if _layer(name):
            yield name


def _row(name: str, in_fixtures: Mapping[str, Metric], seen: Mapping[str, frozenset[str]]) -> str:
    family = next(iter(in_fixtures.values()))
    proved = [f"fixture {version}" for version in in_fixtures]
    proved += [f"real {version}" for version, names in seen.items() if name in names]
    labels = ", ".join(_labels(in_fixtures.values()))
    cells = (f"`{name}`", family.type, _unit(name), labels, _layer(name), ", ".join(proved), family.documentation)
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def _labels(families: Iterable[Metric]) -> list[str]:
    return sorted({label for family in families for sample in family.samples for label in sample.labels} - {"le"})


def _unit(name: str) -> str:
    word = name.removesuffix("_total").rpartition("_")[2]
    return word if word in _UNITS else ""


def _layer(name: str) -> str:
    return next((layer for prefix, layer in _LAYERS.items() if name.startswith(prefix)), "")
