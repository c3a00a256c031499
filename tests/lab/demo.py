"""Shows Shipkeeper at work: a private engine with a busy workload, watched for a minute or until Ctrl-C."""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab import workload
from tests.lab.binaries import REPOSITORY, Suite
from tests.lab.engine import PrivateEngine
from tests.lab.errors import LabError
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = REPOSITORY / "deploy" / "demo" / "demo.toml"

_PORT = 9817
_DISK_MB = 400
_FREE_PERCENT = 18  # between the levels "act" and "critical" of the demo's configuration
_FILL_AFTER_SECONDS = 5.0
_PLAN_AFTER_SECONDS = 40.0
_READY_SECONDS = 20.0
_END_SECONDS = 15.0

_BANNER = """\
demo: a private Docker Engine {version} with a data-root of {disk} MB; nothing of this host is touched
demo: seconds stand for hours here: an exited container and an unused image are old after 10 s
demo: alerts appear below as they happen; the cleanup plan follows after {plan:g} s; Ctrl-C ends it all
"""
_ADDRESSES = """\
demo: http://{listen}/         what it sees
demo: http://{listen}/metrics  what Prometheus reads
demo: Ctrl-C ends the demo; nothing stays behind
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """One running demo: its engine, the watching Shipkeeper, where that listens, and the environment of both."""

    engine: PrivateEngine
    shipkeeper: subprocess.Popen[bytes]
    listen: str
    environment: dict[str, str]


def main(arguments: list[str]) -> int:
    """Run the demo; gives the exit code: 0 at its end and on Ctrl-C, 1 with the reason when it cannot be shown."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--for", dest="seconds", type=float, metavar="SECONDS", help="end by itself (default: never)")
    parser.add_argument("--port", type=int, help=f"the port of the web page (default: {_PORT}, or a free one)")
    options = parser.parse_args(arguments)
    # `kill` ends the demo in the same good order as Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with PrivateEngine(_suite(), data_root_image_mb=_DISK_MB) as engine:
            code = _watched(engine, options.port or _free_port(), options.seconds)
    except KeyboardInterrupt:
        return 0
    except (LabError, TimeoutError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    print("demo: the engine and all its files are gone")
    return code


def _watched(engine: PrivateEngine, port: int, seconds: float | None) -> int:
    print(_BANNER.format(version=engine.api.version()["Version"], disk=_DISK_MB, plan=_PLAN_AFTER_SECONDS), flush=True)
    try:
        with _shipkeeper(engine, port) as stage:
            return _play(stage, float("inf") if seconds is None else seconds)
    except KeyboardInterrupt:
        # from here on all is being put away; a second Ctrl-C shall not stop that half-way
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("\ndemo: ending", flush=True)
        return 0


def _suite() -> Suite:
    return Suite.HOST if shutil.which("dockerd") and shutil.which("busybox") else Suite.BOOKWORM


@contextmanager
def _shipkeeper(engine: PrivateEngine, port: int) -> Iterator[Stage]:
    """Run Shipkeeper on the engine; its alerts go to this terminal."""
    listen = f"127.0.0.1:{port}"
    environment = {
        **os.environ,
        **engine.bond,
        "SHIPKEEPER_DOCKER__HOST": engine.docker_host,
        "SHIPKEEPER_STATE__DIR": str(engine.folder / "state"),
        "SHIPKEEPER_CONTROL__SOCKET": str(engine.folder / "control.sock"),
        "SHIPKEEPER_WEB__LISTEN": listen,
    }
    command = [sys.executable, "-m", "daemon.app", "--config", str(CONFIG)]
    # a session of its own: Ctrl-C reaches this program alone, which then ends the other
    child = subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True)
    try:
        wait_until(lambda: child.poll() is not None or _ready(port), "Shipkeeper to be ready", _READY_SECONDS)
        if child.returncode is not None:
            raise LabError(f"shipkeeper ended at once with exit code {child.returncode}; its reason stands above")
        yield Stage(engine, child, listen, environment)
    finally:
        child.terminate()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _play(stage: Stage, seconds: float) -> int:
    """Let things happen in their order; 1 if Shipkeeper ends before the demo does."""
    begin = time.monotonic()
    workload.leave_old_images(stage.engine)
    workload.start_services(stage.engine)
    workload.start_jobs(stage.engine)
    if _lasts(stage, begin + min(seconds, _FILL_AFTER_SECONDS)):
        workload.fill_disk(stage.engine, _FREE_PERCENT)
    if _lasts(stage, begin + min(seconds, _PLAN_AFTER_SECONDS)):
        print("\ndemo: what a cleanup would remove (shipkeeper plan)\n", flush=True)
        plan = [sys.executable, "-m", "daemon.cli", "plan", "--config", str(CONFIG)]
        subprocess.run(plan, cwd=REPOSITORY, env=stage.environment, check=False)
        print("\n" + _ADDRESSES.format(listen=stage.listen), flush=True)
    if _lasts(stage, begin + seconds):
        return 0
    print(f"demo: shipkeeper ended by itself with exit code {stage.shipkeeper.returncode}", file=sys.stderr)
    return 1


def _lasts(stage: Stage, deadline: float) -> bool:
    """Wait until the deadline; false as soon as Shipkeeper has ended."""
    left = deadline - time.monotonic()
    try:
        stage.shipkeeper.wait(None if left == float("inf") else max(0.0, left))
    except subprocess.TimeoutExpired:
        return True
    return False


def _ready(port: int) -> bool:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        client.request("GET", "/-/ready")
        return client.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        client.close()


def _free_port() -> int:
    for wanted in (_PORT, 0):
        with socket.socket() as probe:
            # as a server does it: an address whose last user has just gone is free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LabError("no free port on 127.0.0.1")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
