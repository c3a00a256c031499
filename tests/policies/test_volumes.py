from __future__ import annotations

from typing import Any

import pytest

from collectors.facts import Protection
from policies.volumes import UnusedVolumes
from tests.policies.build import DAY, GIB, anonymous, compose, exited, facts, filesystem, kept, removed, volume

REPORTING = UnusedVolumes()
REMOVING = UnusedVolumes(i_understand_data_loss=True)
EPHEMERAL = {"shipkeeper.ephemeral": "true"}


def test_by_default_volumes_are_only_reported() -> None:
    world = facts(volumes=[volume("data"), anonymous()])
    assert removed(REPORTING, world) == {}
    assert kept(REPORTING, world) == {
        "data": "report only: named, seen unused for 60 days, 2.0 GiB",
        "a" * 64: "report only: anonymous, seen unused for 60 days, 2.0 GiB",
    }


def test_even_a_label_removes_nothing_without_the_key() -> None:
    assert removed(REPORTING, facts(volumes=[volume(labels=EPHEMERAL)])) == {}


def test_with_the_key_anonymous_volumes_go_and_named_ones_stay_for_good() -> None:
    disk = filesystem(roles=("data-root", "volumes"))
    world = facts(volumes=[volume("data"), anonymous()], filesystems=[disk])
    assert removed(REMOVING, world) == {"a" * 64: "anonymous, seen unused for 60 days"}
    assert kept(REMOVING, world)["data"].startswith("named: seen unused for 60 days, and without the label")
    [removal] = [each for each in REMOVING.decide(world) if each.object.id == "a" * 64]
    assert (getattr(removal, "size_bytes", 0), getattr(removal, "filesystem", "")) == (2 * GIB, "/")


@pytest.mark.parametrize(("value", "goes"), [("true", True), ("True ", True), ("yes", False), ("", False)])
def test_a_named_volume_goes_only_by_its_own_label(value: str, *, goes: bool) -> None:
    named = volume("scratch", labels={"shipkeeper.ephemeral": value})
    assert bool(removed(REMOVING, facts(volumes=[named]))) is goes


def test_a_volume_is_never_older_than_we_have_watched_it() -> None:
    young = anonymous(watched_for=29 * DAY)
    assert kept(REMOVING, facts(volumes=[young])) == {
        "a" * 64: "too recent: seen unused for 29 days, reported after 30 days"
    }


def test_the_volume_of_a_stopped_compose_database_is_never_touched() -> None:
    database = exited("shop-db-1", ago=400 * DAY, labels=compose("shop", "db"), volumes=("shop_pgdata", "b" * 64))
    theirs = [volume("shop_pgdata", labels=compose("shop", "db") | EPHEMERAL), anonymous("b")]
    world = facts(containers=[database], volumes=theirs)
    assert removed(REMOVING, world) == {}
    assert kept(REMOVING, world) == {
        "shop_pgdata": "in use: container shop-db-1",
        "b" * 64: "in use: container shop-db-1",
    }


def test_the_volumes_of_a_compose_project_that_was_taken_down_count_as_named() -> None:
    left = anonymous("c", labels={"com.docker.volume.anonymous": "", "com.docker.compose.project": "shop"})
    assert kept(REMOVING, facts(volumes=[left]))["c" * 64].startswith("named: ")


def test_named_volumes_stay_on_an_engine_that_tells_no_anonymous_ones_apart() -> None:
    """Before API 1.42 there is no label, and a prune there takes named volumes: here only the form of a name counts."""
    named, generated = volume("pgdata"), volume("d" * 64)
    assert list(removed(REMOVING, facts(volumes=[named, generated]))) == ["d" * 64]
    assert removed(REMOVING, facts(volumes=[volume("d" * 64, labels={"owner": "ada"})])) == {}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"dangling": None}, "in use: Docker does not say that it is not"),
        ({"dangling": False}, "in use: Docker says that a container refers to it"),
        ({"references": 2}, "in use: mounted by 2 containers"),
        ({"driver": "nfs"}, "protected: of the driver nfs"),
        ({"scope": "global"}, "protected: of the driver local"),
        ({"options": {"type": "nfs"}}, "protected: mounted by its options from elsewhere"),
        ({"labels": {"shipkeeper.protect": "1"}}, "protected: label shipkeeper.protect"),
    ],
)
def test_what_is_not_known_to_be_unused_and_ours_stays(changed: dict[str, Any], why: str) -> None:
    [reason] = kept(REMOVING, facts(volumes=[anonymous(**changed)])).values()
    assert reason.startswith(why)


def test_the_configuration_protects_by_name() -> None:
    world = facts(volumes=[volume("pg-a", labels=EPHEMERAL)], protection=Protection(volumes=("pg-*",)))
    assert removed(REMOVING, world) == {}


def test_a_size_that_nobody_measured_is_no_reason_to_keep_it() -> None:
    unmeasured = anonymous(size_bytes=None, references=None)
    assert list(removed(REMOVING, facts(volumes=[unmeasured]))) == ["a" * 64]
