"""A data-root that is too full, on real engines: back to its target, nothing protected lost, no more than needed."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.daemon_under_test import DaemonUnderTest
from tests.lab.fixtures import KINDS, engine_of
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.engine import PrivateEngine
    from tests.lab.slack import FakeSlack

MIB = 1 << 20
CLEANUP = """
[cleanup]
grace = "1s"
[policies.containers]
enabled = false
[policies.images_dangling]
enabled = false
[policies.disk_pressure]
min_age = "1s"
critical_min_age = "1s"
sustain_samples = 1
include_local_builds = true
"""
SECONDS = 120.0
TARGET = 20
"""Percent: the act level of 12 and 8 points."""
INODES_TARGET = 12
IMAGES = 12
SLOW = [pytest.mark.slow, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Case:
    """How full the disk is made: percent of its space, or of its inodes, that are left."""

    engine: str
    left: float
    inodes: bool = False
    apart: bool = False
    """Containerd's folder has a disk of its own, as where the data-root was moved and the images were not."""


CASES = [
    pytest.param(Case("28", 9), id="28-act"),
    *(
        pytest.param(Case(engine, left, inodes), id=f"{engine}-{name}", marks=SLOW)
        for engine in KINDS
        for name, left, inodes in (
            ("act", 9, False),
            ("critical", 3, False),
            ("full", 0, False),
            ("inodes", 5, True),
            ("no-inodes", 0, True),
        )
        if (engine, name) != ("28", "act")
    ),
    pytest.param(Case("28-containerd", 9, apart=True), id="28-containerd-apart", marks=SLOW),
]


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def host(case: Case) -> Iterator[PrivateEngine]:
    if case.apart:
        with engine_of(case.engine, containerd_image_mb=240) as engine:
            yield engine
        return
    # Where inodes run out there is space enough, which must not be what is missing.
    size, inodes = (480, 4000) if case.inodes else (240, None)
    with engine_of(case.engine, data_root_image_mb=size, data_root_inodes=inodes) as engine:
        yield engine


def disk_of(host: PrivateEngine, case: Case) -> Path:
    """Give where the images lie."""
    return host.containerd_root if case.apart else host.data_root


def available_at_all(disk: Path) -> int:
    """Give what `df` counts percents of, in bytes."""
    space = os.statvfs(disk)
    return (space.f_blocks - space.f_bfree + space.f_bavail) * space.f_frsize


def percent_left(disk: Path, *, inodes: bool = False) -> float:
    """Give what `df` would."""
    space = os.statvfs(disk)
    if inodes:
        return 100 * space.f_ffree / space.f_files
    return 100 * space.f_bavail * space.f_frsize / available_at_all(disk)


def fill(disk: Path, case: Case) -> None:
    """Leave so much of the disk; zero is the last block, or the last inode."""
    ballast = disk / "ballast"
    ballast.mkdir()
    with suppress(OSError):
        if case.inodes:
            number = 0
            while percent_left(disk, inodes=True) > case.left:
                (ballast / str(number)).touch()
                number += 1
            return
        for chunk in (bytes(256 * 1024), bytes(512)):
            with (ballast / f"of-{len(chunk)}").open("ab", buffering=0) as file, suppress(OSError):
                while percent_left(disk) > case.left or not case.left:
                    file.write(chunk)


def steps(keeper: DaemonUnderTest) -> list[Any]:
    run = keeper.status()["cleanup"]["last_run"]
    return [step for step in run["steps"] if step["outcome"] == "removed"] if run and run["ended"] else []


def tags(host: PrivateEngine) -> set[str]:
    return {tag for each in host.api.images() for tag in each["RepoTags"] or ()}


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_a_data_root_that_is_too_full_comes_back_to_its_target_and_loses_no_more_than_that(
    case: Case, host: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    files = 100 if case.inodes else 0
    disk = disk_of(host, case)
    ids = {
        f"app:{number:02}": host.import_image(f"app:{number:02}", os.urandom(6 * MIB), files=files)
        for number in range(IMAGES)
    }
    host.import_image("kept:1", os.urandom(6 * MIB), labels={"shipkeeper.protect": "true"})
    host.import_image("used:1", os.urandom(6 * MIB))
    host.run(IDLE, name="service", config={"image": "used:1"}, restart_policy={"Name": "always"})
    host.run(["true"], name="job", binds=["precious:/data"], config={"image": "bb:latest"})
    host.api.wait("job")
    before = tags(host)
    fill(disk, case)
    begun = percent_left(disk, inodes=case.inodes)
    goal = INODES_TARGET if case.inodes else TARGET
    assert begun <= case.left + 0.5

    keeper = DaemonUnderTest(tmp_path, host, slack, CLEANUP)
    keeper.config.write_text(f'mode = "enforce"\n{keeper.config.read_text()}')
    keeper.may_remove = set(ids.values())
    with keeper:
        wait_until(lambda: bool(steps(keeper)), "a run to end", SECONDS)
        made = steps(keeper)
        run = keeper.status()["cleanup"]["last_run"]
        assert run["words"].endswith("the target is reached"), run
    reached = percent_left(disk, inodes=case.inodes)
    assert reached >= goal
    gone = sorted(before - tags(host))
    assert gone == sorted(ids)[: len(gone)], "those that lay unused for longest"
    assert len(made) == len(gone)
    # An image takes more than its one file: the last one's share of what can be had at all, or what they took each.
    last = 100 * made[-1]["freed_bytes"] / available_at_all(disk)
    one = (reached - begun) / len(made) if case.inodes else last
    assert reached - one < goal, "one image less would not have been enough"
    assert {each["Names"][0] for each in host.api.containers(all=True)} == {"/service", "/job"}
    assert [each["Name"] for each in host.api.volumes()["Volumes"]] == ["precious"]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("case", [pytest.param(Case(engine, 9), id=engine) for engine in KINDS], indirect=True)
def test_what_a_full_data_root_would_lose_is_shown_in_observe_and_goes_by_an_approval(
    case: Case, host: PrivateEngine, slack: FakeSlack, tmp_path: Path
) -> None:
    ids = [host.import_image(f"app:{number:02}", os.urandom(6 * MIB)) for number in range(IMAGES)]
    host.create(["true"], name="job")  # without it the lab's own image has been of no use for longest
    before = tags(host)
    fill(host.data_root, case)

    def shown(keeper: DaemonUnderTest) -> list[str]:
        planned = keeper.ask("/plan")["removals"]
        return [each["name"] for each in planned if each["policy"] == "disk_pressure"]

    for mode in ("observe", "approve"):
        (tmp_path / mode).mkdir()
        keeper = DaemonUnderTest(tmp_path / mode, host, slack, CLEANUP)
        keeper.config.write_text(f'mode = "{mode}"\n{keeper.config.read_text()}')
        keeper.may_remove = set(ids) if mode == "approve" else set()
        with keeper:
            wait_until(lambda: len(shown(keeper)) > 1, "the plan", SECONDS)  # noqa: B023  called before the next one
            assert (keeper.tap.non_get, tags(host)) == ([], before)
            plan = keeper.ask("/plan")
            done = keeper.command("apply", plan["plan_id"])
            assert done.returncode == (1 if mode == "observe" else 0), done.stdout + done.stderr
            keeper.wait_for("disk-relieved", timeout=60) if mode == "approve" else None
    assert percent_left(host.data_root) >= TARGET
    gone = before - tags(host)
    assert gone
    assert gone <= {each["name"] for each in plan["removals"]}
