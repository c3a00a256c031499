"""Tagged images are removed exactly as planned, whatever happens between the plan and the removal."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from collectors.facts import Protection
from daemon.docker_writer import DockerWriter
from daemon.outcome import Outcome
from daemon.plans import from_json, to_json
from daemon.runs import RunState
from policies.images import DanglingImages
from policies.images_unused import UnusedImages
from tests.daemon.deck import DAY, Deck, outcomes
from tests.daemon.watchpost import HOUR, SECOND
from tests.lab.scripted_engine import ScriptedEngine, stamp

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.plans import Plan
    from policies.policy import Removal

POLICIES = {"images_dangling": DanglingImages(), "images_unused": UnusedImages(keep_last_per_repository=0)}
LONG = 31 * DAY


@pytest.fixture
def deck(deck: Deck) -> Deck:
    deck.adopt(mode="approve", policies=POLICIES)
    return deck


def add(deck: Deck, digit: str, *tags: str, **listed: Any) -> str:
    """Add an image that a registry has, in the shape of this version's list, and give its id."""
    image_id, version = f"sha256:{digit * 64}", deck.engine.api_version
    digests = [f"{tag.rpartition(':')[0]}@sha256:{digit * 64}" for tag in tags[:1]]
    plain: dict[str, Any] = {"Id": image_id, "RepoTags": list(tags), "RepoDigests": digests, "Labels": None}
    plain |= {"Created": 1_400_000_000, "Size": 9, "SharedSize": -1, "Containers": -1, "ParentId": ""}
    match version:
        case "1.41":
            plain["VirtualSize"] = 9
        case "1.52":
            del plain["ParentId"]
            plain |= {"Descriptor": {"digest": image_id, "size": 9}, "Manifests": None}
        case _:
            pass
    deck.engine.images.append(plain | listed)
    deck.engine.last_tagged[image_id] = stamp(deck.engine.now - 90 * DAY)
    return image_id


def plan_of(deck: Deck) -> Plan:
    """Let a month pass, and give the plan."""
    deck.look()
    return deck.plan(LONG)


def planned(deck: Deck) -> Removal:
    [removal] = plan_of(deck).removals
    return removal


def objection(deck: Deck, removal: Removal) -> tuple[Outcome, str]:
    answer = deck.recheck.objection(removal)
    assert answer is not None
    return answer.outcome, answer.words


@pytest.mark.parametrize("version", ["1.41", "1.44", "1.48", "1.51", "1.52"])
def test_exactly_the_unused_images_go_in_every_version_of_the_api(tmp_path: Path, version: str) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", version) as engine:
        deck = Deck(engine, tmp_path, "enforce")
        deck.adopt(policies=POLICIES)
        used = add(deck, "b", "bb:latest")
        engine.add("service")
        gone = add(deck, "1", "app:1")
        both = add(deck, "2", "app:2", "registry:5000/app:2")
        add(deck, "3", "kept:1", Labels={"shipkeeper.protect": "true"})
        add(deck, "4", "local:1", RepoDigests=[])
        deck.look()
        engine.last_tagged[add(deck, "5", "tagged-lately:1")] = stamp(engine.now + 20 * DAY)
        run = deck.by_itself(LONG)
        assert run is not None
        assert run.state is RunState.DONE
        assert outcomes(run) == {"app:1": Outcome.REMOVED, "app:2": Outcome.REMOVED}
        spoken = min(version, "1.51")
        assert sorted(engine.deleted) == sorted(
            [
                f"/v{spoken}/images/{gone}?noprune=1",
                f"/v{spoken}/images/registry:5000/app:2?noprune=1",
                f"/v{spoken}/images/{both}?noprune=1",
            ]
        )
        assert {method for method, _ in engine.non_get()} == {"DELETE"}
        assert {image["Id"][7] for image in engine.images} == {"b", "3", "4", "5"}
        assert used in {image["Id"] for image in engine.images}
        deck.close()


@pytest.mark.parametrize("version", ["1.41", "1.44", "1.48", "1.52"])
def test_in_observe_mode_only_gets_are_sent(tmp_path: Path, version: str) -> None:
    with ScriptedEngine(tmp_path / "docker.sock", version) as engine:
        deck = Deck(engine, tmp_path, "observe")
        deck.adopt(policies=POLICIES)
        add(deck, "1", "app:1", "app:2")
        assert len(plan_of(deck).removals) == 1
        assert deck.by_itself() is None
        assert engine.non_get() == []
        deck.close()


