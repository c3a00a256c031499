"""The shipped unit under a real systemd."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.nvml import FakeGpu, FakeNvml
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.stall import bury, stall, threads
from tests.lab.systemd import SHARED, Guest
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = "shipkeeper.service"
DEPLOY = Path(__file__).parent.parent.parent / "deploy" / "systemd"
METRICS = "http://127.0.0.1:9817/metrics"
PROGRAM = Path(sys.executable).with_name("shipkeeper")
DROP_IN = f"""
[Service]
Environment=SHIPKEEPER_DOCKER__HOST=unix://{SHARED}/docker.sock
# Only for the test: it is not to wait for a minute after the deadline of the heartbeat.
WatchdogSec=6
"""
CREDENTIAL = f"""
[Service]
LoadCredential=slack.webhook_url:{SHARED}/webhook
"""


class Service:
    """The unit in a guest, with an engine whose socket belongs to the guest's group docker."""

    def __init__(self, guest: Guest, engine: ScriptedEngine) -> None:
        self.guest = guest
        self.engine = engine

    def install(self) -> None:
        """Install the unit as a person would, from the files as they are."""
        open_up = " ".join(f"'{folder}'" for folder in PROGRAM.resolve().parents)
        interpreter = " ".join(f"'{folder}'" for folder in Path(sys.executable).resolve().parents)
        self.guest.shell(
            f"""
            chmod o+x {open_up} {interpreter}  # only in the guest: its account has to reach this checkout
            mkdir -p /opt/shipkeeper/bin
            ln -s '{PROGRAM}' /opt/shipkeeper/bin/shipkeeper
            cp '{DEPLOY}/shipkeeper.service' /etc/systemd/system/
            systemd-sysusers '{DEPLOY}/shipkeeper.sysusers.conf'
            getent group docker || groupadd docker
            chgrp docker {SHARED}/docker.sock
            chmod 660 {SHARED}/docker.sock
            """
        )
        self.configure(DROP_IN)

    def configure(self, drop_in: str, name: str = "lab.conf") -> None:
        """Add a drop-in; an empty one removes it."""
        folder = f"/etc/systemd/system/{UNIT}.d"
        self.guest.shell(f"mkdir -p {folder}; cat > {folder}/{name} <<'END'\n{drop_in}\nEND\nsystemctl daemon-reload")

    def write_configuration(self, text: str) -> None:
        """Write the configuration, for its account to read."""
        self.guest.shell(
            f"""
            mkdir -p -m 750 /etc/shipkeeper
            printf '%s\n' '{text}' > /etc/shipkeeper/shipkeeper.toml
            chmod 640 /etc/shipkeeper/shipkeeper.toml
            chgrp -R shipkeeper /etc/shipkeeper
            """
        )

    def start(self) -> None:
        """Start it, with no memory of earlier starts, and wait until it is ready."""
        self.guest.run("systemctl", "reset-failed", UNIT, check=False)
        self.guest.run("systemctl", "start", UNIT)

    def state(self) -> dict[str, str]:
        """Give what systemd thinks of it."""
        return self.guest.show(
            UNIT, "ActiveState", "Result", "NRestarts", "StatusText", "ExecMainStatus", "MainPID", "User"
        )

    def host_pid(self) -> int:
        """Give the id of its process, as it is out here."""
        return self.guest.host_pid(int(self.state()["MainPID"]))

    def journal(self, *options: str) -> list[dict[str, Any]]:
        """Give its entries in the journal."""
        self.guest.run("journalctl", "--sync")
        told = self.guest.run("journalctl", "-u", UNIT, "-o", "json", "--no-pager", *options)
        return [json.loads(line) for line in told.splitlines()]

    def said(self, words: str) -> bool:
        """Tell whether an entry of the journal holds these words."""
        return any(words in entry["MESSAGE"] for entry in self.journal())

    def came_back(self) -> bool:
        """Tell whether it was started again and is ready."""
        state = self.state()
        return state["NRestarts"] == "1" and state["ActiveState"] == "active"


@pytest.fixture(scope="module")
def guest() -> Iterator[Service]:
    """Give one guest for all of these tests, the unit installed."""
    with Guest() as systemd, ScriptedEngine(systemd.shared / "docker.sock") as engine:
        engine.add("web")
        service = Service(systemd, engine)
        service.install()
        yield service


@pytest.fixture
def service(guest: Service) -> Iterator[Service]:
    """Give the unit, running; whatever a test leaves of it is stopped."""
    guest.start()
    yield guest
    guest.guest.run("systemctl", "stop", UNIT)


