"""Runs inside of the virtual machine: `deploy/compose` as its page says, and a note of what its servers tell."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.lab.guest.scene import PATIENCE, docker
from tests.lab.waiting import wait_until

OUT = Path(os.environ["OUT"])
PROMETHEUS, ALERTMANAGER = "http://127.0.0.1:9090", "http://127.0.0.1:9093"
FOLDER = Path("deploy/compose")
DOWN_SECONDS = 600.0
"""Half of it is the rule's: who is away for 5 min is down."""


def main() -> None:
    """Leave `note.json` in the folder of the results."""
    docker("load", "--quiet", "--input", "images.tar")
    note: dict[str, Any] = {}
    subprocess.run(["sh", "-e", "up.sh"], check=True)
    wait_until(lambda: query("up") == [1.0], "Shipkeeper to be scraped", PATIENCE)
    wait_until(lambda: query("shipkeeper_docker_up") == [1.0], "the engine to be seen", PATIENCE)
    wait_until(
        lambda: query('container_network_receive_bytes_total{name="shipkeeper-prometheus-1"} > 0'), "bytes", PATIENCE
    )
    wait_until(lambda: health() == "healthy", "the health check", PATIENCE)
    note["rules"] = [
        {"name": rule["name"], "health": rule["health"], "error": rule.get("lastError", "")}
        for group in get(f"{PROMETHEUS}/api/v1/rules")["data"]["groups"]
        for rule in group["rules"]
    ]
    note["roles"] = [each["metric"]["role"] for each in series("shipkeeper_filesystem_up == 1")]
    note["ports"] = compose("ps", "--format", "{{.Service}} {{.Ports}}").splitlines()
    note["status"] = json.loads(compose("exec", "-T", "shipkeeper", "shipkeeper", "status", "--json"))
    note["name of the host"] = os.uname().nodename
    compose("stop", "shipkeeper")
    note["exit code"] = inspected()["State"]["ExitCode"]
    note["told"] = wait_until(alerts, "what Prometheus says of that", DOWN_SECONDS)
    note["journal"] = compose("logs", "--no-log-prefix", "shipkeeper")
    (OUT / "note.json").write_text(json.dumps(note, indent=1))


def compose(*arguments: str) -> str:
    """Ask compose about the project, and give what it printed."""
    environment = os.environ | {"DOCKER_GID": "0", "GRAFANA_PASSWORD": "-"}  # only what is started needs the true ones
    command = ["docker", "compose", *arguments]
    done = subprocess.run(command, cwd=FOLDER, env=environment, check=True, capture_output=True, text=True)
    return done.stdout


def inspected() -> Any:
    """Give what Docker knows of Shipkeeper's container."""
    return json.loads(docker("inspect", "shipkeeper-shipkeeper-1"))[0]


def health() -> str:
    """Give what came of its health check."""
    return str(inspected()["State"]["Health"]["Status"])


def get(url: str) -> Any:
    """Give an answer; nothing while nobody listens."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  constants above
            return json.load(answer)
    except OSError:
        return None


def series(expression: str) -> list[Any]:
    """Ask Prometheus."""
    asked = urllib.parse.urlencode({"query": expression})
    answer = get(f"{PROMETHEUS}/api/v1/query?{asked}")
    return list(answer["data"]["result"]) if answer else []


def query(expression: str) -> list[float]:
    """Give the values alone."""
    return [float(each["value"][1]) for each in series(expression)]


def alerts() -> list[dict[str, str]]:
    """Give the labels of what the Alertmanager holds."""
    return [each["labels"] for each in get(f"{ALERTMANAGER}/api/v2/alerts") or ()]


if __name__ == "__main__":
    main()
