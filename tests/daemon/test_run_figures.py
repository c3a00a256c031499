"""What cleanup runs did is counted, and when the last one went well is known after a restart too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import ObjectRef, SubjectKind
from collectors.families import render
from daemon.outcome import Answer, Outcome
from daemon.run_figures import RunFigures
from daemon.runs import RunState
from policies.policy import Removal
from tests.fakes.clock import NOW

if TYPE_CHECKING:
    from tests.daemon.deck import Deck


def a_removal(size: int | None) -> Removal:
    ref = ObjectRef(SubjectKind.IMAGE, "sha256:1", "app:1")
    return Removal(object=ref, size_bytes=size, filesystem="/", policy="images_unused", reason="unused")


def page(figures: RunFigures) -> list[str]:
    return [line for line in render(figures.families()).decode().splitlines() if not line.startswith("#")]


def test_before_the_first_run_nothing_is_claimed() -> None:
    assert page(RunFigures()) == []


def test_what_came_of_each_object_is_counted_with_what_it_was_said_to_free_and_did() -> None:
    figures = RunFigures()
    figures.count(a_removal(10), Answer(Outcome.REMOVED, freed_bytes=7))
    figures.count(a_removal(None), Answer(Outcome.REMOVED))
    figures.count(a_removal(5), Answer(Outcome.REMOVED, freed_bytes=-3))
    figures.count(a_removal(99), Answer(Outcome.IN_USE))
    labels = 'kind="image",policy="images_unused"'
    assert page(figures) == [
        f'shipkeeper_removals_total{{{labels},outcome="in_use"}} 1',
        f'shipkeeper_removals_total{{{labels},outcome="removed"}} 3',
        f"shipkeeper_cleanup_estimated_bytes_total{{{labels}}} 15",
        f"shipkeeper_cleanup_freed_bytes_total{{{labels}}} 7",
    ]


def test_what_is_planned_begins_at_nothing_so_that_its_first_end_is_a_rise() -> None:
    figures = RunFigures()
    figures.meet([a_removal(10), a_removal(None)])
    before = page(figures)
    assert 'shipkeeper_removals_total{kind="image",policy="images_unused",outcome="failed"} 0' in before
    assert 'shipkeeper_cleanup_freed_bytes_total{kind="image",policy="images_unused"} 0' in before
    assert all(line.endswith(" 0") for line in before)
    figures.count(a_removal(5), Answer(Outcome.FAILED))
    figures.meet([a_removal(10)])
    assert 'shipkeeper_removals_total{kind="image",policy="images_unused",outcome="failed"} 1' in page(figures)


def test_nothing_is_counted_where_nothing_is_ever_removed(deck: Deck) -> None:
    deck.adopt(mode="observe")
    deck.executor.offer([a_removal(10)])
    assert page(deck.executor.figures) == []
    deck.adopt(mode="approve")
    deck.executor.offer([a_removal(10)])
    assert page(deck.executor.figures) != []


def test_runs_are_counted_by_who_asked_and_how_they_ended_and_only_a_whole_one_is_a_success() -> None:
    figures = RunFigures()
    figures.ended("schedule", RunState.DONE, NOW)
    figures.ended("person", RunState.FAILED, NOW.replace(year=2030))
    figures.reliefs["/", "target"] += 2
    assert page(figures) == [
        'shipkeeper_cleanup_runs_total{trigger="person",state="failed"} 1',
        'shipkeeper_cleanup_runs_total{trigger="schedule",state="done"} 1',
        'shipkeeper_cleanup_reliefs_total{mountpoint="/",end="target"} 2',
        f"shipkeeper_cleanup_last_success_timestamp_seconds {NOW.timestamp()!r}",
    ]


def test_the_last_success_is_known_after_a_restart(deck: Deck) -> None:
    assert deck.runs.last_success() is None
    deck.job("old-job")
    run = deck.apply(deck.plan())
    assert deck.executor.figures.runs == {("person", "done"): 1}
    assert deck.runs.last_success() == run.ended
    deck.executor.start()
    assert deck.executor.figures.last_success == run.ended
