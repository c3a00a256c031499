"""Docker's JSON turned into facts: containers, images, the engine itself."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from collectors.facts import (
    Container,
    ContainerState,
    Engine,
    EngineState,
    Health,
    HealthStatus,
    Image,
    RestartPolicy,
)
from collectors.gpu_requests import gpu_requests, made_for_gpus
from collectors.json_fields import Fields, objects

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIRST_IMAGES: Final = datetime(2013, 1, 1, tzinfo=UTC)
"""Docker appeared in 2013: an image that claims to be older has a made-up build time."""
_HEALTH_OUTPUT: Final = 400
_STOP_SECONDS: Final = 10
_LONGEST_STOP: Final = 86_400
"""A stop timeout of -1 waits for ever; a day is as long as anybody asks about it."""
_SNAPSHOTTER: Final = "io.containerd.snapshotter.v1"
_NO_TAG: Final = "<none>:<none>"
_NO_DIGEST: Final = "<none>@<none>"
_OF_CONTAINER: Final = "container:"
_CHANGES: Final = {0: "modified", 1: "added", 2: "deleted"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSummary:
    """One container as the list shows it, which costs no inspect. `status` is Docker's text for people."""

    id: str
    name: str
    image: str
    image_id: str
    labels: Mapping[str, str]
    state: ContainerState
    status: str
    created_at: datetime
    volumes: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    mounted_images: tuple[str, ...] = ()
    leans_on: tuple[str, ...] = ()


def container_summaries(answer: object) -> tuple[ContainerSummary, ...]:
    """Read `GET /containers/json`."""
    return tuple(_summary(item) for item in objects(answer, "containers"))


def _summary(item: Fields) -> ContainerSummary:
    # Links show as further names of the form /other/alias; its own name has one slash only.
    names = [name.removeprefix("/") for name in item.texts("Names")]
    return ContainerSummary(
        id=_required(item, "Id"),
        name=next((name for name in names if "/" not in name), ""),
        image=item.text("Image"),
        image_id=item.text("ImageID"),
        labels=item.labels("Labels"),
        state=_state(item, "State"),
        status=item.text("Status"),
        created_at=_required_time(item, "Created", item.seconds("Created")),
        volumes=_mounted(item, "volume"),
        networks=_networks(item),
        mounted_images=_mounted(item, "image"),
        leans_on=_leans_on(item.child("HostConfig")),
    )


def container(answer: object) -> Container:
    """Read `GET /containers/{id}/json`; raises EngineProtocolError naming the field that is wrong."""
    item = Fields(answer, "container")
    state, config, host = item.child("State"), item.child("Config"), item.child("HostConfig")
    restart, log = host.child("RestartPolicy"), host.child("LogConfig")
    return Container(
        id=_required(item, "Id"),
        name=item.text("Name").removeprefix("/"),
        image=config.text("Image"),
        image_id=item.text("Image"),
        labels=config.labels("Labels"),
        state=_state(state, "Status"),
        health=_health(state),
        pid=state.number("Pid"),
        exit_code=state.number("ExitCode"),
        oom_killed=state.flag("OOMKilled"),
        error=state.text("Error"),
        created_at=_required_time(item, "Created", item.time("Created")),
        started_at=state.time("StartedAt"),
        finished_at=state.time("FinishedAt"),
        restart_count=item.number("RestartCount"),
        restart_policy=RestartPolicy(restart.text("Name") or "no", restart.number("MaximumRetryCount")),
        auto_remove=host.flag("AutoRemove"),
        stop_signal=signal_number(config.text("StopSignal")),
        stop_timeout=_stop_timeout(config),
        network_mode=host.text("NetworkMode"),
        cgroup_parent=host.text("CgroupParent"),
        log_path=item.text("LogPath"),
        log_driver=log.text("Type"),
        log_max_size=log.child("Config").text("max-size"),
        volumes=_mounted(item, "volume"),
        networks=_networks(item),
        mounted_images=tuple(each.text("Source") for each in host.children("Mounts") if each.text("Type") == "image"),
        leans_on=_leans_on(host),
        memory_limit_bytes=max(host.number("Memory"), 0) or None,
        runtime=host.text("Runtime"),
        privileged=host.flag("Privileged"),
        gpu_requests=gpu_requests(host, config),
        gpu_image=made_for_gpus(config),
    )


def _mounted(item: Fields, kind: str) -> tuple[str, ...]:
    """Give the names of the volumes, or the references of the images, that a container mounts."""
    mounts = item.children("Mounts")
    return tuple(sorted({each.text("Name") for each in mounts if each.text("Type") == kind} - {""}))


def _leans_on(host: Fields) -> tuple[str, ...]:
    """Give the other containers that one cannot start without, or not as it was; a list tells of the network alone."""
    spaces = (host.text(name) for name in ("NetworkMode", "IpcMode", "PidMode"))
    joined = (space.removeprefix(_OF_CONTAINER) for space in spaces if space.startswith(_OF_CONTAINER))
    lent = (each.partition(":")[0] for each in host.texts("VolumesFrom"))
    linked = (each.partition(":")[0].removeprefix("/") for each in host.texts("Links"))
    return tuple(sorted({*joined, *lent, *linked} - {""}))


def _networks(item: Fields) -> tuple[str, ...]:
    """Give names and ids: what was created and never started has no ids yet."""
    joined = item.child("NetworkSettings").child("Networks")
    names = joined.names()
    return tuple(sorted({*names, *(joined.child(name).text("NetworkID") for name in names)} - {""}))


