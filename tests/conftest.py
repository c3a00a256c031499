"""Makes the lab's fixtures known to every test."""

from __future__ import annotations

from tests.lab.fixtures import engine, shared_engine, slack

__all__ = ["engine", "shared_engine", "slack"]
