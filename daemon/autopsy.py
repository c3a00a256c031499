"""What `shipkeeper autopsy` answers: how a container ended or is, in words, and how to look further."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from collectors.engine_errors import EngineError
from collectors.facts import Intent
from daemon.errors import ShipkeeperError
from daemon.evidence import LOG_LINES
from daemon.evidence_files import EvidenceFiles
from daemon.verbs import AUTOPSY_LINES
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from daemon.evidence_files import Entry
    from daemon.examination import Examiner

_INTENTS: Final = {
    Intent.NONE: "nobody asked Docker for it",
    Intent.API: "somebody asked Docker to stop, kill or restart it",
    Intent.ENGINE: "the engine was stopping",
}
_RUNNING: Final = frozenset({"running", "paused", "restarting"})


class Autopsy:
    """Asks Docker first, then the evidence; from any thread."""

    def __init__(self, examiner: Examiner, files: EvidenceFiles) -> None:
        self._examiner = examiner
        self._files = files

    def of(self, name: str, log_lines: int = AUTOPSY_LINES) -> dict[str, Any]:
        """Give what is known of the container of this name or id; ShipkeeperError when nothing is."""
        name = name.strip().removeprefix("/")
        if not name:
            raise ShipkeeperError("an autopsy needs the name or the id of a container")
        log_lines = max(0, min(log_lines, LOG_LINES))
        kept, trouble = self._files.named(name), ""
        try:
            if record := self._examiner.examine(name, log_lines):
                others = [each for each in kept if each.container_id != record["id"]]
                return _told(record, None, others, log_lines)
        except EngineError as error:
            trouble = f"{error}; "
        for number, entry in enumerate(kept):
            if record := EvidenceFiles.read(entry):
                return _told(record, entry, kept[number + 1 :], log_lines)
        raise ShipkeeperError(
            f"{trouble}there is no container {name}, and no evidence of one\n"
            "  cure: name one that exists, or one that ended badly and was removed by Shipkeeper"
        )


def _told(record: Mapping[str, Any], entry: Entry | None, others: Sequence[Entry], log_lines: int) -> dict[str, Any]:
    inspect = record["inspect"]
    config, host, state = (_child(inspect, key) for key in ("Config", "HostConfig", "State"))
    restart = _child(host, "RestartPolicy")
    return {
        "name": record["name"],
        "id": record["id"],
        "state": "removed" if entry else state.get("Status", "unknown"),
        "taken_at": record["taken_at"],
        "evidence": str(entry.path) if entry else None,
        "earlier": [{"id": each.container_id, "evidence": str(each.path)} for each in others],
        "image": config.get("Image", ""),
        "image_id": inspect.get("Image", ""),
        "command": [inspect.get("Path") or "", *(inspect.get("Args") or [])],
        "created_at": inspect.get("Created"),
        "end": _end(record, state),
        "restarts": {
            "count": inspect.get("RestartCount", 0),
            "policy": restart.get("Name") or "no",
            "at_most": restart.get("MaximumRetryCount") or None,
        },
        "deaths": [_death(each) for each in record["deaths"]],
        "health": _health(state),
        "memory": {"limit_bytes": host.get("Memory") or None, **(record["memory"] or {})},
        "mounts": [_mount(each) for each in inspect.get("Mounts") or []],
        "gpus": list(_gpus(config, host)),
        "changes": {"count": len(record["changes"]), "paths": record["changes"]},
        "log": record["log"][-log_lines:] if log_lines else [],
        "log_lines": len(record["log"]),
        "notes": record["notes"],
        "look_further": list(_commands(record, entry, state)),
    }


def _end(record: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any] | None:
    """Tell of the last end; None for what has never ended."""
    begun, ended = _time(state.get("StartedAt")), _time(state.get("FinishedAt"))
    deaths = record["deaths"]
    if state.get("Status") in _RUNNING or ended is None:
        if not deaths and not state.get("Error"):
            return None
        if deaths:
            return _death(deaths[-1]) | {"error": state.get("Error") or None}
    code = state.get("ExitCode")
    known = deaths[-1] if deaths and deaths[-1]["exit_code"] == code else None
    uptime = (ended - begun).total_seconds() if begun and ended and ended >= begun else None
    return {
        "at": ended.isoformat() if ended else None,
        "exit_code": code,
        "words": words.exit_code(code),
        "oom": bool(state.get("OOMKilled") or (known and known["oom"])),
        "uptime_seconds": uptime,
        "intent": known["intent"] if known else None,
        "asked_for": _INTENTS[Intent(known["intent"])] if known else None,
        "error": state.get("Error") or None,
    }


def _death(death: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{key: death[key] for key in ("at", "exit_code", "oom", "uptime_seconds", "intent")},
        "words": words.exit_code(death["exit_code"]),
        "asked_for": _INTENTS[Intent(death["intent"])],
    }


def _health(state: Mapping[str, Any]) -> dict[str, Any] | None:
    health = _child(state, "Health")
    if health.get("Status") in {None, "", "none"}:
        return None
    probes = [
        {"at": each.get("End"), "exit_code": each.get("ExitCode"), "output": each.get("Output", "")}
        for each in health.get("Log") or []
        if isinstance(each, dict)
    ]
    return {"status": health["Status"], "failing_streak": health.get("FailingStreak", 0), "probes": probes}


def _mount(mount: Mapping[str, Any]) -> dict[str, Any]:
    kind = mount.get("Type", "bind")
    return {
        "type": kind,
        "source": mount.get("Name") if kind == "volume" else mount.get("Source"),
        "destination": mount.get("Destination"),
        "read_only": not mount.get("RW", True),
    }


def _gpus(config: Mapping[str, Any], host: Mapping[str, Any]) -> Iterator[str]:
    """Say in which ways it asked for GPUs."""
    for request in host.get("DeviceRequests") or []:
        devices = ", ".join(request.get("DeviceIDs") or []) or f"{request.get('Count', 0)}".replace("-1", "all")
        yield f"{devices} (requested of the driver {request.get('Driver') or 'nvidia'})"
    for variable in config.get("Env") or []:
        if variable.startswith("NVIDIA_VISIBLE_DEVICES=") and variable.partition("=")[2] not in {"", "void", "none"}:
            yield variable
    for device in host.get("Devices") or []:
        if str(device.get("PathOnHost", "")).startswith("/dev/nvidia"):
            yield device["PathOnHost"]


def _commands(record: Mapping[str, Any], entry: Entry | None, state: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Give the exact commands by which a person looks further."""
    name, config = shlex.quote(record["name"]), _child(record["inspect"], "Config")
    image = shlex.quote(config.get("Image", ""))
    if entry is None and state.get("Status") in _RUNNING:
        yield _command("a shell in it", f"docker exec -it {name} sh")
        yield _command("its processes", f"docker top {name}")
    if entry is None:
        yield _command("all that it wrote", f"docker logs --timestamps {name}")
        yield _command("what Docker knows of it", f"docker inspect {name}")
    if entry is None and state.get("Status") not in _RUNNING:
        copy = f"autopsy-{record['id'][:12]}"
        volumes = "".join(f" -v {shlex.quote(each)}" for each in _volumes(record["inspect"]))
        yield _command(
            "a shell in a copy of it, with its own files, its volumes read-only and no network",
            f"docker commit {name} {copy} && docker run --rm -it --network none{volumes} --entrypoint sh {copy}",
        )
        yield _command("afterwards", f"docker image rm {copy}")
    if image:
        yield _command("a shell in its image as it was built", f"docker run --rm -it --entrypoint sh {image}")
    if entry is not None:
        yield _command("all that was kept of it", f"zcat {shlex.quote(str(entry.path))} | python3 -m json.tool")


def _command(what: str, command: str) -> dict[str, str]:
    return {"what": what, "command": command}


def _volumes(inspect: Mapping[str, Any]) -> Iterator[str]:
    for mount in map(_mount, inspect.get("Mounts") or []):
        if mount["type"] in {"volume", "bind"} and mount["source"] and mount["destination"]:
            yield f"{mount['source']}:{mount['destination']}:ro"


def _child(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = parent.get(key)
    return found if isinstance(found, dict) else {}


def _time(text: object) -> datetime | None:
    """Read Docker's time; None for its year 1."""
    try:
        at = datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if at.year > 1 else None
