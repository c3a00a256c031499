"""A host that people and faults work on while it is tidied, and what of it must not go at any moment."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from collectors.facts import COMPOSE_PROJECT, COMPOSE_SERVICE, EngineState, Protection
from daemon import proposals
from daemon.disk_usage import UsageLane
from daemon.docker_writer import AbandonedError, DockerWriter
from daemon.plans import make_plan
from daemon.stock import take_stock
from daemon.storage import StorageLane
from policies.bounds import Bounds
from policies.build_cache import BuildCache
from policies.containers import ExitedContainers
from policies.images import DanglingImages
from policies.images_unused import UnusedImages
from policies.networks import UnusedNetworks
from policies.volumes import UnusedVolumes
from tests.daemon.deck import DAY, Deck
from tests.daemon.watchpost import HOUR, MINUTE, Options, WatchPost
from tests.fakes.clock import NOW, FakeClock
from tests.lab.scripted_engine import NOISE, ScriptedContainer, ScriptedEngine, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from daemon.modes import Mode
    from daemon.outcome import Answer
    from daemon.plans import Plan
    from policies.policy import Policy
    from tests.lab.scripted_engine import Json

GIB: Final = 1024**3
WEEK: Final = 7 * DAY
GRACE: Final = 15 * MINUTE
UNUSED_FOR: Final = 3 * DAY
CAPS: Final = {"containers": 3, "images_unused": 2, "images_dangling": 2, "networks": 2, "volumes": 1}
POLICIES: Final[Mapping[str, Policy]] = {
    "containers": ExitedContainers(),
    "images_dangling": DanglingImages(),
    "images_unused": UnusedImages(unused_for=UNUSED_FOR, keep_last_per_repository=1),
    "networks": UnusedNetworks(),
    "volumes": UnusedVolumes(unused_for=WEEK, i_understand_data_loss=True),
    "build_cache": BuildCache(floor_bytes=GIB),
}
ALIVE: Final = frozenset({"running", "paused", "restarting", "removing"})
KEEP_UNTIL: Final = NOW + 60 * DAY
_GENERATED: Final = "a" * 64
"""By its form a name that nobody gave: engines before 23 mark their anonymous volumes in no other way."""
BELIEVED_AFTER: Final = WEEK
"""So long after a step of the wall clock the date of a `keep-until` is not believed to have come."""


class TidyHost:
    """
    The engine's own state is what is true; `since` adds since when each object has been of no use.

    Whenever something is about to go, `lost` notes what must not. `meanwhile` is done in the middle of a run, one
    after each removal; `in_the_window` just before a removal takes effect, where Docker itself has the last word.
    """

    def __init__(self, engine: ScriptedEngine, folder: Path, mode: Mode) -> None:
        self.engine = engine
        self.folder = folder
        self.mode: Mode = mode
        self.clock = FakeClock()
        self.since: dict[str, float] = {}
        self.lost: list[str] = []
        self.meanwhile: list[Callable[[], None]] = []
        self.in_the_window: list[Callable[[], None]] = []
        self.dies_after: int | None = None
        self.quiet_until = 0.0
        self.stepped_at: float | None = None
        self.protected: tuple[str, ...] = ()
        self.met = False
        self._made = 0
        self._listed: set[str] = set()
        self._pruned = 0
        engine.after_delete = self._judge
        engine.disk_usage = {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": []}
        self._begin_daemon()

    # What Shipkeeper does.

    def look(self, after: timedelta = timedelta(0)) -> None:
        """Let time pass and all lanes read, and do a cycle."""
        self.deck.post._advance(after)
        self.lane.read()
        self.usage.measure()
        self.deck.post.stock = take_stock(self.lane, self.usage.latest, None, self.clock.now())
        self.deck.post.cycle(timedelta(0))
        self._listed = set(self.engine.containers)
        self.met = True

    def plan(self) -> Plan | None:
        """Give what `shipkeeper plan` shows; `None` where there is nothing to remove, or no picture."""
        snapshot, book = self.deck.post.watch.snapshot, self.deck.post.watch.book
        if snapshot is None or not snapshot.docker_known:
            return None
        plan = make_plan(proposals.verdicts(snapshot.decision, book), book.mode, self.clock.now())
        return plan if plan.removals else None

    def restart(self, after: timedelta = MINUTE) -> None:
        """Let the daemon end and begin again on the same state; what it has not heard yet, Docker tells again."""
        self.deck.close()
        before = self.deck.post.events
        self._advance(after)
        self._begin_daemon()
        self.deck.post.events.put_unheard(before)
        self.deck.runs.interrupt()

    def protect(self, name: str) -> None:
        """Reload with another glob of what must stay."""
        self.protected = names = (name,) if name else ()
        self.deck.adopt(protection=Protection(containers=names, images=names, volumes=names, networks=names))

    def mend(self) -> None:
        """Let everything be well again; what was to happen in a run and did not, never does."""
        self.meanwhile, self.in_the_window, self.dies_after = [], [], None
        self.engine.statuses, self.engine.lost_answers, self.engine.babble = {}, set(), b""
        self.engine.relent()
        if self.deck.post.view.engine.state is not EngineState.UP:
            self.engine_comes()

    def close(self) -> None:
        """Let go of everything."""
        self.deck.close()

    # What people and the world do.

    def fails(self, path: str, status: int) -> None:
        """Let Docker answer one thing badly."""
        self.engine.statuses = {path: status}

    def answers_get_lost(self, path: str) -> None:
        """Let Docker do what it is asked for, and nobody hear of it."""
        self.engine.lost_answers = {path}

    def is_silent(self, path: str) -> None:
        """Let Docker leave a question without an answer."""
        self.engine.hung_paths.add(path)

    def babbles(self) -> None:
        """Let something answer that is no Docker."""
        self.engine.babble = NOISE

    def set_clock(self, span: timedelta) -> None:
        """Set the wall clock; the engine's goes with it."""
        self.clock.step(span)
        self.engine.now = max(self.engine.now, self.clock.now())
        self.stepped_at = self.clock.monotonic()
        self._hush()

    def engine_goes(self) -> None:
        """End the engine."""
        self.engine.stop()
        self.deck.post.view.set(EngineState.CRASHED, "it crashed")
        self._hush()

    def engine_comes(self) -> None:
        """Begin it again."""
        self.engine.listen()
        self.deck.post.view.set(EngineState.UP)
        self._hush()

    def leave(self, name: str, state: str, *, ago: timedelta = timedelta(0), code: int = 0, **more: Any) -> None:
        """Add a container, that ended so long ago if nobody has looked yet; `more` says what it refers to."""
        if self._named(name):
            return
        ago = timedelta(0) if self.met else ago
        image = more.get("image") and self._bearing(more["image"])
        at = self.engine.now - ago
        container = self.engine.add(
            name, state=state, created_at=at - HOUR, labels=more.get("labels", {}), exit_code=code
        )
        self._made += 1
        container.id, kept = f"{self._made:064x}", self.engine.containers.pop(container.id)
        self.engine.containers[container.id] = kept
        container.started_at = None if state == "created" else at - HOUR
        container.finished_at = None if state in ALIVE | {"created"} else at
        if state == "created":
            container.created_at = at
        container.image, container.image_id = (
            (more["image"], image["Id"]) if image else ("gone:1", f"sha256:{'f' * 64}")
        )
        joined = self._named(more.get("joins", ""))
        container.inspect_extra = _references(more, joined.id if joined else "")
        self.since[container.id] = self._mono() - ago.total_seconds()
        self._touch_references(container)
        self._tell("create", container)
        if container.started_at is not None:
            self._tell_joined(container)

    def start(self, name: str) -> None:
        """Start a container."""
        if (found := self._named(name)) and found.state not in ALIVE:
            found.state, found.started_at = "running", self.engine.now
            self._touch_references(found)
            self._tell_joined(found)
            self._tell("start", found)

    def end(self, name: str, code: int) -> None:
        """End a container."""
        if (found := self._named(name)) and found.state == "running":
            found.state, found.exit_code, found.finished_at = "exited", code, self.engine.now
            self.since[found.id] = self._mono()
            self._touch_references(found)
            self._tell("die", found, exitCode=str(code))

    def remove(self, name: str) -> None:
        """Let somebody else remove a container."""
        if found := self._named(name):
            self._touch_references(found)
            del self.engine.containers[found.id]
            self._tell("destroy", found)

    def rename(self, name: str) -> None:
        """Give a container another name, or its own again."""
        other = f"{name}-kept"
        if (found := self._named(name)) and not self._named(other):
            found.name = other

    def pull(self, tag: str, *, anew: bool) -> None:
        """Pull a tag: the image that bears it once more, or a newer one."""
        found = self._bearing(tag)
        if found is None or anew:
            found = self._image(tag, digests=True)
        self._tagged(found)
        self.deck.post.events.put(self.engine.emit("pull", tag, kind="image", name=tag))

    def build(self, tag: str, parent: str) -> None:
        """Build an image, perhaps on another one, and tag it."""
        base = self._bearing(parent)
        found = self._image(tag, digests=False, parent=base["Id"] if base and self.engine.api_version != "1.52" else "")
        self._tagged(found)

    def tag(self, source: str, target: str) -> None:
        """Give an image one more tag, taken from another one if that bore it."""
        if (found := self._bearing(source)) and source != target:
            self._take_tag(target)
            found["RepoTags"] = sorted([*(found["RepoTags"] or []), target])
            self._tagged(found)

    def untag(self, tag: str) -> None:
        """Take a tag away."""
        self._take_tag(tag)

    def network(self, name: str, labels: dict[str, str]) -> None:
        """Add a network."""
        if not any(each["Name"] == name for each in self.engine.networks):
            self._made += 1
            made: Json = {"Id": f"{self._made:064x}", "Name": name, "Scope": "local", "Driver": "bridge"}
            self.engine.networks.append(made | {"Labels": labels})
            self.since[made["Id"]] = self._mono()

    def connect(self, name: str) -> None:
        """Let something that no list shows join a network, or leave it again."""
        for each in self.engine.networks:
            if each["Name"] == name:
                each["Containers"] = {} if each.get("Containers") else {"e" * 64: {"Name": "plugin"}}
                self.since[each["Id"]] = self._mono()
                self._emit("connect", each["Id"], "network")

    def volume(self, name: str, labels: dict[str, str]) -> None:
        """Add a volume, or make one of this name anew if nothing mounts it."""
        if name in self.engine.mounted:
            return
        self.engine.volumes[:] = [each for each in self.engine.volumes if each["Name"] != name]
        made = {"Name": name, "Driver": "local", "Scope": "local", "Labels": labels, "Options": None}
        self._made += 1  # what is made within a second of another one bears another date all the same
        self.engine.volumes.append(made | {"CreatedAt": stamp(self.engine.now + self._made * timedelta(seconds=1))})
        self.since[name] = self._mono()

    def cache(self, name: str, *, in_use: bool) -> None:
        """Let a build use a record of the cache, one that it makes if need be, or end."""
        records = self.engine.disk_usage["BuildCache"]
        found = next((each for each in records if each["ID"] == name), None)
        if found is None:
            found = {"ID": name, "Type": "regular", "Shared": False, "Size": GIB, "UsageCount": 1}
            found["CreatedAt"] = stamp(self.engine.now)
            records.append(found)
        found |= {"InUse": in_use, "LastUsedAt": stamp(self.engine.now)}
        self.since[name] = self._mono()

    # What must not go.

    def why_container(self, container: ScriptedContainer) -> str:
        """Say why a container must stay at this moment; empty if it need not."""
        restart = container.inspect_extra["HostConfig"]["RestartPolicy"]["Name"]
        limit = {"created": DAY, "dead": HOUR}.get(container.state, 3 * DAY if container.exit_code == 0 else WEEK)
        if container.state in ALIVE:
            return f"it is {container.state}"
        if restart in {"always", "unless-stopped"}:
            return "it is a service"
        project = container.labels.get(COMPOSE_PROJECT)
        peers = [each for each in self.engine.containers.values() if each is not container]
        if any(f"container:{container.id}" == each.inspect_extra["HostConfig"]["NetworkMode"] for each in peers):
            return "another one is in its network"
        if project and any(each.labels.get(COMPOSE_PROJECT) == project and each.state in ALIVE for each in peers):
            return "its project runs"
        startable = (each for each in peers if each.state != "dead")
        last = not any(each.labels.get(COMPOSE_PROJECT) == project for each in startable)
        if project and last and container.state != "dead":
            return "it is the last of its service"
        return self._why(container.id, [container.name], container.labels, limit)

    def why_image(self, image: Json) -> str:
        """Say the same of an image."""
        tags: list[str] = image["RepoTags"] or []
        for each in self.engine.containers.values():
            mounted = [mount["Source"] for mount in each.inspect_extra["HostConfig"]["Mounts"]]
            if each.image_id == image["Id"] or each.image in tags or set(mounted) & set(tags):
                return f"container {each.name} refers to it"
        if any(each.get("ParentId") == image["Id"] for each in self.engine.images):
            return "another one is built on it"
        if tags and not image["RepoDigests"]:
            return "nobody could pull it again"
        for repository in {tag.partition(":")[0] for tag in tags}:
            others = (tag for each in self.engine.images if each is not image for tag in each["RepoTags"] or ())
            if not any(tag.partition(":")[0] == repository for tag in others):
                return f"it is the last of {repository}"
        return self._why(image["Id"], tags, image["Labels"], UNUSED_FOR if tags else DAY)

    def why_network(self, network: Json) -> str:
        """Say the same of a network."""
        if network.get("Containers"):
            return "something is connected to it"
        for each in self.engine.containers.values():
            if network["Name"] in each.inspect_extra["NetworkSettings"]["Networks"]:
                return f"container {each.name} is to join it"
        return self._why_project(network) or self._why(network["Id"], [network["Name"]], network["Labels"], WEEK)

    def why_volume(self, volume: Json) -> str:
        """Say the same of a volume."""
        name, labels = volume["Name"], volume["Labels"]
        if name in self.engine.mounted:
            return "a container mounts it"
        anonymous = "com.docker.volume.anonymous" in labels or (not labels and len(name) == len(_GENERATED))
        if not anonymous and "shipkeeper.ephemeral" not in labels:
            return "somebody gave it a name"
        return self._why_project(volume) or self._why(name, [name], labels, WEEK)

    @property
    def quiet(self) -> bool:
        """True while nothing may be removed without a person's asking."""
        return self._mono() < self.quiet_until

    def kinds(self) -> Counter[str]:
        """Give how many objects of each kind the last cycle judged."""
        snapshot = self.deck.post.watch.snapshot
        if snapshot is None:
            return Counter()
        judged = [
            *(each.object for each in snapshot.decision.removals),
            *(each.object for each in snapshot.decision.kept),
        ]
        return Counter(each.kind.value for each in judged)

    def objects(self) -> dict[str, Any]:
        """Give everything that there is, by its id; records of the build cache too."""
        records = {f"record {each['ID']}": each for each in self.engine.disk_usage["BuildCache"]}
        named = {each["Name"]: each for each in self.engine.volumes}
        kept = {each["Id"]: each for each in (*self.engine.images, *self.engine.networks)}
        return {**self.engine.containers, **named, **kept, **records}

    def _why(self, id_: str, names: list[str], labels: dict[str, str], limit: timedelta) -> str:
        if any(fnmatchcase(name, glob) for name in names for glob in self.protected):
            return "[protect] names it"
        return _why_owner(labels, self._idle(id_), self._true_now(), self._since_step()) or (
            "too young" if self._idle(id_) < limit else ""
        )

    def _why_project(self, thing: Json) -> str:
        project = (thing["Labels"] or {}).get(COMPOSE_PROJECT)
        used = project and any(each.labels.get(COMPOSE_PROJECT) == project for each in self.engine.containers.values())
        return "its project has a container" if used else ""

    def _judge(self) -> None:
        """Look at what is about to go."""
        if len(self.engine.pruned) == self._pruned:
            kind, name = unquote(urlsplit(self.engine.deleted[-1]).path).split("/", 3)[2:]
            for thing, why in self._meant(kind, name):
                if why:
                    self.lost.append(f"{kind} {name}: {why}")
                if isinstance(thing, ScriptedContainer):
                    self._touch_references(thing)
        elif records := self._young_records():
            self.lost.append(f"build cache: {records}")
        self._pruned = len(self.engine.pruned)
        if self.in_the_window:
            self.in_the_window.pop(0)()

    def _young_records(self) -> list[str]:
        """Give the records that the engine would take for old and that are not; it knows itself which are in use."""
        return [
            each["ID"]
            for each in self.engine.disk_usage["BuildCache"]
            if not each["InUse"]
            and self._idle(each["ID"]) < WEEK
            and each["LastUsedAt"] <= stamp(self.engine.now - WEEK)
        ]

    def _meant(self, kind: str, name: str) -> Iterator[tuple[Any, str]]:
        """Give the object that a DELETE names, and why it must stay."""
        match kind:
            case "containers" if name in self.engine.containers:
                yield self.engine.containers[name], self.why_container(self.engine.containers[name])
            case "images" if found := self.engine._image(name):
                yield found, self.why_image(found)
            case "networks" | "volumes":
                listed = self.engine.networks if kind == "networks" else self.engine.volumes
                why = self.why_network if kind == "networks" else self.why_volume
                yield from ((each, why(each)) for each in listed if name in {each.get("Id"), each["Name"]})
            case _:
                return

    def _begin_daemon(self) -> None:
        options = Options(patience=timedelta(seconds=0.2), policies=POLICIES)
        self.deck = Deck(self.engine, self.folder, self.mode, WatchPost(self.engine, self.folder, options, self.clock))
        self.deck.adopt(bounds={name: Bounds(max_removals=most) for name, most in CAPS.items()})
        self.deck.with_writer(_writer(self))
        self.protect(self.protected[0] if self.protected else "")
        self.lane = StorageLane(self.deck.post.connect, lambda: self.deck.post.view.engine, self.clock)
        self.usage = UsageLane(
            self.deck.post.connect, lambda: self.deck.post.view.engine, self.clock, timedelta(seconds=1)
        )
        self._hush()

    def _hush(self) -> None:
        self.quiet_until = self._mono() + GRACE.total_seconds()

    def _advance(self, span: timedelta) -> None:
        self.deck.post._advance(span)

    def _mono(self) -> float:
        return self.clock.monotonic()

    def _idle(self, id_: str) -> timedelta:
        return timedelta(seconds=self._mono() - self.since[id_])

    def _true_now(self) -> datetime:
        return NOW + timedelta(seconds=self._mono() - FakeClock().monotonic())

    def _since_step(self) -> timedelta | None:
        return None if self.stepped_at is None else timedelta(seconds=self._mono() - self.stepped_at)

    def _named(self, name: str) -> ScriptedContainer | None:
        return next((each for each in self.engine.containers.values() if each.name == name), None)

    def _bearing(self, tag: str) -> Json | None:
        return next((each for each in self.engine.images if tag in (each["RepoTags"] or ())), None)

    def _image(self, tag: str, *, digests: bool, parent: str = "") -> Json:
        """Add an image, which takes the tag from the one that bore it."""
        self._take_tag(tag)
        self._made += 1
        id_ = f"sha256:{self._made:064x}"
        known = [f"{tag.partition(':')[0]}@{id_}"] if digests else []
        labels = {"shipkeeper.protect": "true"} if tag == "pinned:1" else {}
        made: Json = {"Id": id_, "RepoTags": [tag], "RepoDigests": known, "Labels": labels, "ParentId": parent}
        made |= {"Created": 1_400_000_000, "Size": GIB, "SharedSize": -1, "Containers": -1}
        self.engine.images.append(made)
        return made

    def _tagged(self, image: Json) -> None:
        self.engine.last_tagged[image["Id"]] = stamp(self.engine.now)
        self._touch_image(image["Id"])

    def _take_tag(self, tag: str) -> None:
        if found := self._bearing(tag):
            found["RepoTags"] = [each for each in found["RepoTags"] if each != tag] or None
            if not found["RepoTags"]:
                self._touch_image(found["Id"])

    def _touch_references(self, container: ScriptedContainer) -> None:
        """
        Note that all it refers to is in use at this moment.

        Of the networks and volumes of a container that came, never ran, and went between two looks nothing tells,
        Docker's events neither: they were not in use.
        """
        mounts = container.inspect_extra["HostConfig"]["Mounts"]
        for image in self.engine.images:
            names = {container.image, *(each["Source"] for each in mounts)} & set(image["RepoTags"] or ())
            if names or image["Id"] == container.image_id:
                self._touch_image(image["Id"])
        if container.started_at is None and container.id not in self._listed:
            return
        used = set(container.inspect_extra["NetworkSettings"]["Networks"])
        project = container.labels.get(COMPOSE_PROJECT)
        for each in self.engine.networks:
            if each["Name"] in used or (project and (each["Labels"] or {}).get(COMPOSE_PROJECT) == project):
                self.since[each["Id"]] = self._mono()
        for mount in container.inspect_extra["Mounts"]:
            if mount["Type"] == "volume":
                self.since[mount["Name"]] = self._mono()

    def _touch_image(self, id_: str) -> None:
        while id_:
            self.since[id_] = self._mono()
            found = next((each for each in self.engine.images if each["Id"] == id_), None)
            id_ = found["ParentId"] if found else ""

    def _tell_joined(self, container: ScriptedContainer) -> None:
        """Send what Docker sends of the networks and volumes of a container that starts."""
        for each in self.engine.networks:
            if each["Name"] in container.inspect_extra["NetworkSettings"]["Networks"]:
                self._emit("connect", each["Id"], "network")
        for mount in container.inspect_extra["Mounts"]:
            if mount["Type"] == "volume":
                self._emit("mount", mount["Name"], "volume")

    def _emit(self, action: str, id_: str, kind: str) -> None:
        self.deck.post.events.put(self.engine.emit(action, id_, kind=kind))

    def _tell(self, action: str, container: ScriptedContainer, **attributes: str) -> None:
        self.deck.post.emit(action, container, image=container.image, **attributes)