def writable_size(answer: object) -> int | None:
    """Read the size of the writable layer, which is there only when it was asked for; -1 means unknown."""
    item = Fields(answer, "container")
    size = item.number("SizeRw")
    return size if item.has("SizeRw") and size >= 0 else None


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a container did to one path of its image: `kind` is modified, added or deleted."""

    kind: str
    path: str


def file_changes(answer: object, at_most: int) -> tuple[FileChange, ...]:
    """Read the first of `GET /containers/{id}/changes`; null means none."""
    found = objects(answer if answer is not None else [], "changes")[:at_most]
    return tuple(FileChange(_CHANGES.get(item.number("Kind"), "changed"), item.text("Path")) for item in found)


def images(answer: object) -> tuple[Image, ...]:
    """Read `GET /images/json`."""
    return tuple(_image(item) for item in objects(answer, "images"))


def _image(item: Fields) -> Image:
    created = item.seconds("Created")
    return Image(
        id=_required(item, "Id"),
        # Docker gives them in any order, and people approve what bears a name: it must not change by itself.
        tags=tuple(sorted(tag for tag in item.texts("RepoTags") if tag != _NO_TAG)),
        digests=tuple(digest for digest in item.texts("RepoDigests") if digest != _NO_DIGEST),
        labels=item.labels("Labels"),
        size_bytes=item.number("Size"),
        created_at=created if created is not None and created >= _FIRST_IMAGES else None,
        parent_id=item.text("ParentId"),
        inspected=False,
        unique_bytes=_unique_bytes(item),
    )


def _unique_bytes(item: Fields) -> int | None:
    """Give what no other image shares; Docker writes -1 where it was not asked to work that out."""
    shared = item.number("SharedSize") if item.has("SharedSize") else -1
    return max(item.number("Size") - shared, 0) if shared >= 0 else None


def last_tagged_at(answer: object) -> datetime | None:
    """Read from `GET /images/{id}/json` when the image was last tagged or pulled here."""
    return Fields(answer, "image").child("Metadata").time("LastTagTime")


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """What `GET /version` says: the engine's own version, the API versions that it speaks, and whether it is Podman."""

    engine: str
    api: str
    api_minimum: str
    podman: bool
    build: str = ""


def versions(answer: object) -> Versions:
    """Read `GET /version`."""
    item = Fields(answer, "version")
    return Versions(
        engine=item.text("Version"),
        api=_required(item, "ApiVersion"),
        api_minimum=item.text("MinAPIVersion"),
        podman=any("podman" in part.text("Name").lower() for part in item.children("Components")),
        build=item.text("GitCommit"),
    )


def engine(info: object, said: Versions, since: datetime) -> Engine:
    """Read `GET /info` of an engine that is up."""
    item = Fields(info, "info")
    return Engine(
        state=EngineState.UP,
        since=since,
        version=said.engine,
        build=said.build,
        api_version=said.api,
        data_root=item.text("DockerRootDir"),
        storage_driver=item.text("Driver"),
        containerd_store=["driver-type", _SNAPSHOTTER] in item.lists("DriverStatus"),
        containerd_address=item.child("Containerd").text("Address"),
        cgroup_driver=item.text("CgroupDriver"),
        cgroup_version=item.text("CgroupVersion"),
        runtimes=item.child("Runtimes").names(),
        default_runtime=item.text("DefaultRuntime"),
        cdi_devices=tuple(
            each.text("ID") for each in item.children("DiscoveredDevices") if each.text("Source") == "cdi"
        ),
        live_restore=item.flag("LiveRestoreEnabled"),
        swarm=item.child("Swarm").text("LocalNodeState") not in {"", "inactive"},
        podman=said.podman,
    )


def signal_number(text: str) -> int:
    """Give the number of a stop signal as images write it: `SIGTERM`, `term`, `15`, `RTMIN+3`; TERM if unknown."""
    name = text.upper().removeprefix("SIG")
    if name.isascii() and name.isdigit():
        return int(name[:3])
    base, plus, offset = name.partition("+")
    try:
        number = signal.Signals[f"SIG{base}"].value
    except KeyError:
        return signal.SIGTERM.value
    return number + int(offset[:2]) if plus and offset.isascii() and offset.isdigit() else number


def _health(state: Fields) -> Health | None:
    if not state.has("Health"):
        return None
    item = state.child("Health")
    status = item.text("Status")
    if status in {"", "none"}:  # Docker's word for a health check that is switched off; Podman's empty string
        return None
    try:
        known = HealthStatus(status)
    except ValueError as error:
        raise item.wrong("Status", f"is {status[:40]!r}, which we do not know") from error
    probes = item.children("Log")
    output = probes[-1].text("Output") if probes else ""
    return Health(known, item.number("FailingStreak"), output[:_HEALTH_OUTPUT])


def _state(item: Fields, name: str) -> ContainerState:
    text = item.text(name)
    # Podman's own words for states that Docker has no separate name for.
    text = {"configured": "created", "initialized": "created", "stopping": "running", "stopped": "exited"}.get(
        text, text
    )
    try:
        return ContainerState(text)
    except ValueError as error:
        raise item.wrong(name, f"is {text[:40]!r}, which we do not know") from error


def _stop_timeout(config: Fields) -> timedelta:
    seconds = config.number("StopTimeout") if config.has("StopTimeout") else _STOP_SECONDS
    return timedelta(seconds=seconds if 0 <= seconds <= _LONGEST_STOP else _LONGEST_STOP)


def _required(item: Fields, name: str) -> str:
    text = item.text(name)
    if not text:
        raise item.wrong(name, "is missing")
    return text


def _required_time(item: Fields, name: str, moment: datetime | None) -> datetime:
    if moment is None:
        raise item.wrong(name, "is missing")
    return moment
