"""The daemon behind a socket proxy that lets through what docs/socket-proxy.md lists, on a real engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.waiting import wait_until
from tests.socket_proxy import rules

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack
    from tests.lab.tap import Asked


def observing(asked: Asked) -> bool:
    """Allow the GETs of the page."""
    return asked.method == "GET" and any(rule.allows(asked.method, asked.path) for rule in rules())


def test_observe_mode_lacks_nothing_behind_the_gets_of_the_page(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    keeper = DaemonUnderTest(tmp_path, engine, slack)
    keeper.tap.allows = observing
    with keeper:
        engine.run(["sh", "-c", "echo its last words; exit 3"], name="crashed")
        assert "its last words" in keeper.wait_for("container-crashed", "crashed", 30)
        assert "crashed" in keeper.command("plan", "--explain").stdout
        assert "its last words" in keeper.command("autopsy", "crashed").stdout
        sizes = re.compile(r"(?m)^shipkeeper_disk_usage_bytes\{.*images")
        wait_until(lambda: sizes.search(keeper.metrics()), "what the images take", 30)
        assert "switched off" not in keeper.log.read_text()
    assert keeper.tap.refused == []


@pytest.mark.parametrize("shared_engine", ["28"], indirect=True)
def test_a_removal_that_the_proxy_forbids_is_told_and_nothing_goes(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    done = engine.run(["true"], name="done")
    keeper = DaemonUnderTest(tmp_path, engine, slack, '[policies.containers]\nexited_for = "1s"')
    keeper.config.write_text(f'mode = "approve"\n{keeper.config.read_text()}')
    keeper.tap.allows = observing
    keeper.may_remove = {done}
    with keeper:
        wait_until(lambda: len(keeper.ask("/plan")["removals"]) == 1, "the container in the plan", 60)
        applied = keeper.command("apply", keeper.ask("/plan")["plan_id"])
        assert applied.returncode == 1
        assert "403" in applied.stdout
    assert {one.method for one in keeper.tap.refused} == {"DELETE"}
    assert engine.api.inspect_container(done)["State"]["Status"] == "exited"
