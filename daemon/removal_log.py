"""Says in the journal what cleanups select, each thing once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from policies import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.decide import Decision

log = logging.getLogger(__name__)


class RemovalLog:
    """Remembers what it said."""

    def __init__(self) -> None:
        self._would_remove: Mapping[str, str] = {}
        """Object id → the policy that selected it."""
        self._too_many: frozenset[str] = frozenset()

    def note(self, decision: Decision) -> None:
        """Say what is new in it: objects that would be removed, and policies that select too much to act."""
        self._note_removals(decision)
        self._note_too_many(decision)

    def _note_removals(self, decision: Decision) -> None:
        for removal in decision.removals:
            if removal.object.id not in self._would_remove:
                log.info(
                    "would remove %s %s · %s · %s",
                    removal.object.kind,
                    words.plain(removal.object.name),
                    words.plain(removal.reason),
                    words.size(removal.size_bytes),
                )
        # A policy that could not be asked takes nothing back: it would only say all of it again.
        untold = {id_: policy for id_, policy in self._would_remove.items() if policy in decision.skipped}
        self._would_remove = untold | {removal.object.id: removal.policy for removal in decision.removals}

    def _note_too_many(self, decision: Decision) -> None:
        for policy in decision.too_many.keys() - self._too_many:
            log.warning("policy %s is halted: %s", policy, decision.too_many[policy])
        self._too_many = frozenset(decision.too_many) | (self._too_many & decision.skipped.keys())
