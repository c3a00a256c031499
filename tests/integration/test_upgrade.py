"""An engine that is upgraded under the daemon, step by step, on one data-root."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest, ends_of
from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.images import IDLE, IMAGE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.slack import FakeSlack

PATIENCE = 60.0
STEPS = ((Suite.TRIXIE, "26."), (Suite.SID, "28."))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_engine_upgraded_in_place_from_20_to_26_to_28_keeps_its_containers_and_their_stories(
    slack: FakeSlack, tmp_path: Path
) -> None:
    begun = time.monotonic()
    with PrivateEngine(Suite.BOOKWORM) as engine, DaemonUnderTest(tmp_path, engine, slack) as keeper:
        dangling = engine.import_image(IMAGE, b"older")
        engine.import_image(IMAGE, b"newer")
        engine.run(IDLE, name="service", restart_policy={"Name": "always"})
        engine.run(["sh", "-c", "exit 3"], name="before")
        keeper.wait_for("container-crashed", "before")
        wait_until(lambda: states(keeper) == {"service": "running", "before": "exited"}, "the containers on the page")
        wait_until(lambda: dangling[7:19] in keeper.command("plan", "--explain").stdout, "the image in the plan")
        seen_after = time.monotonic() - begun
        for suite, version in STEPS:
            upgrade(keeper, engine, suite)
            assert keeper.status()["docker"]["version"].startswith(version)
            asked = len(keeper.tap.asked)
            engine.run(["sh", "-c", "exit 4"], name=f"after-{suite}")
            assert "exited 4" in keeper.wait_for("container-crashed", f"after-{suite}", PATIENCE)
            api_version = engine.api.version()["ApiVersion"]
            paths = [one.path for one in keeper.tap.asked[asked:] if one.path != "/_ping"]
            assert paths
            assert all(path.startswith(f"/v{api_version}/") for path in paths), paths
            assert keeper.alerts_told() == ["engine-down", "engine-down", "container-crashed"], keeper.headlines()
            wait_until(lambda: states(keeper).get("service") == "running", "the service to be started again", PATIENCE)
            assert states(keeper)["before"] == "exited"
        assert ends_of(keeper, "service") <= {"api", "engine"}, "the engine stopped it, or took it along"
        assert keeper.stop() == 0
        with closing(sqlite3.connect(tmp_path / "state" / "state.db")) as store:
            watched_at_first = dict(store.execute("SELECT id, watched_at_first FROM sightings").fetchall())
        assert watched_at_first[dangling] <= seen_after, "an upgrade made an old image young"


def upgrade(keeper: DaemonUnderTest, engine: PrivateEngine, suite: Suite) -> None:
    """Let the engine go, and come back as another; people are told of both."""
    keeper.slack.clear()
    engine.stop()
    keeper.wait_for("engine-down", "Docker Engine", PATIENCE)
    engine.upgrade(suite)
    engine.start()
    keeper.wait_for("engine-down", "🟢", PATIENCE)


def states(keeper: DaemonUnderTest) -> dict[str, str]:
    """Give the state of each container, by its name, as the page shows it."""
    return dict(re.findall(r'(?m)^shipkeeper_container_state\{.*name="([^"]+)",state="([a-z]+)"\} 1', keeper.metrics()))
