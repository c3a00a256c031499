"""What ended badly is removed only after what tells why was kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from daemon import history
from daemon.autopsy import Autopsy
from daemon.errors import ShipkeeperError
from daemon.evidence import ended_badly
from daemon.lookout import COMPARE_EVERY
from daemon.outcome import Outcome
from tests.daemon.deck import DAY, Deck, outcomes
from tests.daemon.watchpost import framed

if TYPE_CHECKING:
    from tests.lab.scripted_engine import ScriptedContainer

STATE: dict[str, Any] = {"OOMKilled": False, "Error": "", "ExitCode": 0}


@pytest.fixture
def deck(deck: Deck) -> Deck:
    """Give an executor that carries out what a person approves."""
    deck.adopt(mode="approve")
    return deck


def failed(deck: Deck, name: str = "etl") -> ScriptedContainer:
    job = deck.job(name)
    job.exit_code = 1
    deck.engine.logs[job.id] = framed("step 1\ntoken=hunter2\nKeyError: 'x'\n")
    deck.engine.changes[job.id] = [{"Kind": 0, "Path": "/app"}, {"Kind": 1, "Path": "/app/core.1"}]
    job.inspect_extra = {"Config": {"Image": "nlp/etl:3", "Labels": {}, "Env": ["DB_PASS=hunter2"]}}
    return job


def kept(deck: Deck) -> list[str]:
    return [entry.name for entry in deck.evidence_files.entries()]


def test_the_evidence_is_on_the_disk_before_docker_is_asked(deck: Deck) -> None:
    job = failed(deck)
    deck.engine.hung_paths.add(f"/containers/{job.id}")  # of all its paths only the DELETE has this one
    plan = deck.plan()
    deck.executor.start()
    deck.executor.round()
    deck.executor.submit(plan, "ada")
    assert deck.engine.wait(lambda: ("DELETE", f"/containers/{job.id}") in deck.engine.requests)
    assert kept(deck) == ["etl"]
    deck.engine.relent()


def test_inspect_ends_log_and_changes_are_kept_without_secrets(deck: Deck) -> None:
    job = failed(deck)
    run = deck.apply(deck.plan())
    assert (outcomes(run), run.steps[0].words) == ({"etl": Outcome.REMOVED}, "evidence kept")
    [entry] = deck.evidence_files.entries()
    record = deck.evidence_files.read(entry)
    assert record is not None
    assert record["id"] == job.id
    assert record["inspect"]["State"]["ExitCode"] == 1
    assert record["inspect"]["Config"]["Env"] == ["DB_PASS=***"]
    assert record["log"] == ["step 1", "token=***", "KeyError: 'x'"]
    assert record["changes"] == [["modified", "/app"], ["added", "/app/core.1"]]
    assert "hunter2" not in str(record)


def test_a_clean_end_leaves_no_evidence(deck: Deck) -> None:
    deck.job("job")
    assert outcomes(deck.apply(deck.plan())) == {"job": Outcome.REMOVED}
    assert kept(deck) == []


def test_without_its_evidence_a_container_stays(deck: Deck) -> None:
    deck.evidence_files.folder.touch()  # a file is in the way
    failed(deck)
    deck.job("clean")
    run = deck.apply(deck.plan())
    assert outcomes(run) == {"clean": Outcome.REMOVED, "etl": Outcome.NO_EVIDENCE}
    words = next(step.words for step in run.steps if step.outcome is Outcome.NO_EVIDENCE)
    assert "File exists" in words or "Not a directory" in words
    assert [each.name for each in deck.engine.containers.values()] == ["etl"]


def test_while_a_disk_is_critical_evidence_does_not_stand_in_the_way(
    deck: Deck, caplog: pytest.LogCaptureFixture
) -> None:
    deck.evidence_files.folder.touch()
    deck.critical = True
    failed(deck)
    assert outcomes(deck.apply(deck.plan())) == {"etl": Outcome.REMOVED}
    assert "no evidence of etl is kept, for a disk is critical" in caplog.text


def test_an_engine_that_cannot_tell_of_it_in_time_keeps_it(deck: Deck) -> None:
    job = failed(deck)
    plan = deck.plan()
    deck.engine.hung_paths.add(f"/containers/{job.id}/logs")
    run = deck.apply(plan)
    assert outcomes(run) == {"etl": Outcome.NO_EVIDENCE}
    assert deck.engine.non_get() == []


@pytest.mark.parametrize("part", ["logs", "changes"])
def test_a_part_that_alone_cannot_be_read_is_noted_and_the_rest_kept(deck: Deck, part: str) -> None:
    job = failed(deck)
    deck.engine.statuses[f"/containers/{job.id}/{part}"] = 500
    assert outcomes(deck.apply(deck.plan())) == {"etl": Outcome.REMOVED}
    record = deck.evidence_files.read(deck.evidence_files.entries()[0])
    assert record is not None
    assert list(record["notes"]) == ["log" if part == "logs" else part]


def test_who_wants_no_evidence_gets_none(deck: Deck) -> None:
    deck.adopt(evidence_bytes=0)
    failed(deck)
    assert outcomes(deck.apply(deck.plan())) == {"etl": Outcome.REMOVED}
    assert kept(deck) == []


@pytest.mark.parametrize(
    ("state", "deaths", "bad"),
    [
        ({"ExitCode": 1}, [], True),
        ({"ExitCode": 0}, [], False),
        ({"OOMKilled": True}, [], True),
        ({"Error": "no such file"}, [], True),
        ({"ExitCode": 143}, [("api", 143)], False),
        ({"ExitCode": 143}, [("none", 143)], True),
        ({"ExitCode": 1}, [("api", 143)], True),
        ({"ExitCode": 1}, [("api", 1), ("none", 1)], True),
        ({"ExitCode": 137, "OOMKilled": True}, [("api", 137)], True),
    ],
)
def test_an_end_that_somebody_wanted_needs_no_evidence(
    state: dict[str, Any],
    deaths: list[tuple[str, int]],
    bad: bool,  # noqa: FBT001
) -> None:
    ends = [{"intent": intent, "exit_code": code, "oom": False} for intent, code in deaths]
    assert ended_badly({"inspect": {"State": STATE | state}, "deaths": ends}) is bad


def test_a_death_is_remembered_as_long_as_its_container(deck: Deck) -> None:
    job = deck.engine.add("etl")
    deck.look()
    deck.post.die(job, 1)
    deck.look()
    later = deck.post.steady.now() + 30 * DAY

    def known_after_pruning() -> list[int | None]:
        deck.post.store.write(lambda connection: history.prune(connection, later))
        return [death.exit_code for death in history.deaths_of(deck.post.store, job.id, deck.post.steady)]

    assert known_after_pruning() == [1]
    deck.post.remove(job)
    deck.look(COMPARE_EVERY)
    assert known_after_pruning() == []


def test_an_autopsy_tells_of_what_exists_and_of_what_was_removed(deck: Deck) -> None:
    failed(deck)
    autopsy = Autopsy(deck.examiner, deck.evidence_files)
    before = autopsy.of("etl", 1)
    assert (before["state"], before["evidence"], before["log"], before["log_lines"]) == (
        "exited",
        None,
        ["KeyError: 'x'"],
        1,
    )
    deck.apply(deck.plan())
    after = autopsy.of("etl", 2)
    assert (after["state"], after["log"], after["log_lines"]) == ("removed", ["token=***", "KeyError: 'x'"], 3)
    assert Path(after["evidence"]).is_file()
    assert after["end"]["words"] == "exited 1 (error)"
    assert autopsy.of(after["id"][:12])["name"] == "etl"


def test_an_autopsy_of_an_old_one_is_had_while_the_engine_is_down(deck: Deck) -> None:
    failed(deck)
    deck.apply(deck.plan())
    deck.engine.stop()
    autopsy = Autopsy(deck.examiner, deck.evidence_files)
    assert autopsy.of("etl")["state"] == "removed"
    with pytest.raises(ShipkeeperError, match=r"Docker is not running.*there is no container web"):
        autopsy.of("web")


def test_one_of_the_same_name_comes_first_and_the_old_ones_are_named(deck: Deck) -> None:
    old = failed(deck)
    deck.apply(deck.plan())
    deck.engine.add("etl").id = "f" * 64
    deck.engine.containers["f" * 64] = deck.engine.containers.pop(old.id)
    found = Autopsy(deck.examiner, deck.evidence_files).of("etl")
    assert (found["state"], found["id"][0]) == ("running", "f")
    assert [each["id"] for each in found["earlier"]] == [old.id]


@pytest.mark.parametrize("name", ["", " ", "/"])
def test_an_autopsy_needs_a_name(deck: Deck, name: str) -> None:
    with pytest.raises(ShipkeeperError, match="needs the name or the id"):
        Autopsy(deck.examiner, deck.evidence_files).of(name)
