"""The doctor on a host with a real systemd: what is wrong with its units, made for real, and cured by its own lines."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.test_systemd import UNIT, Service, link_program
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.systemd import SHARED, Guest

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STATE = "/var/lib/shipkeeper"
DOCKER_SOCKET = r"[Socket]\nListenStream=/run/docker.sock\nSocketGroup=docker\n"
DOCKER_SERVICE = r"[Unit]\nRequires=docker.socket\n[Service]\nExecStart=/bin/false -H fd://\n"


@pytest.fixture(scope="module")
def host() -> Iterator[Service]:
    """Give a host with the unit installed and an engine that systemd did not start."""
    with Guest() as systemd, ScriptedEngine(systemd.shared / "docker.sock") as engine:
        engine.add("web")
        link_program(systemd)
        service = Service(systemd, engine)
        service.install()
        yield service


def doctor(host: Service, docker_host: str = f"unix://{SHARED}/docker.sock") -> dict[str, list[dict[str, Any]]]:
    """Let root ask it, and give its findings by check."""
    said = host.guest.run(
        *("env", f"SHIPKEEPER_DOCKER__HOST={docker_host}", "/opt/shipkeeper/bin/shipkeeper", "doctor", "--json"),
        check=False,
    )
    found: dict[str, list[dict[str, Any]]] = {}
    for each in json.loads(said)["findings"]:
        found.setdefault(each["check"], []).append(each)
    return found


def cure(host: Service, finding: dict[str, Any]) -> None:
    """Type its lines, as root."""
    host.guest.shell("\n".join(line.replace("sudo ", "") for line in finding["cure"]))


def test_a_service_that_does_not_run_fails_or_hangs_is_told_apart(host: Service) -> None:
    [idle] = doctor(host)["service"]
    assert (idle["status"], idle["what"]) == ("note", f"{UNIT} is installed and does not run")
    host.write_configuration("nonsense = 1")
    host.guest.run("systemctl", "start", UNIT, check=False)
    said = doctor(host)
    assert said["service"][0]["what"] == f"{UNIT} failed (exit-code)"
    assert said["configuration"][0]["status"] == "fail"
    host.guest.run("rm", "/etc/shipkeeper/shipkeeper.toml")
    cure(host, said["service"][0])
    assert doctor(host)["service"][0]["status"] == "ok"
    host.guest.run("systemctl", "kill", "--signal=STOP", UNIT)
    [hung] = doctor(host)["service"]  # the watchdog may end it before
    assert hung["status"] == "fail"
    assert re.fullmatch("the daemon at /run/.*(did not answer within 5 s|ended before it had answered)", hung["what"])
    host.guest.run("systemctl", "stop", UNIT)


def test_a_state_of_somebody_else_and_an_open_one_are_cured_by_the_lines_it_says(host: Service) -> None:
    host.start()
    host.guest.shell(f"systemctl stop {UNIT}; chmod 755 {STATE}; chown root {STATE}")
    for finding in (found := doctor(host)["state-directory"]):
        cure(host, finding)
    assert [each["status"] for each in found] == ["fail", "warn"]
    assert [each["status"] for each in doctor(host)["state-directory"]] == ["ok"]
    host.guest.run("systemctl", "stop", UNIT)


def test_a_service_that_may_not_talk_to_the_engine_is_let_in_by_the_lines_it_says(host: Service) -> None:
    host.guest.shell(f"groupadd whales; chgrp whales {SHARED}/docker.sock")
    [outside] = doctor(host)["service-access"]
    assert outside["what"].endswith(
        "runs as shipkeeper, who is not in the group whales that the engine's socket belongs to"
    )
    cure(host, outside)
    assert doctor(host)["service-access"][0]["status"] == "ok"
    host.guest.shell(f"systemctl stop {UNIT}; chgrp docker {SHARED}/docker.sock; groupdel whales")


def test_what_systemd_makes_of_docker_is_told(host: Service) -> None:
    nobody = "unix:///run/nobody.sock"
    host.guest.shell(
        f"""
        printf '{DOCKER_SOCKET}' > /etc/systemd/system/docker.socket
        printf '{DOCKER_SERVICE}' > /etc/systemd/system/docker.service
        systemctl daemon-reload
        systemctl start docker.socket
        """
    )
    [listening] = doctor(host, nobody)["socket-activation"]
    assert (listening["status"], listening["what"].partition(":")[0]) == (
        "note",
        "docker.socket listens while docker.service does not run",
    )
    host.guest.shell("systemctl stop docker.socket")
    [deaf] = doctor(host, nobody)["socket-activation"]
    assert (deaf["status"], deaf["what"]) == (
        "fail",
        "docker.service takes its socket from docker.socket, which is inactive",
    )
    host.guest.run("systemctl", "start", "docker.service", check=False)
    [failed] = doctor(host, "unix:///var/run/docker.sock")["engine-reachable"]
    assert "sudo systemctl reset-failed docker.service" in failed["cure"]
