from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from pydantic import SecretStr

from collectors.families import render
from daemon.config import Alerts, Settings, Slack
from daemon.fingerprint import fingerprint
from daemon.jobs import JobStats
from daemon.vitals import Vitals, vital_families
from daemon.web.access import AccessStats
from daemon.web.lag import LoopLag
from daemon.web.server import WebStats

WEBHOOK = "https://hooks.slack.com/services/T/B/"


def shown(web: WebStats) -> list[str]:
    vitals = Vitals(
        version="1.2.3",
        python="3.13.5",
        config_hash=7,
        beats={"watch": (0.5, 60.0)},
        jobs=JobStats({}, {"prune": 0.25}, {"prune": 1}),
        web=web,
    )
    return [line for line in render(vital_families(vitals)).decode().splitlines() if not line.startswith("#")]


def test_without_a_web_config_file_nothing_is_said_of_one() -> None:
    lines = shown(WebStats(AccessStats(), None))
    assert not [line for line in lines if "web_config" in line or "certificate" in line or "lag" in line]
    assert "shipkeeper_web_auth_failures_total 0" in lines


def test_threads_jobs_and_the_web_server_are_shown() -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    lines = shown(WebStats(AccessStats(successful=False, certificate_ends_at=end, rejected=3), 0.125))
    assert {
        'shipkeeper_heartbeat_age_seconds{thread="watch"} 0.5',
        'shipkeeper_heartbeat_deadline_seconds{thread="watch"} 60.0',
        'shipkeeper_job_last_duration_seconds{job="prune"} 0.25',
        'shipkeeper_job_failures_total{job="prune"} 1',
        "shipkeeper_config_hash 7",
        'shipkeeper_build_info{version="1.2.3",python="3.13.5"} 1',
        "shipkeeper_web_loop_lag_seconds 0.125",
        "shipkeeper_web_config_last_reload_successful 0",
        f"shipkeeper_web_certificate_expiry_timestamp_seconds {end.timestamp()!r}",
        "shipkeeper_web_auth_failures_total 3",
    } <= set(lines)


def test_the_hash_follows_the_settings_and_gives_no_secret_away() -> None:
    plain = fingerprint(Settings())
    assert plain == fingerprint(Settings())
    assert plain != fingerprint(Settings(alerts=Alerts(log_lines=3)))
    one, other = (Settings(slack=Slack(webhook_url=SecretStr(WEBHOOK + end))) for end in ("one", "other"))
    assert fingerprint(one) == fingerprint(other) != plain
    assert plain < 1 << 53


class OwnTime(asyncio.SelectorEventLoop):
    """A loop whose time a test moves."""

    moved = 0.0

    def time(self) -> float:
        """Give the time as moved."""
        return time.monotonic() + self.moved


def test_a_loop_that_was_held_up_shows_its_lag() -> None:
    lag, loop = LoopLag(), OwnTime()
    lag.watch(loop)
    assert lag.worst is None
    loop.moved = 5.0 + 3.0
    loop.run_until_complete(asyncio.sleep(0))
    assert lag.worst is not None
    assert lag.worst >= 3.0
    loop.close()
