"""Metric families of what keeps the daemon going: its build, its configuration, its threads, its web server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.families import Family, label_block

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collectors.families import Kind
    from daemon.jobs import JobStats
    from daemon.web.server import WebStats

_P = "shipkeeper_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What the daemon knows of its own condition at one moment."""

    version: str
    python: str
    config_hash: int
    beats: Mapping[str, tuple[float, float]]
    """How long ago each thread last showed a sign of life, and after how long it counts as hung, in seconds."""
    jobs: JobStats
    web: WebStats


def vital_families(vitals: Vitals) -> Iterator[Family]:
    """Give the figures of this moment."""
    build = label_block(version=vitals.version, python=vitals.python)
    yield Family(f"{_P}build_info", "gauge", "What this daemon is; always 1.", [(build, 1)])
    yield Family(
        f"{_P}config_hash", "gauge", "Changes with the settings in force, secrets left out.", [("", vitals.config_hash)]
    )
    yield Family(
        f"{_P}heartbeat_age_seconds",
        "gauge",
        "How long ago each thread showed a sign of life.",
        [(label_block(thread=name), age) for name, (age, _) in vitals.beats.items()],
    )
    yield Family(
        f"{_P}heartbeat_deadline_seconds",
        "gauge",
        "The age from which a thread counts as hung.",
        [(label_block(thread=name), deadline) for name, (_, deadline) in vitals.beats.items()],
    )
    yield from _jobs(vitals.jobs)
    yield from _web(vitals.web)


def _jobs(jobs: JobStats) -> Iterator[Family]:
    yield _by_job("last_success_timestamp_seconds", "gauge", "When each slow job last ended well.", jobs.last_success)
    yield _by_job("last_duration_seconds", "gauge", "What the last run of each slow job took.", jobs.seconds)
    yield _by_job("failures_total", "counter", "Runs of each slow job that ended in an error.", jobs.failures)


def _by_job(name: str, kind: Kind, text: str, values: Mapping[str, float]) -> Family:
    return Family(f"{_P}job_{name}", kind, text, [(label_block(job=job), value) for job, value in values.items()])


def _web(web: WebStats) -> Iterator[Family]:
    lag, access = web.loop_lag_seconds, web.access
    yield Family(
        f"{_P}web_loop_lag_seconds",
        "gauge",
        "How late the web server got round to what was due, at the worst of the last minute.",
        [] if lag is None else [("", lag)],
    )
    yield Family(
        f"{_P}web_auth_failures_total", "counter", "Requests without a right password.", [("", access.rejected)]
    )
    yield Family(
        f"{_P}web_config_last_reload_successful",
        "gauge",
        "0 while the newest web-config file is bad and the one before it stays in force.",
        [] if access.successful is None else [("", access.successful)],
    )
    yield Family(
        f"{_P}web_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate of the web server ends.",
        [("", access.certificate_ends_at.timestamp())] if access.certificate_ends_at else [],
    )
