"""The digest counts each object once a week, and is told once a day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.alerts import outbox
from daemon.alerts.message import week
from daemon.digest import DAILY, WEEK, Digest, Digests, PolicyWeek, in_words
from tests.daemon.deck import DAY, Deck
from tests.daemon.watchpost import HOUR, MINUTE

if TYPE_CHECKING:
    from datetime import timedelta


def digests(deck: Deck) -> Digests:
    return Digests(deck.post.store, lambda: deck.post.watch.snapshot, deck.post.steady)


def noted(deck: Deck, after: timedelta = MINUTE) -> Digests:
    deck.look(after)
    made = digests(deck)
    made.note()
    return made


def test_each_object_counts_once_with_what_is_known_of_its_size(deck: Deck) -> None:
    jobs = [deck.job(f"job-{number}") for number in range(3)]
    noted(deck)
    deck.post.sizes = {jobs[0].id: 1 << 30}
    assert noted(deck).weeks() == (
        PolicyWeek(policy="containers", chosen=3, size_bytes=1 << 30, unmeasured=2, removed=0, freed_bytes=None),
    )


def test_what_was_chosen_more_than_a_week_ago_is_forgotten(deck: Deck) -> None:
    job = deck.job("job")
    assert [each.chosen for each in noted(deck).weeks()] == [1]
    deck.post.remove(job)
    assert [each.chosen for each in noted(deck, WEEK - HOUR).weeks()] == [1]
    assert noted(deck, 2 * HOUR).weeks() == ()


def test_what_was_removed_is_counted_with_what_was_measured(deck: Deck) -> None:
    deck.job("job")
    noted(deck)
    deck.apply(deck.plan())
    [found] = digests(deck).weeks()
    assert (found.chosen, found.removed, found.freed_bytes) == (1, 1, 0)


def test_what_went_before_it_was_noted_counts_and_what_went_again_and_again_counts_once(deck: Deck) -> None:
    job, _ = deck.job("job"), deck.job("other")
    deck.look(MINUTE)
    deck.apply(deck.plan())
    [quick] = digests(deck).weeks()
    assert (quick.policy, quick.chosen, quick.removed) == ("containers", 2, 2)
    deck.post.store.write(lambda connection: connection.execute("UPDATE steps SET object_id = ?", (job.id,)))
    [cache] = digests(deck).weeks()  # whose one object is pruned every day
    assert (cache.chosen, cache.removed, in_words(cache)) == (1, 1, "removed 1 object, 0 B measured")


def test_while_docker_cannot_be_read_nothing_is_noted(deck: Deck) -> None:
    deck.job("job")
    deck.engine.statuses["/containers/json"] = 500
    assert noted(deck).weeks() == ()


def test_it_is_told_once_a_day_and_not_on_the_first(deck: Deck) -> None:
    deck.job("job")
    told = noted(deck)
    assert told.due() is None
    deck.look(DAILY - MINUTE)
    assert told.due() is None
    deck.look(MINUTE)
    digest = digests(deck).due()
    assert digest is not None
    assert [each.policy for each in digest.weeks] == ["containers"]
    assert told.due() is None


def test_a_host_on_which_nothing_was_chosen_tells_nothing(deck: Deck) -> None:
    told = noted(deck)
    told.due()
    deck.look(2 * DAY)
    assert told.due() is None


def test_it_goes_out_as_a_message_of_its_own(deck: Deck) -> None:
    weeks = (
        PolicyWeek(policy="containers", chosen=14, size_bytes=None, unmeasured=14, removed=0, freed_bytes=None),
        PolicyWeek(policy="images_unused", chosen=1, size_bytes=38 << 30, unmeasured=0, removed=1, freed_bytes=-5),
    )
    now = deck.post.steady.now()
    deck.post.store.write(
        lambda connection: outbox.save_digest(connection, Digest(day=7, weeks=weeks), ["console"], now)
    )
    batch = outbox.next_batch(deck.post.store, "console", now)
    assert batch is not None
    assert batch.digest == Digest(day=7, weeks=weeks)
    message = week(batch.digest, "gpu-host-2")
    assert message.headline == "🔵 what a cleanup would have removed in the last week, and did · gpu-host-2"
    assert message.lines == (
        "containers: would have removed 14 objects, size unknown",
        "images_unused: removed 1 object, 0 B measured",
    )


def test_what_was_not_measured_is_said() -> None:
    some = PolicyWeek(policy="containers", chosen=3, size_bytes=1 << 30, unmeasured=2, removed=0, freed_bytes=None)
    assert in_words(some) == "would have removed 3 objects, 1.0 GiB (2 not measured)"