def test_a_pull_between_plan_and_removal_keeps_the_image(deck: Deck) -> None:
    add(deck, "1", "app:1")
    removal = planned(deck)
    deck.post.events.put(deck.engine.emit("pull", "app:1", kind="image", name="app:1"))
    deck.look()
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "too recent: seen unused for 0 s, kept for 30 days")


def test_a_pull_that_no_event_told_of_keeps_the_image(deck: Deck) -> None:
    image = add(deck, "1", "app:1")
    removal = planned(deck)
    deck.engine.last_tagged[image] = stamp(deck.engine.now)
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "too recent: seen unused for 0 s, kept for 30 days")


def test_a_build_between_plan_and_removal_keeps_what_it_is_built_on(deck: Deck) -> None:
    image = add(deck, "1", "app:1")
    removal = planned(deck)
    add(deck, "2", "child:1", ParentId=image)
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "in use: image child:1 is built on it")


def test_a_build_that_takes_the_tag_over_keeps_the_image(deck: Deck) -> None:
    add(deck, "1", "app:1")
    removal = planned(deck)
    deck.engine.images[0]["RepoTags"] = None
    add(deck, "2", "app:1")
    assert objection(deck, removal)[0] is Outcome.NOT_ELIGIBLE


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (["app:1"], ["app:1", "app:2"], "its tags are app:1, app:2 by now"),
        (["app:1", "app:2"], ["app:1"], "its tags are app:1 by now"),
        (["app:1"], ["a:1", "app:1"], "it is called a:1 by now"),
        (["app:1", "app:2"], ["app:1", "app:3"], "its tags are app:1, app:3 by now"),
    ],
)
def test_a_tag_between_plan_and_removal_keeps_the_image(
    deck: Deck, before: list[str], after: list[str], why: str
) -> None:
    add(deck, "1", *before)
    removal = planned(deck)
    deck.engine.images[0]["RepoTags"] = after
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, why)


def test_a_container_start_between_plan_and_removal_keeps_the_image(deck: Deck) -> None:
    add(deck, "b", "bb:latest")
    removal = planned(deck)
    deck.engine.add("fresh", state="created", started_at=None)
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "in use: container fresh")


def test_a_container_that_mounts_the_image_since_the_plan_keeps_it(deck: Deck) -> None:
    add(deck, "1", "tools:2")
    removal = planned(deck)
    fresh = deck.engine.add("fresh", state="created", started_at=None, image="gone:1", image_id=f"sha256:{'f' * 64}")
    fresh.inspect_extra = {"Mounts": [{"Type": "image", "Name": "tools:2", "Source": "/var/lib/docker/x"}]}
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "in use: container fresh")


def test_of_an_image_with_two_tags_one_in_use_neither_goes(deck: Deck) -> None:
    add(deck, "b", "bb:latest", "bb:old")
    deck.engine.add("web")
    assert plan_of(deck).removals == ()
    assert deck.engine.non_get() == []


def test_a_container_that_comes_between_two_tags_stops_the_removal(deck: Deck) -> None:
    add(deck, "b", "bb:latest", "bb:one", "bb:two")
    plan = plan_of(deck)
    deck.executor.round()

    class Meanwhile(DockerWriter):
        def untag(self, tag: str, api_version: str) -> Any:
            answer = super().untag(tag, api_version)
            deck.engine.add("fresh")
            return answer

    deck.with_writer(Meanwhile)
    run = deck.apply(plan)
    assert outcomes(run) == {"bb:latest": Outcome.NOT_ELIGIBLE}
    assert run.steps[0].words == "in use: container fresh; without the tags bb:two by now"
    assert deck.engine.images[0]["RepoTags"] == ["bb:latest", "bb:one"]


def test_on_a_disk_without_a_free_block_an_image_goes_although_docker_cannot_write_that_its_tag_is_gone(
    deck: Deck,
) -> None:
    one, two = add(deck, "1", "app:1"), add(deck, "2", "app:2", "app:3")
    plan = plan_of(deck)
    deck.engine.no_room = True
    run = deck.apply(plan)
    assert outcomes(run) == {"app:1": Outcome.REMOVED, "app:2": Outcome.REMOVED}
    assert deck.engine.deleted == [
        f"/v1.51/images/{one}?noprune=1",
        f"/v1.51/images/{one}?noprune=1",
        "/v1.51/images/app:3?noprune=1",
        f"/v1.51/images/{two}?noprune=1",
    ]


