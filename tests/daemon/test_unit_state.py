"""What systemd's word about the engine is taken for."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from collectors.facts import EngineState
from daemon.unit_state import UnitState, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from daemon.engine_judge import Outage


def shown(active: str, *, job: str = "", result: str = "success", load: str = "loaded", socket: str = "active") -> str:
    """Give what `systemctl show` prints; a unit without a job has no such line."""
    job_line = f"Job={job}\n" if job else ""
    service = f"Id=docker.service\nLoadState={load}\nActiveState={active}\nResult={result}\n{job_line}"
    return f"{service}\nId=docker.socket\nLoadState=loaded\nActiveState={socket}\nResult=success\n"


def outage(text: str, booted: Path) -> Outage | None:
    return UnitState(concerns_us=True, runner=lambda _: text, booted=booted).outage()


@pytest.mark.parametrize("active", ["active", "activating", "reloading"])
def test_a_unit_that_runs_or_starts_may_be_pinged(active: str, tmp_path: Path) -> None:
    assert outage(shown(active), tmp_path) is None


def test_a_stopped_unit_is_stopped_and_must_not_be_touched(tmp_path: Path) -> None:
    found = outage(shown("inactive"), tmp_path)
    assert found is not None
    assert (found.state, found.settled, found.hands_off) == (EngineState.STOPPED, True, True)
    assert "systemctl start docker" in found.cure


def test_without_socket_activation_a_ping_starts_nothing(tmp_path: Path) -> None:
    found = outage(shown("inactive", socket="inactive"), tmp_path)
    assert found is not None
    assert not found.hands_off


def test_a_failed_unit_is_crashed_with_its_result(tmp_path: Path) -> None:
    found = outage(shown("failed", result="oom-kill"), tmp_path)
    assert found is not None
    assert (found.state, found.why) == (EngineState.CRASHED, "docker.service failed (oom-kill)")


@pytest.mark.parametrize("active", ["inactive", "deactivating", "failed"])
def test_in_the_middle_of_a_restart_nothing_is_settled(active: str, tmp_path: Path) -> None:
    found = outage(shown(active, job="812"), tmp_path)
    assert found is not None
    assert (found.settled, found.hands_off) == (False, True)


def test_a_unit_that_does_not_exist_says_nothing(tmp_path: Path) -> None:
    assert outage(shown("inactive", load="not-found"), tmp_path) is None


@pytest.mark.parametrize("error", [FileNotFoundError(), subprocess.TimeoutExpired("systemctl", 5)])
def test_a_systemctl_that_fails_says_nothing(error: Exception, tmp_path: Path) -> None:
    def fail(_: Sequence[str]) -> str:
        raise error

    assert UnitState(concerns_us=True, runner=fail, booted=tmp_path).outage() is None


def test_systemd_is_not_asked_about_another_endpoint_or_where_it_does_not_run(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def runner(command: Sequence[str]) -> str:
        asked.append(command)
        return shown("inactive")

    assert UnitState(concerns_us=False, runner=runner, booted=tmp_path).outage() is None
    assert UnitState(concerns_us=True, runner=runner, booted=tmp_path / "none").outage() is None
    assert asked == []


def test_a_program_is_not_given_our_environment_which_may_hold_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPKEEPER_SLACK__WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/notasecret")
    assert sorted(line.partition("=")[0] for line in run(["env"]).splitlines()) == ["LC_ALL", "PATH"]
