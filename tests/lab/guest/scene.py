"""Runs inside of the virtual machine: a few containers, the daemon that watches them, and a note of what they show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from tests.lab.waiting import wait_until

OUT = Path(os.environ["OUT"])
PAGE = "http://127.0.0.1:9817/metrics"
PATIENCE = 300.0
READ = ("cpu.", "memory.", "pids.", "io.")
"""How the names begin of the kernel's files that are of interest."""
IDLE = ("sh", "-c", "trap 'exit 0' TERM; sleep 1000000 & wait")
BUSY = ("sh", "-c", "while :; do :; done")
WRITER = ("sh", "-c", "dd if=/dev/zero of=/written bs=64k count=32 conv=fsync; exec sleep 1000000")
CONTAINERS = (
    ("limited", BUSY, ("--memory=64m", "--memory-reservation=32m", "--cpus=0.2", "--pids-limit=50")),
    ("writer", WRITER, ()),
    ("parented", IDLE, ("--cgroup-parent=shop-web.slice",)),
    ("hog", IDLE, ("--memory=16m", "--memory-swap=16m")),
)
LABELS = ("com.docker.compose.project=shop", "com.docker.compose.service=web")
CONFIG = """\
[state]
dir = "/run/work/state"
[control]
socket = "/run/work/control.sock"
"""


def main() -> None:
    """Leave `page.txt` and `host.json` in the folder of the results."""
    docker("import", "bb.tar", "bb:latest")
    for name, command, options in CONTAINERS:
        labels = [f"--label={label}" for label in LABELS]
        docker("run", "--detach", "--pull=never", f"--name={name}", *labels, *options, "bb:latest", *command)
    Path("shipkeeper.toml").write_text(CONFIG)
    with subprocess.Popen([sys.executable, "-m", "daemon.app", "--config", "shipkeeper.toml"]) as daemon:
        # Figures of the disks come last, from a slow lane.
        await_page(daemon, "container_fs_usage_bytes{")
        subprocess.run(
            ["docker", "exec", "hog", "dd", "if=/dev/zero", "of=/dev/null", "bs=60M", "count=1"], check=False
        )
        await_page(daemon, 'oom_kills_total{name="hog",compose_project="shop",compose_service="web"} 1')
        await_page(daemon, "shipkeeper_container_memory_peak_bytes{")  # of the first sample that knows them
        (OUT / "page.txt").write_text(page())
        (OUT / "host.json").write_text(json.dumps(captured(), indent=1, sort_keys=True))
        daemon.terminate()


def await_page(daemon: subprocess.Popen[bytes], part: str) -> None:
    """Scrape until the page holds this."""
    wait_until(lambda: daemon.poll() is not None or part in page(), f"{part} on the page", PATIENCE)
    if daemon.returncode is not None:
        raise SystemExit(f"the daemon ended with exit code {daemon.returncode}")


def docker(*arguments: str) -> str:
    """Run Docker's client, and give what it prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def page() -> str:
    """Scrape; an empty page as long as nobody answers."""
    try:
        with urllib.request.urlopen(PAGE, timeout=30) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def captured() -> dict[str, Any]:
    """Give the kernel's files of every container, by path, as they are at this moment."""
    names = [name for name, _, _ in CONTAINERS]
    inspected = json.loads(docker("inspect", *names))
    found: dict[str, Any] = {
        "kernel": os.uname().release,
        "engine": json.loads(docker("version", "--format=json"))["Server"]["Version"],
    }
    found["containers"] = [
        {
            "id": each["Id"],
            "name": each["Name"].removeprefix("/"),
            "pid": each["State"]["Pid"],
            "cgroup_parent": each["HostConfig"]["CgroupParent"],
        }
        for each in inspected
    ]
    pids = [each["pid"] for each in found["containers"]]
    scopes = sorted(Path("/sys/fs/cgroup").glob("**/docker-*.scope"))
    paths = [Path("/sys/fs/cgroup/cgroup.controllers")]
    paths += [path for scope in scopes for path in sorted(scope.iterdir()) if path.name.startswith(READ)]
    paths += [Path(f"/proc/{pid}/{name}") for pid in pids for name in ("cgroup", "net/dev")]
    found["files"] = {str(path): text for path in paths if (text := readable(path)) is not None}
    found["devices"] = {path.name: str(path.readlink()) for path in Path("/sys/dev/block").iterdir()}
    return found


def readable(path: Path) -> str | None:
    """Give a file's text; `None` for one that can only be written."""
    try:
        return path.read_text()
    except OSError:
        return None


if __name__ == "__main__":
    main()
