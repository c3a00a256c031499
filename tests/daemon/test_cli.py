"""The command speaks to the daemon, tells people what it said, and ends with the right code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from collectors.facts import ObjectRef, SubjectKind
from daemon.alert_lines import alert_lines
from daemon.cli import daemon_command, main
from daemon.control import ControlServer
from daemon.plans import make_plan, to_json
from daemon.status_lines import status_lines
from daemon.verbs import verb_table
from policies.policy import Kept, Removal
from tests.daemon.answered import ALERT, POLICY, STATUS
from tests.daemon.test_autopsy_lines import FOUND as AUTOPSY
from tests.fakes.clock import NOW
from tests.fakes.crew import a_crew

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.web.exchange import Request

PLAN = to_json(
    make_plan(
        [
            Removal(
                object=ObjectRef(SubjectKind.CONTAINER, "a" * 64, "etl-run-88"),
                size_bytes=1 << 30,
                filesystem="/",
                policy="containers",
                reason="exited 1 (error) 9 days ago",
            ),
            Kept(object=ObjectRef(SubjectKind.CONTAINER, "b" * 64, "web-1"), reason="in use: running"),
        ],
        "observe",
        NOW,
    )
)


STEP = {"kind": "container", "name": "etl-run-88", "size_bytes": 1 << 30, "freed_bytes": 900 << 20, "words": None}
REMOVED = {**STEP, "outcome": "removed"}
RUN: dict[str, Any] = {
    "id": 3,
    "plan_id": PLAN["plan_id"],
    "asked_by": "root (uid 0)",
    "state": "running",
    "words": None,
    "planned": 2,
    "begun": "2026-11-23T16:02:00+00:00",
    "steps": [{**STEP, "outcome": None}],
}


class Daemon:
    """The control socket of a daemon with these answers."""

    def __init__(self, path: Path) -> None:
        self.outcomes = [{"sink": "console", "ok": True, "said": "printed"}]
        self.asked: list[dict[str, str]] = []
        self.told: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        self.found: dict[str, Any] = {}
        self.server = ControlServer(
            path,
            verb_table(
                status=lambda _query: STATUS,
                plan=lambda _query: PLAN,
                apply=self.apply,
                run=self.run,
                audit=self.audit,
                autopsy=self.autopsy,
                alerts=lambda _query: [ALERT],
                alerts_test=lambda _query: self.outcomes,
                alerts_show=lambda _query: [],
                alerts_history=lambda _query: [],
                alerts_ack=lambda _query: [],
                silences=lambda _query: [],
                silence=lambda _query: {},
                unsilence=lambda _query: {},
            ),
            a_crew(),
        )

    def apply(self, request: Request) -> dict[str, Any]:
        """Take on a plan."""
        self.asked.append(dict(request.query))
        return RUN

    def run(self, request: Request) -> dict[str, Any]:
        """Tell the next state of the run."""
        self.asked.append(dict(request.query))
        return self.told.pop(0)

    def audit(self, request: Request) -> list[dict[str, Any]]:
        """Tell two decisions at a time."""
        self.asked.append(dict(request.query))
        return [each for each in self.decisions if each["entry"] > int(request.query["after"])][:2]

    def autopsy(self, request: Request) -> dict[str, Any]:
        """Tell what is known of a container."""
        self.asked.append(dict(request.query))
        return self.found


@pytest.fixture
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "control.sock"
    monkeypatch.setenv("SHIPKEEPER_CONTROL__SOCKET", str(path))
    monkeypatch.delenv("SHIPKEEPER_CONFIG", raising=False)
    return path


@pytest.fixture
def daemon(socket_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(socket_path)
    daemon.server.start()
    yield daemon
    daemon.server.close()


class Shell:
    """Runs the command in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Give the exit code and what was printed on both streams."""
        self._monkeypatch.setattr(sys, "argv", ["shipkeeper", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err


@pytest.fixture
def shipkeeper(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


@pytest.mark.usefixtures("daemon")
def test_status_is_a_short_page(shipkeeper: Shell) -> None:
    code, out, _ = shipkeeper("status")
    assert code == 0
    turn = "2026-11-23 03:00 UTC: 3 of 4 removed"
    assert out.splitlines() == [
        "shipkeeper 0.1.0 on gpu-host-2 · observe · running for 3 h 12 min",
        "docker       up since 2026-11-23 12:00 UTC · 28.0.1, API 1.48",
        "containers   12 running, 3 exited",
        "             etl exited 7 (error) · since 2026-11-23 16:02 UTC",
        "filesystems  / · act · 12.0 GiB (9 %) left of 128.0 GiB, full in about 5 h · root, data-root",
        "               images 61.0 GiB (38.0 GiB unused) · container logs 9.0 GiB · not Docker's 46.0 GiB",
        "               on a filesystem that is not known: build cache 1.0 GiB",
        "gpus         GPU 0 · NVIDIA H100 · 97 % busy · 61.0 GiB of 80.0 GiB · 71 °C · 512 W",
        "               trainer-3 · 60.0 GiB",
        "               notebook · 1.0 GiB · idle for 2 h",
        "               spare · reserved, not in use",
        "             GPU 1 · unknown · cannot be reached: lost",
        "alerts       warning   8f3a1c2d  trainer-3 crashed · firing since 2026-11-23 16:02 UTC · 4 times",
        "cleanup      not by itself: the mode is observe",
        "policies     containers · observe",
        f"             images_dangling · enforce · last {turn} · next as soon as there is something",
        f"             networks · enforce · last {turn}, 1.0 GiB · next 2026-11-24 03:00 UTC",
        "             volumes · halted: 12 of 14 volumes",
        "             disk_pressure · skipped: filesystems cannot be read",
        "this week    containers · would have removed 14 objects, 3.0 GiB; removed 3, 1.0 GiB measured",
        "sinks        console · ok · 3 sent, 0 failed",
        "             slack · failing · 2 sent, 1 failed · last: no_service",
        "heartbeat    190 sent, 2 failed · last: HTTP 500",
        "store        /var/lib/shipkeeper/state.db",
    ]


@pytest.mark.parametrize(
    ("command", "answer"),
    [(["status"], STATUS), (["alerts", "list"], [ALERT]), (["plan"], PLAN)],
)
@pytest.mark.usefixtures("daemon")
def test_json_is_the_daemons_answer(shipkeeper: Shell, command: list[str], answer: Any) -> None:
    code, out, err = shipkeeper(*command, "--json")
    assert (code, json.loads(out), err) == (0, answer, "")


@pytest.mark.usefixtures("daemon")
def test_the_plan_shows_removals_and_on_request_what_stays(shipkeeper: Shell) -> None:
    _, short, _ = shipkeeper("plan")
    _, explained, _ = shipkeeper("plan", "--explain")
    assert "etl-run-88" in short
    assert "web-1" not in short
    assert "web-1" in explained


def test_a_test_message_fails_when_one_sink_fails(shipkeeper: Shell, daemon: Daemon) -> None:
    assert shipkeeper("alerts", "test")[:2] == (0, "console: printed\n")
    daemon.outcomes.append({"sink": "slack", "ok": False, "said": "no_service: the webhook was removed"})
    assert shipkeeper("alerts", "test")[:2] == (1, "console: printed\nslack: no_service: the webhook was removed\n")


def test_apply_follows_the_run_object_by_object_and_ends_with_0_when_all_went_well(
    shipkeeper: Shell, daemon: Daemon
) -> None:
    in_use = {**STEP, "kind": "image", "name": "58b5b9f36c2e", "outcome": "in_use", "words": "it has children"}
    in_use["freed_bytes"] = None
    done = {**RUN, "state": "done", "steps": [REMOVED, in_use]}
    daemon.told = [{**RUN, "steps": [REMOVED, {**in_use, "outcome": None}]}, done]
    code, out, _ = shipkeeper("apply", PLAN["plan_id"])
    assert out.splitlines() == [
        "1 of 2  removed: container etl-run-88 · 1.0 GiB, 900.0 MiB measured",
        "2 of 2  in use, stays: image 58b5b9f36c2e · it has children",
        f"run 3 of plan {PLAN['plan_id']} done · 1 removed · 1 in use, stays · 1.0 GiB expected · 900.0 MiB measured",
    ]
    assert code == 0
    assert daemon.asked == [{"plan": PLAN["plan_id"]}, {"id": "3", "seen": "0"}, {"id": "3", "seen": "1"}]


def test_apply_ends_with_1_when_something_failed(shipkeeper: Shell, daemon: Daemon) -> None:
    failed = {**STEP, "outcome": "failed", "words": "500: device busy", "freed_bytes": None}
    rest = {
        **STEP,
        "name": "etl-run-89",
        "outcome": "not_begun",
        "words": "Shipkeeper is stopping",
        "freed_bytes": None,
    }
    daemon.told = [{**RUN, "state": "stopped", "words": "Shipkeeper is stopping", "steps": [failed, rest]}]
    code, out, _ = shipkeeper("apply", "e234be")
    assert code == 1
    assert out.splitlines()[0] == "1 of 2  Docker failed: container etl-run-88 · 500: device busy"
    assert out.splitlines()[1] == "2 of 2  not begun: container etl-run-89 · Shipkeeper is stopping"
    assert out.splitlines()[-1].endswith("stopped · 1 Docker failed · 1 not begun · Shipkeeper is stopping")


DECISION: dict[str, Any] = {
    "entry": 7,
    "at": "2026-11-23T16:02:00+00:00",
    "run": 3,
    "plan_id": "e234be",
    "asked_by": "ada (uid 1000)",
    "kind": "container",
    "name": "etl-run-88",
    "filesystem": "/",
    "reason": "exited 1 (error) 9 days ago",
    "outcome": "removed",
    "words": "evidence kept",
    "estimated_bytes": 1 << 30,
    "freed_bytes": 900 << 20,
}


def test_the_audit_is_read_page_by_page_and_told_line_by_line(shipkeeper: Shell, daemon: Daemon) -> None:
    stays = {"entry": 8, "outcome": "not_eligible", "words": "in use: running", "freed_bytes": None}
    noisy = {"entry": 9, "freed_bytes": -4096, "estimated_bytes": None, "words": None}
    daemon.decisions = [DECISION, DECISION | stays, DECISION | noisy]
    code, out, _ = shipkeeper("audit", "--since", "7d")
    at, asked = "2026-11-23 16:02 UTC", "run 3 of plan e234be, asked for by ada (uid 1000)"
    story = "container etl-run-88 · exited 1 (error) 9 days ago"
    assert (code, out.splitlines()) == (
        0,
        [
            f"{at}  removed: {story} · about 1.0 GiB, measured 900.0 MiB on / · evidence kept · {asked}",
            f"{at}  no longer eligible, stays: {story} · in use: running · {asked}",
            f"{at}  removed: {story} · of unknown size, measured 4.0 KiB less than before on / · {asked}",
        ],
    )
    assert daemon.asked == [{"since": "7d", "after": after} for after in ("0", "8", "9")]
    lines = shipkeeper("audit", "--json")[1].splitlines()
    assert [json.loads(line)["entry"] for line in lines] == [7, 8, 9]


def test_an_autopsy_is_told_as_a_page(shipkeeper: Shell, daemon: Daemon) -> None:
    daemon.found = AUTOPSY
    code, out, _ = shipkeeper("autopsy", "trainer-3", "--log-lines", "2")
    assert (code, daemon.asked) == (0, [{"container": "trainer-3", "log_lines": "2"}])
    assert "trainer-3 (aaaaaaaaaaaa) · exited 137 (SIGKILL), killed for memory" in out
    assert json.loads(shipkeeper("autopsy", "trainer-3", "--json")[1]) == AUTOPSY


@pytest.mark.parametrize(
    "command",
    [["status"], ["apply", "e234be"], ["audit"], ["autopsy", "web"], ["alerts", "list"], ["alerts", "test"]],
)
def test_without_a_daemon_it_says_where_it_looked(shipkeeper: Shell, socket_path: Path, command: list[str]) -> None:
    code, out, err = shipkeeper(*command)
    assert (code, out) == (1, "")
    assert err.startswith(f"shipkeeper: no daemon answers at {socket_path}; start it with")


def test_a_good_configuration_is_summed_up(shipkeeper: Shell, tmp_path: Path) -> None:
    file = tmp_path / "shipkeeper.toml"
    file.write_text("[alerts.rules.disk-low]\nenabled = false\n[policies.containers]\nenabled = false\n")
    code, out, _ = shipkeeper("check-config", "--config", str(file))
    told = dict(line.split(maxsplit=1) for line in out.replace("alerts off", "alerts_off").splitlines())
    assert code == 0
    assert told["file"] == str(file)
    assert told["mode"] == "observe: nothing is removed; `shipkeeper plan` shows what a cleanup would remove"
    assert told["alerts_off"] == "disk-low"
    assert "policies off containers" in out


def test_a_bad_configuration_ends_with_78(shipkeeper: Shell, tmp_path: Path) -> None:
    file = tmp_path / "shipkeeper.toml"
    file.write_text("[docker]\nhots = 3\n")
    code, out, err = shipkeeper("--config", str(file), "check-config")
    assert (code, out) == (78, "")
    assert 'did you mean "host"?' in err


def test_the_daemon_is_asked_though_the_file_has_become_bad_but_for_a_mistake_on_the_way_to_it(
    shipkeeper: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "shipkeeper.toml"
    file.write_text(f'[docker]\nhots = 3\n[control]\nsocket = "{tmp_path}/nobody.sock"\n')
    code, _, err = shipkeeper("--config", str(file), "status")
    assert code == 1
    assert f"no daemon answers at {tmp_path}/nobody.sock" in err
    file.write_text('[control]\nsoket = "/run/x.sock"\n')
    code, _, err = shipkeeper("--config", str(file), "status")
    assert code == 78
    assert 'did you mean "socket"?' in err


def test_a_wrong_usage_ends_with_2(shipkeeper: Shell) -> None:
    assert shipkeeper("status", "--nonsense")[0] == 2


def test_the_version_is_told(shipkeeper: Shell) -> None:
    assert shipkeeper("version")[:2] == (0, f"shipkeeper {version('shipkeeper')}\n")


def test_it_runs_as_a_module_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "version"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert done.stdout.startswith("shipkeeper ")


def test_the_daemon_is_a_program_of_its_own_that_ignores_the_current_folder() -> None:
    command = daemon_command(Path("/etc/x.toml"), "--once")
    assert command == [sys.executable, "-P", "-m", "daemon.app", "--config", "/etc/x.toml", "--once"]


def test_names_cannot_colour_or_forge_a_page() -> None:
    forged = "x\n\x1b[31m[bold]\u202e"
    status = {
        **STATUS,
        "host": forged,
        "docker": {**STATUS["docker"], "up": False, "state": "hung", "why": forged},
        "alerts": [{**ALERT, "summary": forged}],
        "store": {"path": forged, "degraded": forged},
        "configuration": {**STATUS["configuration"], "problem": forged, "awaits_restart": [forged]},
    }
    text = "".join(line.text for line in status_lines(status))
    assert "[bold]" in text
    assert not set(text) & {"\n", "\x1b", "\u202e"}


def test_what_keeps_many_policies_from_their_work_is_said_once() -> None:
    names = ["containers", "networks", "volumes", "logs", "deaths", "health"]
    down = [{**POLICY, "name": name, "skipped": "docker: it is down"} for name in names]
    status = {**STATUS, "policies": [*down[:2], {**POLICY, "name": "disk_pressure"}, *down[2:]]}
    text = [line.text for line in status_lines(status)]
    assert [line for line in text if "skipped" in line or "disk_pressure" in line] == [
        "policies     containers, networks, volumes, logs and 2 more · skipped: docker: it is down",
        "             disk_pressure · observe",
    ]


def test_the_worst_alert_comes_first() -> None:
    critical = {**ALERT, "severity": "critical", "summary": "etl keeps restarting", "count": 1}
    assert [line.text.split(" · ")[0] for line in alert_lines([ALERT, critical])] == [
        "critical  8f3a1c2d  etl keeps restarting",
        "warning   8f3a1c2d  trainer-3 crashed",
    ]
    assert [line.text for line in alert_lines([])] == ["none"]
