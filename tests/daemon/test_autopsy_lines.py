"""An autopsy reads as a page: how it ended first, the commands to look further last."""

from __future__ import annotations

from typing import Any

from daemon.autopsy_lines import autopsy_lines
from tests.fakes.clock import NOW

END: dict[str, Any] = {
    "at": "2026-11-23T13:02:00+00:00",
    "exit_code": 137,
    "words": "exited 137 (SIGKILL)",
    "oom": True,
    "uptime_seconds": 11520.0,
    "intent": "none",
    "asked_for": "nobody asked Docker for it",
    "error": None,
}
FOUND: dict[str, Any] = {
    "name": "trainer-3",
    "id": "a" * 64,
    "state": "exited",
    "taken_at": "2026-11-23T16:02:00+00:00",
    "evidence": None,
    "earlier": [{"id": "b" * 64, "evidence": "/state/evidence/1.json.gz"}],
    "image": "nlp/train:3",
    "image_id": "sha256:" + "c" * 64,
    "command": ["python", "train.py"],
    "created_at": "2026-11-20T00:00:00Z",
    "end": END,
    "restarts": {"count": 4, "policy": "on-failure", "at_most": 5},
    "deaths": [END | {"at": "2026-11-23T12:00:00+00:00", "uptime_seconds": None}, END],
    "health": {
        "status": "unhealthy",
        "failing_streak": 3,
        "probes": [{"at": None, "exit_code": 1, "output": "connection\nrefused"}],
    },
    "memory": {"limit_bytes": 16 << 30, "peak_bytes": 17 << 30, "limit_hits": 412, "oom_kills": 1},
    "mounts": [
        {"type": "volume", "source": "data", "destination": "/data", "read_only": False},
        {"type": "bind", "source": "/srv", "destination": "/in", "read_only": True},
    ],
    "gpus": ["0, 1 (requested of the driver nvidia)"],
    "changes": {"count": 3, "paths": [["modified", "/app"], ["added", "/app/core.1"], ["deleted", "/etc/motd"]]},
    "log": ["step 1", "Killed"],
    "log_lines": 900,
    "notes": {"changes": "only the first 3 paths"},
    "look_further": [{"what": "all that it wrote", "command": "docker logs --timestamps trainer-3"}],
}


def page(**changes: Any) -> list[str]:
    return [line.text for line in autopsy_lines(FOUND | changes, NOW)]


def test_the_whole_page() -> None:
    assert page() == [
        "trainer-3 (aaaaaaaaaaaa) · exited 137 (SIGKILL), killed for memory 3 h ago after 3 h 12 min",
        "",
        "  asked for     nobody asked Docker for it",
        "  image         nlp/train:3 (cccccccccccc)",
        "  command       python train.py",
        "  restarts      4, restart policy on-failure, at most 5",
        "  memory        limit 16.0 GiB, peak 17.0 GiB, ran against its limit 412 times, 1 process killed for memory",
        (
            "  ends          2026-11-23 13:02 UTC  exited 137 (SIGKILL), killed for memory 3 h ago after 3 h 12 min; "
            "nobody asked Docker for it"
        ),
        (
            "                2026-11-23 12:00 UTC  exited 137 (SIGKILL), killed for memory 4 h 2 min ago; "
            "nobody asked Docker for it"
        ),
        "  health        unhealthy, 3 failures in a row",
        "                exit code 1: connection refused",
        "  GPUs          0, 1 (requested of the driver nvidia)",
        "  mounts        volume data on /data",
        "                bind /srv on /in (read-only)",
        "  changed       3 paths: 1 added, 1 deleted, 1 modified",
        "                added /app/core.1",
        "                deleted /etc/motd",
        "  not read      changes: only the first 3 paths",
        "  earlier       bbbbbbbbbbbb, in /state/evidence/1.json.gz",
        "  log           the last 2 lines of 900",
        "    step 1",
        "    Killed",
        "",
        "Look further:",
        "  # all that it wrote",
        "  docker logs --timestamps trainer-3",
    ]


def test_what_runs_has_no_end_and_nothing_is_made_up() -> None:
    lines = page(
        state="running",
        end=None,
        deaths=[],
        health=None,
        memory={"limit_bytes": None},
        mounts=[],
        gpus=[],
        changes={"count": 0, "paths": []},
        log=[],
        log_lines=0,
        notes={},
        earlier=[],
    )
    assert lines[0] == "trainer-3 (aaaaaaaaaaaa) · running now"
    assert lines[2:-4] == [
        "  image         nlp/train:3 (cccccccccccc)",
        "  command       python train.py",
        "  restarts      4, restart policy on-failure, at most 5",
        "  memory        no limit, its last readings are not known",
        "  log           nothing",
    ]


def test_what_is_gone_says_of_when_its_evidence_is() -> None:
    assert page(state="removed", evidence="/e")[0].endswith(
        " · removed since; this is the evidence of 2026-11-23 16:02 UTC"
    )


def test_what_docker_could_not_start_says_why() -> None:
    failed = END | {"at": None, "exit_code": 128, "words": "exited 128 (could not be started)", "oom": False}
    failed |= {"uptime_seconds": None, "asked_for": None, "error": "no such file"}
    lines = page(state="created", end=failed)
    assert lines[0] == "trainer-3 (aaaaaaaaaaaa) · could not be started (exit code 128) · created now"
    assert lines[2] == "  error         Docker said: no such file"


def test_many_changed_files_are_summed_up() -> None:
    paths = [["added", f"/f{number}"] for number in range(20)]
    lines = page(changes={"count": 20, "paths": paths})
    assert "                and 12 more" in lines


def test_names_cannot_colour_or_forge_a_page() -> None:
    forged = "x\n\x1b[31m\u202e"
    lines = page(name=forged, image=forged, command=[forged], log=[forged], gpus=[forged], notes={forged: forged})
    assert not set("".join(lines)) & {"\n", "\x1b", "\u202e"}
