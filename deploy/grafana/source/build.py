"""
Writes the dashboards for Grafana: each TOML file beside this one becomes a JSON file in a folder.

A TOML file holds what a person thinks of: rows of panels with their queries, units and words. What Grafana wants around
that stands here. Usage: build.py FOLDER. `[short]` names fragments of PromQL that stand as @NAME in the queries.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

Json = dict[str, Any]

SCHEMA_VERSION = 39
"""Grafana 10.4's; later ones bring it up to date by themselves."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 9}
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
GREEN = {"color": "green", "value": None}

VARIABLES = {
    "host": ("host", "Host", "label_values(shipkeeper_build_info, instance)", ".+"),
    "gpu_host": ("host", "Host", "label_values(shipkeeper_gpu_up, instance)", ".+"),
    "project": (
        "project",
        "Project",
        'label_values(shipkeeper_container_info{instance=~"$host"}, compose_project)',
        ".*",
    ),
    "container": (
        "container",
        "Container",
        'label_values(shipkeeper_container_info{instance=~"$host",compose_project=~"$project"}, name)',
        ".+",
    ),
    "gpu": ("gpu", "GPU", 'label_values(shipkeeper_gpu_up{instance=~"$host"}, gpu)', ".+"),
}
"""Name, label, query, and what "All" stands for: containers that belong to no project have an empty one."""


def dashboard(text: str) -> Json:
    """Give the dashboard that a TOML file describes."""
    page = tomllib.loads(text)
    short = page.get("short", {})
    return {
        "uid": page["uid"],
        "title": page["title"],
        "description": page["description"],
        "tags": ["shipkeeper"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": page.get("from", "now-6h"), "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "Shipkeeper",
                "tags": ["shipkeeper"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "icon": "external link",
            }
        ],
        "templating": {"list": variables(page["variables"])},
        "panels": panels(page["row"], short),
    }


def variables(names: list[str]) -> list[Json]:
    """Give the variables of a dashboard, the data source first."""
    listed: list[Json] = [
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0}
    ]
    for name in names:
        if name == "price":
            one = {"text": "2", "value": "2"}
            listed.append(
                {
                    "type": "textbox",
                    "name": name,
                    "label": "Price of a GPU hour",
                    "query": "2",
                    "current": one,
                    "hide": 0,
                }
            )
            continue
        called, label, query, everything = VARIABLES[name]
        listed.append(
            {
                "type": "query",
                "name": called,
                "label": label,
                "datasource": SOURCE,
                "definition": query,
                "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
                "refresh": 2,
                "sort": 1,
                "multi": True,
                "includeAll": True,
                "allValue": everything,
                "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
                "options": [],
                "regex": "",
                "hide": 0,
            }
        )
    return listed


