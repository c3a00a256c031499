"""Makes the lab's fixtures known to every test, and gives hypothesis all the time it needs."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.lab.fixtures import engine, scripted_engine, shared_engine, slack

__all__ = ["engine", "scripted_engine", "shared_engine", "slack"]

# On a busy machine any example can take long: that is no fault of what it shows.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