def test_the_unit_is_sound_and_its_exposure_at_most_two(tmp_path: Path) -> None:
    unit = tmp_path / "shipkeeper.service"
    unit.write_text((DEPLOY / "shipkeeper.service").read_text().replace("/opt/shipkeeper/bin/shipkeeper", "/bin/true"))
    for check in (["verify", "--recursive-errors=yes"], ["security", "--offline=true", "--threshold=20"]):
        done = subprocess.run(["systemd-analyze", *check, str(unit)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_drop_in_for_gpus_is_sound(tmp_path: Path) -> None:
    unit = tmp_path / "shipkeeper.service"
    unit.write_text((DEPLOY / "shipkeeper.service").read_text().replace("/opt/shipkeeper/bin/shipkeeper", "/bin/true"))
    drop_in = tmp_path / "shipkeeper.service.d" / "gpu.conf"
    drop_in.parent.mkdir()
    for active in ((DEPLOY / "gpu.conf").read_text(), re.sub(r"(?m)^#(?=\w)", "", (DEPLOY / "gpu.conf").read_text())):
        drop_in.write_text(active)
        verify = ["systemd-analyze", "verify", "--recursive-errors=yes", str(unit)]
        done = subprocess.run(verify, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_it_is_ready_as_its_own_user_and_says_how_the_host_is(service: Service) -> None:
    state = service.state()
    assert (state["ActiveState"], state["User"]) == ("active", "shipkeeper")
    wait_until(
        lambda: service.state()["StatusText"] == "1 container, no alert, Docker 28.5.2 up", "the status of the host", 30
    )
    owned = service.guest.shell("stat -c '%U %a' /var/lib/shipkeeper/state.db /run/shipkeeper/control.sock")
    assert owned.splitlines() == ["shipkeeper 600", "shipkeeper 660"]
    assert '"up": true' in service.guest.shell("/opt/shipkeeper/bin/shipkeeper status --json")


@pytest.mark.slow
def test_the_journal_knows_how_grave_a_line_is(service: Service) -> None:
    wait_until(lambda: "Docker 28" in service.state()["StatusText"], "the engine to be seen", 30)
    service.engine.freeze()
    wait_until(lambda: "hung" in service.state()["StatusText"], "the hung engine", 60)
    service.engine.thaw()
    grave = service.journal("-p", "warning")
    assert {entry["PRIORITY"] for entry in grave} == {"4"}
    assert any("cure:" in entry["MESSAGE"] for entry in grave)
    assert not service.said("cannot give")
    assert not any(entry["MESSAGE"].startswith("<") for entry in service.journal())


@pytest.mark.slow
def test_a_stop_is_clean(service: Service) -> None:
    service.guest.run("systemctl", "stop", UNIT)
    state = service.state()
    assert (state["ActiveState"], state["Result"], state["ExecMainStatus"]) == ("inactive", "success", "0")
    assert service.said("SIGTERM received, stopping")


@pytest.mark.slow
def test_a_daemon_that_is_killed_is_started_again(service: Service) -> None:
    service.guest.run("systemctl", "kill", "--signal=KILL", UNIT)
    wait_until(service.came_back, "the next start", 60)


@pytest.mark.slow
def test_a_reload_takes_over_a_good_configuration_and_refuses_a_bad_one(guest: Service) -> None:
    guest.write_configuration("[alerts]\nlog_lines = 5")
    guest.start()
    before = guest.state()["MainPID"]
    guest.write_configuration("[alerts]\nlog_lines = 7")
    guest.guest.run("systemctl", "reload", UNIT)
    wait_until(lambda: guest.said("the configuration was read again; changed: alerts.log_lines"), "the new one", 30)
    guest.write_configuration("nonsense = 1")
    guest.guest.run("systemctl", "reload", UNIT)
    wait_until(lambda: "changed configuration is bad" in guest.state()["StatusText"], "the refusal", 30)
    assert guest.said("nonsense")
    assert (guest.state()["ActiveState"], guest.state()["MainPID"]) == ("active", before)
    guest.guest.run("systemctl", "stop", UNIT)
    guest.guest.run("rm", "/etc/shipkeeper/shipkeeper.toml")


@pytest.mark.slow
def test_a_bad_configuration_is_not_tried_again_and_again(guest: Service) -> None:
    guest.write_configuration("nonsense = 1")
    guest.guest.run("systemctl", "start", UNIT, check=False)
    state = guest.state()
    assert (state["ActiveState"], state["Result"], state["ExecMainStatus"]) == ("failed", "exit-code", "78")
    assert state["NRestarts"] == "0"
    assert guest.said("nonsense")
    guest.guest.run("rm", "/etc/shipkeeper/shipkeeper.toml")


@pytest.mark.slow
def test_a_secret_can_come_as_a_credential(guest: Service) -> None:
    webhook = guest.guest.shared / "webhook"
    webhook.write_text("https://hooks.slack.com/services/T/B/notasecret\n")
    webhook.chmod(0o600)
    guest.configure(CREDENTIAL, "credential.conf")
    guest.start()
    assert guest.said("this terminal or journal, and Slack")
    guest.guest.run("systemctl", "stop", UNIT)
    guest.configure("", "credential.conf")


@pytest.mark.slow
def test_gpus_are_read_behind_all_that_the_unit_forbids(guest: Service) -> None:
    FakeNvml(guest.guest.shared / "driver", FakeGpu())
    guest.configure((DEPLOY / "gpu.conf").read_text(), "gpu.conf")
    guest.configure(f"[Service]\nEnvironment=LD_LIBRARY_PATH={SHARED}/driver", "driver.conf")
    guest.start()
    page = f"import urllib.request as r; print(r.urlopen('{METRICS}').read().decode())"
    wait_until(
        lambda: "shipkeeper_gpu_up{" in guest.guest.run(sys.executable, "-c", page),
        "the GPU on the page",
        60,
    )
    guest.guest.run("systemctl", "stop", UNIT)
    for name in ("gpu.conf", "driver.conf"):
        guest.configure("", name)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_daemon_with_a_stalled_thread_is_killed_by_the_watchdog_and_started_again(service: Service) -> None:
    process = service.host_pid()
    tid = next(tid for tid, name in threads(process).items() if name == "sampler")
    stall(tid)

    def came_back() -> bool:
        bury(tid)
        return service.came_back()

    wait_until(came_back, "the watchdog to end it and systemd to start it again", 200)
    assert service.said("the watchdog is not fed: no sign of life from sampler")
    assert service.said("Failed with result 'watchdog'")