def test_on_a_disk_without_a_free_block_an_image_of_several_tags_goes_too(deck: Deck) -> None:
    add(deck, "2", "app:1", "app:2", "app:3")
    plan = plan_of(deck)
    deck.engine.no_room = True
    assert outcomes(deck.apply(plan)) == {"app:1": Outcome.REMOVED}
    assert deck.engine.images == []


@pytest.mark.parametrize("meanwhile", ["container", "tag", "label"])
def test_an_image_whose_tag_docker_forgot_is_looked_at_again_as_if_it_bore_it(deck: Deck, meanwhile: str) -> None:
    image = add(deck, "1", "app:1")
    plan = plan_of(deck)
    deck.engine.no_room = True

    class Meanwhile(DockerWriter):
        def remove(self, ref: Any, api_version: str) -> Any:
            answer = super().remove(ref, api_version)
            match meanwhile:
                case "container":
                    deck.engine.add("fresh", image_id=image)
                case "tag":
                    deck.engine.images[0]["RepoTags"].append("other:1")
                case _:
                    deck.adopt(protection=Protection(images=("app:*",)))
            return answer

    deck.with_writer(Meanwhile)
    run = deck.apply(plan)
    assert outcomes(run) == {"app:1": Outcome.NOT_ELIGIBLE}
    assert len(deck.engine.deleted) == 1
    said = {"container": "in use: container fresh", "tag": "it is called other:1 by now"}
    assert run.steps[0].words == said.get(meanwhile, 'protected: [protect] images names "app:*"')


@pytest.mark.parametrize("failing", [0, 1])
@pytest.mark.parametrize("status", [409, 500])
def test_what_docker_refuses_of_one_tag_spares_the_others(deck: Deck, failing: int, status: int) -> None:
    image = add(deck, "1", "app:1", "app:2", "app:3")
    plan = plan_of(deck)
    deck.engine.statuses[f"/images/{('app:3', 'app:2')[failing]}"] = status
    run = deck.apply(plan)
    assert run.steps[0].outcome is (Outcome.IN_USE if status == 409 else Outcome.FAILED)
    assert ("without the tags app:3 by now" in run.steps[0].words) is bool(failing)
    assert deck.engine.images[0]["RepoTags"] == ["app:1", "app:2", "app:3"][: 3 - failing]
    assert f"/v1.51/images/{image}?noprune=1" not in deck.engine.deleted


def test_a_tag_that_somebody_else_takes_away_meanwhile_is_fine(deck: Deck) -> None:
    add(deck, "1", "app:1", "app:2")
    plan = plan_of(deck)
    deck.engine.statuses["/images/app:2"] = 404

    class Meanwhile(DockerWriter):
        def untag(self, tag: str, api_version: str) -> Any:
            deck.engine.images[0]["RepoTags"].remove(tag)
            return super().untag(tag, api_version)

    deck.with_writer(Meanwhile)
    assert outcomes(deck.apply(plan)) == {"app:1": Outcome.REMOVED}


def test_the_tags_are_part_of_what_is_approved(deck: Deck) -> None:
    add(deck, "1", "app:1", "app:2")
    plan = plan_of(deck)
    document = to_json(plan)
    assert document["removals"][0]["tags"] == ["app:1", "app:2"]
    assert from_json(document) == plan
    document["removals"][0]["tags"] = ["app:1", "precious:1"]
    with pytest.raises(Exception, match="does not match its hash"):
        from_json(document)


def test_the_parent_goes_after_its_child_without_another_month(deck: Deck) -> None:
    deck.adopt(mode="enforce")
    base = add(deck, "1", "base:1")
    add(deck, "2", "app:1", ParentId=base)
    deck.look()
    assert outcomes(deck.by_itself(LONG)) == {"app:1": Outcome.REMOVED}
    assert outcomes(deck.by_itself(HOUR)) == {"base:1": Outcome.REMOVED}


def test_a_tag_that_was_lost_begins_the_time_of_the_dangling_image(deck: Deck) -> None:
    add(deck, "1", "app:1")
    deck.look()
    deck.look(LONG)
    deck.engine.images[0]["RepoTags"] = None
    deck.post.events.put(deck.engine.emit("untag", f"sha256:{'1' * 64}", kind="image"))
    assert deck.look(timedelta(hours=1)) == ()
    assert len(deck.look(DAY + SECOND)) == 1
