"""Runs inside of the virtual machine: the service under its systemd beside a real Docker, and a note of how it does."""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.lab.guest.scene import PATIENCE, docker, page
from tests.lab.waiting import wait_until

OUT = Path(os.environ["OUT"])
UNIT = "shipkeeper.service"
CONFIGURATION = Path("/etc/shipkeeper/shipkeeper.toml")
PUBLISHED = "http://127.0.0.1:8080/etc/padding"
HTTPD = ("httpd", "-f", "-p", "80", "-h", "/")
ADJ_MAXERROR = 0x0004
ADJ_STATUS = 0x0010
SHOWN = "MemoryCurrent,MemoryPeak,MemoryMax,TasksCurrent,TasksMax,CPUUsageNSec,NRestarts,ActiveState,StatusText,MainPID"


def main() -> None:
    """Leave `page.txt` and `note.json` in the folder of the results."""
    docker("import", "bb.tar", "bb:latest")
    docker("run", "--detach", "--name=web", "--publish=127.0.0.1:8080:80", "--restart=always", "bb:latest", *HTTPD)
    docker("run", "--detach", "--name=talker", "bb:latest", "sh", "-c", "yes talk | head -n 100000; exec sleep 1000000")
    note: dict[str, Any] = {"started": run("systemctl", "start", UNIT), "before": shown()}
    wait_for(r'shipkeeper_container_log_bytes\{.*name="talker"\} [1-9]')
    wait_for(r'container_network_receive_bytes_total\{.*name="web"')
    with urlopen(PUBLISHED, timeout=PATIENCE) as answer:
        note["page of the published port"] = answer.read().decode()
    CONFIGURATION.parent.mkdir(exist_ok=True)
    CONFIGURATION.write_text("[alerts]\nlog_lines = 5\n")
    note["good reload"] = run("systemctl", "reload", UNIT)
    CONFIGURATION.write_text("nonsense = 1\n")
    note["bad reload"] = run("systemctl", "reload", UNIT)
    CONFIGURATION.unlink()
    pid = shown()["MainPID"]
    note["doctor, a clock left alone"] = doctor()
    set_clock_status(0)
    note["doctor, a clock kept right"] = doctor()
    note["docker restarted"] = run("systemctl", "restart", "docker")
    wait_until(lambda: "up" in shown()["StatusText"] and "shipkeeper_docker_up 1" in page(), "Docker again", PATIENCE)
    note["the same process"] = pid == shown()["MainPID"]
    (OUT / "page.txt").write_text(page())
    note["after"] = shown()
    note["stopped"] = run("systemctl", "stop", UNIT)
    note["journal"] = run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")
    (OUT / "note.json").write_text(json.dumps(note, indent=1))


def run(*command: str) -> str:
    """Run a program, and give its exit code with all that it printed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return f"{done.returncode}: {done.stdout}{done.stderr}"


def doctor() -> dict[str, Any]:
    """Give what the doctor says of each check, and its exit code."""
    code, _, said = run("/opt/shipkeeper/bin/shipkeeper", "doctor", "--json").partition(": ")
    told: dict[str, list[str]] = {}
    for each in json.loads(said)["findings"]:
        told.setdefault(each["check"], []).append(f"{each['status']}: {each['what']}")
    return {"exit code": int(code), **told}


def set_clock_status(status: int) -> None:
    """Tell the kernel what a time service tells it; a host begins with the bit STA_UNSYNC: there is none."""
    timex = struct.pack("I4xqqqqi4x", ADJ_STATUS | ADJ_MAXERROR, 0, 0, 0, 0, status).ljust(512, b"\0")
    assert ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(timex, len(timex))) >= 0


def shown() -> dict[str, str]:
    """Give what systemd knows of the service."""
    told = subprocess.run(
        ["systemctl", "show", UNIT, f"--property={SHOWN}"], check=True, capture_output=True, text=True
    ).stdout
    return dict(line.split("=", 1) for line in told.splitlines())


def wait_for(pattern: str) -> None:
    """Scrape until the page holds this."""
    wait_until(lambda: re.search(pattern, page()), f"{pattern} on the page", PATIENCE)


if __name__ == "__main__":
    main()
