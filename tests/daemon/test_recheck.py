"""Just before it is removed an object is looked at again, and its policy has the last word."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from collectors.facts import Protection
from daemon.outcome import Outcome
from tests.daemon.deck import DAY, Deck
from tests.daemon.watchpost import MINUTE

if TYPE_CHECKING:
    from policies.policy import Removal

COMPOSE = {"com.docker.compose.project": "shop", "com.docker.compose.service": "web"}


def planned_job(deck: Deck, name: str = "old-job", labels: dict[str, str] | None = None) -> Removal:
    deck.job(name, labels=labels)
    [removal] = deck.look()
    return removal


def planned_image(deck: Deck, digit: str = "e") -> Removal:
    deck.dangling(digit)
    deck.look()
    [removal] = deck.look(2 * DAY)
    return removal


def objection(deck: Deck, removal: Removal) -> tuple[Outcome, str]:
    answer = deck.recheck.objection(removal)
    assert answer is not None
    return answer.outcome, answer.words


def test_nothing_speaks_against_what_is_as_it_was(deck: Deck) -> None:
    assert deck.recheck.objection(planned_job(deck)) is None
    assert deck.recheck.api_version == "1.51"


def test_only_gets_are_sent(deck: Deck) -> None:
    deck.recheck.objection(planned_job(deck))
    assert deck.engine.non_get() == []


def test_what_is_gone_needs_no_removal(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.engine.containers.clear()
    assert objection(deck, removal) == (Outcome.GONE, "")


def test_what_was_started_meanwhile_stays(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.engine.containers[removal.object.id].state = "running"
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "in use: running")


def test_what_ran_again_meanwhile_stays(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.engine.containers[removal.object.id].finished_at = deck.engine.now
    outcome, words = objection(deck, removal)
    assert outcome is Outcome.NOT_ELIGIBLE
    assert words.startswith("too recent: exited 0 (clean exit)")


def test_what_was_renamed_meanwhile_stays(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.engine.containers[removal.object.id].name = "precious"
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "it is called precious by now")


def test_what_is_protected_by_now_stays(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.adopt(protection=Protection(containers=("old-*",)))
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, 'protected: [protect] containers names "old-*"')


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"protection": Protection(containers=("old-*",))}, 'protected: [protect] containers names "old-*"'),
        ({"mode": "observe"}, "the mode is observe by now"),
    ],
)
def test_a_configuration_that_comes_while_docker_answers_counts(
    deck: Deck, change: dict[str, object], why: str
) -> None:
    removal = planned_job(deck)
    inspect = f"/containers/{removal.object.id}/json"
    deck.engine.hung_paths.add(inspect)
    asked = deck.engine.requests["GET", inspect]
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(objection, deck, removal)
        assert deck.engine.wait(lambda: deck.engine.requests["GET", inspect] > asked)
        deck.adopt(**change)
        deck.engine.relent()
        assert answer.result() == (Outcome.NOT_ELIGIBLE, why)


def test_a_project_that_runs_by_now_keeps_its_containers(deck: Deck) -> None:
    removal = planned_job(deck, "shop-migrate", {**COMPOSE, "com.docker.compose.oneoff": "True"})
    deck.engine.add("shop-web-1", labels=COMPOSE)
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "in use: compose project shop runs")


def test_an_image_that_a_new_container_uses_stays(deck: Deck) -> None:
    removal = planned_image(deck, "b")
    deck.engine.add("fresh", state="created", started_at=None)  # the scripted engine's containers use the image b…
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "in use: container fresh")


def test_an_image_that_has_a_name_by_now_stays(deck: Deck) -> None:
    removal = planned_image(deck)
    deck.engine.images[0]["RepoTags"] = ["app:latest"]
    assert objection(deck, removal)[0] is Outcome.NOT_ELIGIBLE


def test_an_image_that_another_is_built_on_by_now_stays(deck: Deck) -> None:
    removal = planned_image(deck)
    child = deck.dangling("f")
    deck.engine.images[1]["ParentId"] = removal.object.id
    assert objection(deck, removal) == (
        Outcome.NOT_ELIGIBLE,
        f"in use: image {child.removeprefix('sha256:')[:12]} is built on it",
    )


@pytest.mark.parametrize("lost", ["/images/json", "/images/*/json"])
def test_an_image_that_is_gone_needs_no_removal(deck: Deck, lost: str) -> None:
    removal = planned_image(deck)
    if lost == "/images/json":
        deck.engine.images.clear()
    else:
        deck.engine.statuses["/images/*:*/json"] = 404
    assert objection(deck, removal) == (Outcome.GONE, "")


def test_an_image_as_it_was_may_go(deck: Deck) -> None:
    assert deck.recheck.objection(planned_image(deck)) is None


@pytest.mark.parametrize("status", [403, 500])
@pytest.mark.parametrize("path", ["/containers/json", "/containers/*/json"])
def test_what_cannot_be_read_is_not_removed(deck: Deck, path: str, status: int) -> None:
    removal = planned_job(deck)
    deck.engine.statuses[path] = status
    outcome, words = objection(deck, removal)
    assert outcome is Outcome.UNREAD
    assert str(status) in words


def test_an_engine_that_hangs_is_not_asked_to_remove(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.engine.hung_paths.add("/containers/json")
    outcome, words = objection(deck, removal)
    assert (outcome, "does not answer in time" in words) == (Outcome.UNREAD, True)
    deck.engine.relent()
    assert deck.recheck.objection(removal) is None, "the next look makes a connection of its own"


def test_without_a_fresh_picture_nothing_is_removed(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.clock.advance(2 * MINUTE)
    assert objection(deck, removal)[0] is Outcome.UNREAD


def test_while_docker_is_unknown_nothing_is_removed(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.engine.statuses["/containers/json"] = 500
    for _ in range(5):
        deck.post.cycle(10 * MINUTE)
    deck.engine.statuses.clear()
    assert objection(deck, removal)[0] is Outcome.UNREAD


def test_a_policy_that_is_switched_off_removes_nothing_more(deck: Deck) -> None:
    removal = planned_job(deck)
    deck.adopt(policies={})
    assert objection(deck, removal) == (Outcome.NOT_ELIGIBLE, "the policy containers is switched off")
