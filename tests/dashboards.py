"""The dashboards as Grafana would read them: their panels, and each query with its variables filled in."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.lab.binaries import REPOSITORY
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from tests.lab.prometheus import Prometheus

FOLDER = REPOSITORY / "deploy" / "grafana"
FILES = sorted(FOLDER.glob("*.json"))
RECORDING = REPOSITORY / "deploy" / "prometheus" / "rules" / "recording.yml"
BUILT_IN = {"__rate_interval": "1m", "__range": "1h"}
"""What Grafana itself fills in: an interval that holds some scrapes, and the time that is shown."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of a dashboard: who asks it, and the PromQL."""

    who: str
    query: str


def read(file: Path) -> Any:
    """Give a dashboard as JSON has it."""
    return json.loads(file.read_text())


def panels(dashboard: Any) -> Iterator[Any]:
    """Give all panels but rows, those in closed rows too."""
    for panel in dashboard["panels"]:
        yield from panel["panels"] if panel["type"] == "row" else (panel,)


def choices(dashboard: Any) -> dict[str, str]:
    """Give what each variable stands for as long as nobody chooses anything."""
    return {
        each["name"]: each.get("allValue") or each["query"]
        for each in dashboard["templating"]["list"]
        if each["type"] != "datasource"
    }


def asks(dashboard: Any, chosen: Mapping[str, str]) -> Iterator[Ask]:
    """Give everything that a dashboard asks, its variables first, each with what is chosen."""
    for each in dashboard["templating"]["list"]:
        if each["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", each["definition"])
            assert found, each["definition"]
            yield Ask(f"variable {each['name']}", filled(f"count by ({found[2]}) ({found[1]})", chosen))
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Ask(f"{panel['title']} {target['refId']}", filled(target["expr"], chosen))


def filled(query: str, chosen: Mapping[str, str]) -> str:
    """Give a query with what is chosen in the place of its variables. Raises `KeyError` for an unknown one."""
    values = {**BUILT_IN, **chosen}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], query)


def assert_answered(prometheus: Prometheus, asked: Iterable[Ask], seconds: float = 90.0) -> None:
    """Wait until every query has been answered with a number at least once; fail with all those that were not."""
    waiting = list(asked)

    def all_answered() -> bool:
        waiting[:] = [ask for ask in waiting if all(math.isnan(series.value) for series in prometheus.query(ask.query))]
        return not waiting

    try:
        wait_until(all_answered, "an answer to every query", seconds)
    except TimeoutError:
        raise AssertionError("\n".join(f"{ask.who}: {ask.query}" for ask in waiting)) from None
