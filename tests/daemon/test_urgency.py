"""While a disk is critical a cleanup is less patient; what is not known is not critical."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from daemon.grace import Grace
from daemon.urgency import critical
from tests.policies.build import GIB, filesystem

if TYPE_CHECKING:
    from tests.daemon.deck import Deck


def test_a_disk_that_is_critical_makes_the_time_of_grace_shorter(deck: Deck) -> None:
    deck.look()
    snapshot, book = deck.post.watch.snapshot, deck.post.watch.book
    assert not critical(snapshot, book)
    assert not critical(None, book)
    grace = Grace(deck.clock, deck.post.view, lambda: book.grace_critical if critical(snapshot, book) else book.grace)
    assert "another 15 min" in grace.holds()
    deck.post.disks.filesystems = (filesystem(available=GIB),)
    deck.look()
    snapshot = deck.post.watch.snapshot
    assert critical(snapshot, book)
    assert not critical(snapshot, replace(book, policies={}))
    assert "another 1 min 59 s" in grace.holds()
    deck.clock.advance(timedelta(minutes=2))
    assert grace.holds() == ""