def compose(project: str, service: str) -> dict[str, str]:
    """Give the labels of a container, network or volume of a compose project."""
    return {COMPOSE_PROJECT: project, COMPOSE_SERVICE: service}


def _writer(host: TidyHost) -> type[DockerWriter]:
    """Make what removes, and lets things happen between one object and the next."""

    class Meanwhile(DockerWriter):
        def _send(self, method: str, path: str, api_version: str) -> Answer:
            if host.dies_after == 0:
                raise AbandonedError
            answer = super()._send(method, path, api_version)
            if host.dies_after is not None:
                host.dies_after -= 1
            if host.meanwhile:
                host.meanwhile.pop(0)()
            return answer

    return Meanwhile


def _references(more: dict[str, Any], joined: str) -> Json:
    """Say in Docker's words what a container refers to."""
    mounts: list[Json] = []
    if more.get("volume"):
        mounts.append({"Type": "volume", "Name": more["volume"]})
    images = [{"Type": "image", "Source": more["mounted"]}] if more.get("mounted") else []
    networks = {more["network"]: {"NetworkID": ""}} if more.get("network") else {}
    return {
        "Mounts": [*mounts, *({"Type": "image", "Name": each["Source"]} for each in images)],
        "NetworkSettings": {"Networks": networks},
        "HostConfig": {
            "RestartPolicy": {"Name": more.get("restart", "no"), "MaximumRetryCount": 0},
            "NetworkMode": f"container:{joined}" if joined else "none",
            "Memory": 0,
            "Mounts": images,
        },
    }


def _why_owner(labels: dict[str, str], idle: timedelta, now: datetime, since_step: timedelta | None) -> str:
    if "shipkeeper.protect" in labels:
        return "its label protects it"
    until = labels.get("shipkeeper.keep-until")
    if until == "tomorrow":
        return "its keep-until cannot be read"
    sure = since_step is None or since_step < BELIEVED_AFTER
    if until and now < KEEP_UNTIL and sure:
        return "its keep-until has not come"
    return "its ttl has not passed" if labels.get("shipkeeper.ttl") == "90d" and idle < 90 * DAY else ""
