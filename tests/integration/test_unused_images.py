"""Unused images on real engines of every kind: shown, approved, removed by itself, and what is used or newest stays."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from collectors.engine_api import Endpoint, EngineApi
from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.fixtures import KINDS
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

CLEANUP = """
[cleanup]
grace = "1s"
[policies.images_unused]
enabled = true
unused_for = "1s"
min_age = "1s"
keep_last_per_repository = 1
include_local_builds = true
exclude = ["spared:*"]
"""
SECONDS = 60.0


def keeper_of(host: PrivateEngine, slack: FakeSlack, folder: Path, mode: str) -> DaemonUnderTest:
    folder.mkdir()
    keeper = DaemonUnderTest(folder, host, slack, CLEANUP)
    keeper.config.write_text(f'mode = "{mode}"\n{keeper.config.read_text()}')
    return keeper


def add(host: PrivateEngine, *references: str) -> str:
    """Make an image that bears these tags, and give its id."""
    image_id = host.import_image(references[0], padding=references[0].encode() * 1000)
    for reference in references[1:]:
        repository, _, tag = reference.partition(":")
        client: Any = host.api
        assert client.tag(image_id, repository, tag)
    return image_id


def tags(host: PrivateEngine) -> set[str]:
    return {tag for each in host.api.images() for tag in each["RepoTags"] or ()}


def planned(keeper: DaemonUnderTest, *names: str) -> dict[str, Any]:
    """Wait until the plan would remove just the images of these names, and give it."""

    def as_wished() -> bool:
        return {each["name"] for each in keeper.ask("/plan")["removals"]} == set(names)

    wait_until(as_wished, f"{names} in the plan", SECONDS)
    plan: dict[str, Any] = json.loads(keeper.command("plan", "--json").stdout)
    return plan


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("shared_engine", KINDS, indirect=True)
def test_unused_images_are_shown_then_approved_then_removed_by_itself(
    engine: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    ids = {name: add(engine, f"app:{name}") for name in ("1", "2", "3")}
    both = add(engine, "tool:a", "tool:b")
    add(engine, "used:1", "used:alias")
    for name in ("tool:new", "spared:1", "spared:2"):
        add(engine, name)
    engine.run(IDLE, name="service", config={"image": "used:alias"})

    with keeper_of(engine, slack, tmp_path / "observe", "observe") as keeper:
        plan = planned(keeper, "app:1", "app:2", "tool:a")
        assert {each["name"]: each.get("tags") for each in plan["removals"]}["tool:a"] == ["tool:a", "tool:b"]
        reasons = {each["name"]: each["reason"] for each in plan["kept"]}
        assert reasons["used:1"] == "in use: container service"
        assert reasons["app:3"] == "newest of its repository: docker.io/library/app"
        assert reasons["spared:1"] == 'left out: exclude names "spared:*"'

        def measured() -> bool:
            return all(each["size_bytes"] is not None for each in keeper.ask("/plan")["removals"])

        wait_until(measured, "what they would free", SECONDS)
        wait_until(lambda: "shipkeeper_image_oldest_unused_seconds " in keeper.metrics(), "the metric", SECONDS)
    before = tags(engine)

    with keeper_of(engine, slack, tmp_path / "approve", "approve") as keeper:
        plan = planned(keeper, "app:1", "app:2", "tool:a")
        engine.create(["true"], name="job", config={"image": "app:2"})
        keeper.may_remove = {ids["1"], both, "tool:b"}
        done = keeper.command("apply", plan["plan_id"])
        assert done.returncode == 0, done.stdout + done.stderr
        assert "in use: container job" in done.stdout
        assert set(keeper.removed()) == keeper.may_remove
    assert tags(engine) == before - {"app:1", "tool:a", "tool:b"}

    with keeper_of(engine, slack, tmp_path / "enforce", "enforce") as keeper:
        keeper.may_remove = {ids["3"]}  # the one that is used by now is the newest
        wait_until(keeper.removed, "the image to be removed", SECONDS)
        wait_until(lambda: keeper.status()["cleanup"]["last_run"]["state"] == "done", "the end of the run", SECONDS)
    assert tags(engine) == before - {"app:1", "app:3", "tool:a", "tool:b"}
    assert slack.posts == []


@pytest.mark.slow
@pytest.mark.parametrize("shared_engine", ["28-containerd"], indirect=True)
def test_images_can_be_listed_while_others_go(engine: PrivateEngine) -> None:
    def let_go() -> None:
        for number in range(60):
            add(engine, f"app:{number}")
            engine.api.remove_image(f"app:{number}")

    api = EngineApi.connect(Endpoint(host=engine.docker_host), timedelta(seconds=20))
    with closing(api), ThreadPoolExecutor(1) as pool:
        going = pool.submit(let_go)
        while not going.done():
            assert api.images()
        going.result()
