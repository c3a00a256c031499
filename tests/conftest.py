"""Makes the lab's fixtures known to every test."""

from __future__ import annotations

from hypothesis import settings

from tests.lab.fixtures import engine, shared_engine, slack

__all__ = ["engine", "shared_engine", "slack"]

# A busy machine is no bug: no example of a property is timed.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
