"""Many containers at once on a real engine: a redeploy is no news, fifty deaths are few messages."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.bench.fleet import start_fleet
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.images import IDLE
from tests.policies.build import compose

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SERVICES = 20
DEATHS = 50
MOST_POSTS = 5
PATIENCE = 90.0


def test_a_project_of_20_services_that_compose_redeploys_is_nothing_to_tell_of(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    always = {"Name": "unless-stopped"}
    labels = {f"shop-{number}-1": compose("shop", f"{number}") for number in range(SERVICES)}
    old = {
        name: engine.run(IDLE, name=name, config={"labels": own}, restart_policy=always) for name, own in labels.items()
    }
    with DaemonUnderTest(tmp_path, engine, slack) as keeper:
        for name, own in labels.items():
            # What compose does to recreate a service: the new one under a passing name, stop, remove, rename, start.
            passing = f"{old[name][:12]}_{name}"
            new = engine.create(IDLE, name=passing, config={"labels": own}, restart_policy=always)
            engine.api.stop(old[name], timeout=10)
            engine.api.remove_container(old[name])
            engine.api.rename(new, name)
            engine.api.start(new)
        engine.run(["sh", "-c", "exit 9"], name="sentinel")
        keeper.wait_for("container-crashed", "sentinel", PATIENCE)
        assert keeper.alerts_told() == ["container-crashed"], keeper.headlines()


def test_fifty_containers_that_die_at_once_are_few_messages_that_name_them_all(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    pids = start_fleet(engine, ["sleep", "1000"], [f"doomed-{number:02}" for number in range(DEATHS)])
    keeper = DaemonUnderTest(tmp_path, engine, slack)
    keeper.config.write_text(keeper.config.read_text().replace('group_wait = "0s"', 'group_wait = "5s"'))
    with keeper:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        posts = slack.wait(lambda came: all(name in json.dumps([p.payload for p in came]) for name in pids), PATIENCE)
        assert len(posts) <= MOST_POSTS, keeper.headlines()
