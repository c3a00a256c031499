"""The tables of the state, as numbered migrations that only go forward."""

from __future__ import annotations

from typing import TypeAlias

Migration: TypeAlias = tuple[str, ...]
"""The statements of one step; all of them are one transaction."""

MIGRATIONS: tuple[Migration, ...] = (
    (
        "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
        """
        CREATE TABLE deaths(
            key TEXT PRIMARY KEY,
            container_id TEXT NOT NULL,
            subject_key TEXT NOT NULL,
            at REAL NOT NULL,
            record TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX deaths_at ON deaths(at)",
        """
        CREATE TABLE oom_kills(
            container_id TEXT NOT NULL,
            subject_key TEXT NOT NULL,
            at REAL NOT NULL,
            count INTEGER NOT NULL,
            record TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX oom_kills_at ON oom_kills(at)",
        "CREATE TABLE baseline(container_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT",
        """
        CREATE TABLE counters(
            family TEXT NOT NULL,
            labels TEXT NOT NULL,
            value REAL NOT NULL,
            touched REAL NOT NULL,
            PRIMARY KEY(family, labels)
        ) STRICT
        """,
        """
        CREATE TABLE sightings(
            kind TEXT NOT NULL,
            id TEXT NOT NULL,
            watched_at_first REAL NOT NULL,
            first_seen REAL NOT NULL,
            PRIMARY KEY(kind, id)
        ) STRICT
        """,
        "CREATE TABLE alert_states(fingerprint TEXT PRIMARY KEY, record TEXT NOT NULL, updated REAL NOT NULL) STRICT",
        """
        CREATE TABLE outbox(
            id INTEGER PRIMARY KEY,
            fingerprint TEXT NOT NULL,
            episode INTEGER NOT NULL,
            kind TEXT NOT NULL,
            version INTEGER NOT NULL,
            sink TEXT NOT NULL,
            family TEXT NOT NULL,
            severity TEXT NOT NULL,
            record TEXT NOT NULL,
            created REAL NOT NULL,
            not_before REAL NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            last_error TEXT NOT NULL DEFAULT '',
            state TEXT NOT NULL DEFAULT 'due' CHECK (state IN ('due', 'sent', 'failed', 'dropped')),
            done REAL,
            UNIQUE(fingerprint, episode, kind, version, sink)
        ) STRICT
        """,
        "CREATE INDEX outbox_due ON outbox(sink, not_before) WHERE state = 'due'",
    ),
    (
        "CREATE TABLE plans(hash TEXT PRIMARY KEY, created REAL NOT NULL, record TEXT NOT NULL) STRICT",
        """
        CREATE TABLE runs(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            plan_hash TEXT NOT NULL,
            asked_by TEXT NOT NULL,
            planned INTEGER NOT NULL,
            begun REAL NOT NULL,
            ended REAL,
            state TEXT NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed', 'interrupted')),
            words TEXT NOT NULL DEFAULT ''
        ) STRICT
        """,
        """
        CREATE TABLE steps(
            run INTEGER NOT NULL REFERENCES runs(id),
            position INTEGER NOT NULL,
            kind TEXT NOT NULL,
            object_id TEXT NOT NULL,
            name TEXT NOT NULL,
            policy TEXT NOT NULL,
            reason TEXT NOT NULL,
            size_bytes INTEGER,
            outcome TEXT,
            words TEXT NOT NULL DEFAULT '',
            at REAL NOT NULL,
            PRIMARY KEY(run, position)
        ) STRICT
        """,
    ),
    ("CREATE TABLE lives(container_id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT",),
    (
        """
        CREATE TABLE image_uses(
            id TEXT PRIMARY KEY,
            used_at REAL NOT NULL,
            tags TEXT NOT NULL,
            pulled INTEGER NOT NULL
        ) STRICT
        """,
    ),
    (
        "ALTER TABLE steps ADD COLUMN filesystem TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE steps ADD COLUMN freed_bytes INTEGER",
        "CREATE INDEX steps_at ON steps(at)",
        """
        CREATE TABLE chosen(
            policy TEXT NOT NULL,
            kind TEXT NOT NULL,
            object_id TEXT NOT NULL,
            size_bytes INTEGER,
            last_at REAL NOT NULL,
            PRIMARY KEY(policy, object_id)
        ) STRICT
        """,
    ),
    (
        """
        CREATE TABLE posts(
            id INTEGER PRIMARY KEY,
            sink TEXT NOT NULL,
            family TEXT NOT NULL,
            channel TEXT NOT NULL,
            ts TEXT NOT NULL,
            posted REAL NOT NULL,
            edited REAL NOT NULL,
            digest TEXT NOT NULL,
            open INTEGER NOT NULL
        ) STRICT
        """,
        "CREATE INDEX posts_family ON posts(sink, family, posted)",
        "CREATE INDEX posts_open ON posts(sink, edited) WHERE open",
        """
        CREATE TABLE post_members(
            post INTEGER NOT NULL,
            fingerprint TEXT NOT NULL,
            record TEXT NOT NULL,
            PRIMARY KEY(post, fingerprint)
        ) STRICT
        """,
        "CREATE INDEX post_members_of ON post_members(fingerprint)",
        "CREATE TABLE pauses(sink TEXT PRIMARY KEY, until REAL NOT NULL) STRICT",
    ),
    (
        "CREATE TABLE silences(id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL) STRICT",
        "CREATE TABLE acks(fingerprint TEXT PRIMARY KEY, at REAL NOT NULL, record TEXT NOT NULL) STRICT",
        """
        CREATE TABLE alert_log(
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            what TEXT NOT NULL,
            why TEXT NOT NULL,
            who TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            alert TEXT NOT NULL,
            subject TEXT NOT NULL,
            severity TEXT NOT NULL
        ) STRICT
        """,
        # What fires was told, and what was told was an incident.
        """
        UPDATE alert_states SET record = json_set(
            record,
            '$.heard', CASE WHEN json_extract(record, '$.phase') IN ('firing', 'clearing') THEN 'firing' ELSE '' END,
            '$.told_severity', json_extract(record, '$.severity'),
            '$.incident', json_extract(record, '$.episode')
        ) WHERE json_valid(record)
        """,
    ),
)
