"""Networks, volumes and the build cache of real engines: reported, then removed, and nothing beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.daemon_under_test import PRUNE, DaemonUnderTest
from tests.lab.fixtures import KINDS
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

CLEANUP = """
[cleanup]
grace = "1s"
[policies.containers]
enabled = false
[policies.images_dangling]
enabled = false
[policies.networks]
unused_for = "2s"
[policies.volumes]
unused_for = "2s"
i_understand_data_loss = true
[policies.build_cache]
unused_for = "2s"
floor_bytes = "0B"
"""
DATABASE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "db"}
SECONDS = 150.0


def records(engine: PrivateEngine, *, shared: bool = False) -> set[str]:
    """Give the ids of the build cache's records that no image shares, or of those that images share."""
    client: Any = engine.api  # docker-py asks for images as well, over which the containerd store fails now and then
    usage = client.get(f"{client.base_url}/v{client._version}/system/df", params={"type": "build-cache"}).json()
    return {each["ID"] for each in usage["BuildCache"] or [] if each["Shared"] is shared}


def stored(engine: PrivateEngine) -> set[str]:
    """Give the names of all volumes, and of the networks that are not Docker's own."""
    volumes = engine.api.volumes()["Volumes"] or []
    networks = engine.api.networks(filters={"type": "custom"})
    return {each["Name"] for each in (*volumes, *networks)}


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("shared_engine", KINDS, indirect=True)
@pytest.mark.parametrize("mode", ["approve", "enforce"])
def test_what_lies_unused_is_planned_in_observe_and_then_goes_and_all_else_stays(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path, mode: str
) -> None:
    left = engine.api.create_network("left", driver="bridge")["Id"]
    engine.api.create_network("shop_default", driver="bridge", labels=DATABASE)
    anonymous = engine.api.create_volume(labels={"com.docker.volume.anonymous": ""})["Name"]
    for name in ("named", "shop_pgdata"):
        engine.api.create_volume(name)
    engine.api.create_volume("scratch", labels={"shipkeeper.ephemeral": "true"})
    engine.api.create_volume("shop_scratch", labels={"shipkeeper.ephemeral": "true"})
    # A compose database that somebody stopped, or never started: it holds no endpoint, and needs all of it.
    database = engine.create(
        ["true"],
        name="shop-db-1",
        config={"labels": DATABASE},
        network_mode="shop_default",
        binds=["shop_pgdata:/data", "shop_scratch:/scratch"],
    )
    engine.build("FROM bb:latest\nCOPY a /a\nCOPY b /b\n", tag="app:1", a=b"a" * 100_000, b=b"b" * 200_000)
    before = stored(engine)
    goes = {left, anonymous, "scratch"}
    with DaemonUnderTest(tmp_path, engine, slack, CLEANUP) as keeper:

        def plan() -> dict[str, str]:
            return {each["id"]: each["policy"] for each in keeper.ask("/plan")["removals"]}

        wait_until(lambda: len(plan()) == len(goes) + 1, "the whole plan", SECONDS)
        # A record may change its id for as long as the build's end takes.
        cached, shared = records(engine), records(engine, shared=True)
        assert (bool(cached), bool(shared)) == (True, True)
        shown = plan()
        assert set(shown) > goes
        assert sorted(shown.values()) == ["build_cache", "networks", "volumes", "volumes"]
        assert keeper.tap.non_get == [], "observe sends GETs alone"
        why = {each["name"]: each["reason"] for each in keeper.ask("/plan")["kept"]}
        assert why["shop_default"] == why["shop_pgdata"] == why["shop_scratch"] == "in use: container shop-db-1"
        assert why["named"].startswith("named: ")
        assert why["host"] == "protected: Docker's own network"
        page = keeper.metrics()
        for kind, policy, count in (("network", "networks", 1), ("volume", "volumes", 2), ("build_cache",) * 2 + (1,)):
            assert f'shipkeeper_cleanup_candidates{{kind="{kind}",policy="{policy}"}} {count}\n' in page
        assert keeper.command("apply", keeper.ask("/plan")["plan_id"]).returncode == 1
        assert (keeper.tap.non_get, stored(engine), records(engine)) == ([], before, cached)

        keeper.stop()
        keeper.may_remove = goes | {PRUNE}
        keeper.config.write_text(f'mode = "{mode}"\n{keeper.config.read_text()}')
        keeper.start()
        if mode == "approve":
            wait_until(lambda: len(plan()) == len(goes) + 1, "the whole plan again", SECONDS)
            assert keeper.tap.non_get == [], "nothing goes before somebody approves"
            done = keeper.command("apply", keeper.ask("/plan")["plan_id"])
            assert done.returncode == 0, done.stdout + done.stderr
        wait_until(lambda: not goes & stored(engine) and not cached & records(engine), "the end", SECONDS)
        wait_until(lambda: keeper.status()["cleanup"]["last_run"]["state"] == "done", "the end of the run", SECONDS)
        assert sorted(keeper.removed()) == sorted(keeper.may_remove)
        steps = json.loads(keeper.command("status", "--json").stdout)["cleanup"]["last_run"]["steps"]
        assert {each["outcome"] for each in steps} == {"removed"}
        assert next(each["words"] for each in steps if each["kind"] == "build_cache").endswith(" freed")
    assert stored(engine) == {"named", "shop_pgdata", "shop_scratch", "shop_default"}
    engine.api.start(database)
    assert records(engine, shared=True) == shared
    built = engine.run(["test", "-s", "/a", "-a", "-s", "/b"], config={"image": "app:1"})
    assert engine.api.wait(built)["StatusCode"] == 0
