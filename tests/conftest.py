"""Makes the lab's fixtures known to every test."""

from __future__ import annotations

from hypothesis import settings

from tests.lab.fixtures import engine, shared_engine, slack

settings.register_profile("house", deadline=None)  # how long an example takes is the machine's matter
settings.load_profile("house")

__all__ = ["engine", "shared_engine", "slack"]
