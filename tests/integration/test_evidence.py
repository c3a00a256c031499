"""On a real engine: what ended badly leaves its evidence, and every decision its line in the audit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from daemon.errors import ShipkeeperError
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

APPROVE = """
[cleanup]
grace = "1s"
[policies.containers]
exited_for = "1s"
failed_for = "1s"
"""
FAILS = ["sh", "-c", "echo begun; echo password=hunter2; touch /left-behind; rm /etc/hostname.orig 2>&1; exit 3"]


@pytest.mark.parametrize("shared_engine", ["28"], indirect=True)
def test_a_container_that_failed_is_removed_with_its_evidence_kept_and_told_of_afterwards(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    failed = engine.run(
        FAILS, name="etl-run-88", config={"environment": {"DB_PASS": "hunter2"}, "labels": {"api_key": "hunter2"}}
    )
    clean = engine.run(["true"], name="job")
    engine.run(["true"], name="kept-job", config={"labels": {"shipkeeper.keep-until": "tomorrow"}})
    keeper = DaemonUnderTest(tmp_path, engine, slack, APPROVE)
    keeper.config.write_text(f'mode = "approve"\n{keeper.config.read_text()}')
    keeper.may_remove = {failed, clean}
    with keeper:
        wait_until(lambda: len(keeper.ask("/plan")["removals"]) == 2, "two removals in the plan", 60)
        plan = json.loads(keeper.command("plan", "--json").stdout)
        assert {one["name"]: one["reason"] for one in plan["kept"] if one["kind"] == "container"} == {
            "kept-job": 'protected: label shipkeeper.keep-until is malformed ("tomorrow" is no RFC 3339 date or time)'
        }
        alive = keeper.ask("/autopsy?container=etl-run-88")
        done = keeper.command("apply", plan["plan_id"])
        assert done.returncode == 0, done.stdout + done.stderr
        found = keeper.ask(f"/autopsy?container={failed[:12]}")
        shown = keeper.command("autopsy", "etl-run-88").stdout
        audit = keeper.command("audit", "--since", "1h", "--json").stdout
        assert "hunter2" not in f"{alive} {found} {shown} {audit}"
        assert (found["state"], found["end"]["exit_code"]) == ("removed", 3)
        assert found["log"][:2] == ["begun", "password=***"]
        assert ["added", "/left-behind"] in found["changes"]["paths"]
        assert any("docker commit etl-run-88" in each["command"] for each in alive["look_further"])
        assert "exited 3 (error)" in shown
        decisions = [json.loads(line) for line in audit.splitlines()]
        assert {(one["name"], one["outcome"], one["words"]) for one in decisions} == {
            ("etl-run-88", "removed", "evidence kept"),
            ("job", "removed", None),
        }
        assert {(one["asked_by"], one["hash"]) for one in decisions} == {("root (uid 0)", plan["hash"])}
        assert all(isinstance(one["freed_bytes"], int) for one in decisions)
        with pytest.raises(ShipkeeperError, match='"tomorrow" is no time to begin with'):
            keeper.ask("/audit?since=tomorrow")