def panels(rows: list[Json], short: dict[str, str]) -> list[Json]:
    """Lay out the rows below each other, and the panels of each from the left; a row that is closed holds its own."""
    laid: list[Json] = []
    y, number = 0, 1
    for row in rows:
        head = {"id": number, "type": "row", "title": row["title"], "collapsed": row.get("closed", False)}
        head |= {"gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []}
        laid.append(head)
        y, number, x, tallest = y + 1, number + 1, 0, 0
        for each in row["panel"]:
            width, height = each["width"], HEIGHTS[each["kind"]]
            if x + width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": width, "h": height}
            (head["panels"] if head["collapsed"] else laid).append(panel(each, number, place, short))
            x, number, tallest = x + width, number + 1, max(tallest, height)
        y += tallest
    return laid


def panel(each: Json, number: int, place: Json, short: dict[str, str]) -> Json:
    """Give one panel."""
    kind = each["kind"]
    made = {
        "id": number,
        "type": kind,
        "title": each["title"],
        "description": each["description"],
        "datasource": SOURCE,
        "gridPos": place,
        "targets": [target(query, letter, kind, short) for query, letter in zip(each["query"], LETTERS, strict=False)],
        "fieldConfig": {"defaults": defaults(each), "overrides": []},
        "options": {"stat": stat_options, "timeseries": line_options, "table": table_options}[kind](),
    }
    if kind == "table":
        made["fieldConfig"]["overrides"] = overrides(each)
        made["transformations"] = transformations(each)
    return made


def target(query: Json, letter: str, kind: str, short: dict[str, str]) -> Json:
    """Give one query: of a table as the newest values, of everything else over time."""
    expression = re.sub(r"@(\w+)", lambda found: short[found.group(1)], " ".join(query["expr"].split()))
    made = {"refId": letter, "datasource": SOURCE, "editorMode": "code", "expr": expression}
    if kind == "timeseries":
        return made | {"range": True, "instant": False, "legendFormat": query.get("legend", "{{instance}}")}
    newest = {"range": False, "instant": True}
    return made | newest | ({"format": "table"} if kind == "table" else {"legendFormat": query.get("legend", "")})


def defaults(each: Json) -> Json:
    """Give unit, limits and colours of a panel's values."""
    steps = [GREEN, *({"color": color, "value": value} for color, value in each.get("thresholds", []))]
    made: Json = {
        "unit": each.get("unit", "short"),
        "noValue": each.get("none", "no data"),
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "thresholds" if each["kind"] != "timeseries" else "palette-classic"},
    }
    if each["kind"] == "timeseries":
        stacked = each.get("stacked", False)
        made["min"] = 0
        made["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 5,
            "showPoints": "never",
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        }
    return {**made, **({"max": each["max"]} if "max" in each else {})}


def stat_options() -> Json:
    """Give how a single number looks."""
    return {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "textMode": "auto",
        "justifyMode": "auto",
        "orientation": "auto",
    }


def line_options() -> Json:
    """Give how lines look."""
    return {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }


def table_options() -> Json:
    """Give how a table looks."""
    return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "fields": ""}}


def transformations(each: Json) -> list[Json]:
    """Make one table of all answers: a row for each set of labels, a column for each query."""
    names = {
        "Value" if len(each["query"]) == 1 else f"Value #{letter}": query["column"] for query, letter in columns(each)
    }
    order = [*each["labels"], *names]
    return [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "indexByName": {name: place for place, name in enumerate(order)},
                "renameByName": {**each["labels"], **names},
            },
        },
    ]


def overrides(each: Json) -> list[Json]:
    """Give unit and colours of each column, and the way from a host to its containers."""
    made = [
        {"matcher": {"id": "byName", "options": query["column"]}, "properties": properties(query)}
        for query, _ in columns(each)
    ]
    if "instance" in each["labels"]:
        way = {
            "title": "its containers",
            "url": "/d/shipkeeper-containers?var-host=${__value.text}&${__url_time_range}",
        }
        link = {"id": "links", "value": [way]}
        made.append({"matcher": {"id": "byName", "options": each["labels"]["instance"]}, "properties": [link]})
    return made


def columns(each: Json) -> list[tuple[Json, str]]:
    """Give the queries of a table with their letters."""
    return list(zip(each["query"], LETTERS, strict=False))


def properties(query: Json) -> list[Json]:
    """Give what is special about one column; a number past `none_from` is said in words."""
    made: list[Json] = [{"id": "unit", "value": query.get("unit", "short")}]
    if steps := query.get("thresholds"):
        absolute = {"mode": "absolute", "steps": [GREEN, *({"color": c, "value": v} for c, v in steps)]}
        made += [
            {"id": "thresholds", "value": absolute},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
        ]
    if "none_from" in query:
        words = {"from": query["none_from"], "to": None, "result": {"text": query["none"], "index": 0}}
        made.append({"id": "mappings", "value": [{"type": "range", "options": words}]})
    return made


def main(folder: Path) -> None:
    """Write all dashboards."""
    for file in sorted(Path(__file__).parent.glob("*.toml")):
        text = json.dumps(dashboard(file.read_text()), indent=2, ensure_ascii=False)
        (folder / file.with_suffix(".json").name).write_text(f"{text}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
