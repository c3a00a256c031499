"""The one answer to "may this ever be removed?"."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, TypeAlias

from collectors.facts import COMPOSE_PROJECT, Container, ContainerState, SourceName, Unknown
from policies import ages, caretakers, owner_labels, references
from policies.users import Users, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from collectors.facts import Facts, Image

_ENDED = frozenset({ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD})
_Kind: TypeAlias = Literal["containers", "images", "volumes", "networks"]


@dataclass(frozen=True, slots=True)
class Guard:
    """
    What protects the objects of one snapshot; built once a cycle, asked for each object.

    Reasons open with `in use:` or `protected:`.
    """

    facts: Facts
    users: Users
    image_labels: Mapping[str, Mapping[str, str]]
    """By image id: a container inherits the labels of its image, so they are not its owner's words."""
    answers: dict[str, tuple[Container | Image, str | None]]
    """What was answered already of which very object, by its id: all policies ask the same."""

    @classmethod
    def of(cls, facts: Facts) -> Guard:
        """Index who uses what, once for each snapshot."""
        known = facts.derived.get("guard")
        if known is None:
            known = Users.of(facts), {image.id: image.labels for image in facts.images}, {}
            facts.derived["guard"] = known
        return cls(facts, *known)

    def why_protected(self, thing: Container | Image) -> str | None:
        """Say why this may not be removed; None when nothing speaks against it."""
        known = self.answers.get(thing.id)
        if known is None or known[0] is not thing:
            known = self.answers[thing.id] = thing, self._answer(thing)
        return known[1]

    def _answer(self, thing: Container | Image) -> str | None:
        if isinstance(thing, Container):
            return (
                _in_use(thing)
                or _unread(thing)
                or self.users.of_container(thing)
                or self._on_gpu(thing)
                or self._container(thing)
            )
        return self.users.of_image(thing) or self._image(thing)

    def why_volume(self, name: str, labels: Mapping[str, str], idle: timedelta | None) -> str | None:
        """Say the same of a volume that has been of no use for `idle`, None where nobody knows."""
        if user := self.users.volumes.get(name):
            return f"in use: container {user}"
        return self._stored("volumes", name, labels, idle)

    def why_network(self, id_: str, name: str, labels: Mapping[str, str], idle: timedelta | None) -> str | None:
        """Say the same of a network; one that a stopped container is to join is in use."""
        if user := self.users.networks.get(id_) or self.users.networks.get(name):
            return f"in use: container {user}"
        return self._stored("networks", name, labels, idle)

    def why_never_pushed(self, image: Image) -> str | None:
        """Say why nobody could pull this tagged image again; for policies that remove such images."""
        if not image.tags or image.pull_seen:
            return None
        if self.facts.engine.containerd_store:  # it gives a digest to what was only built, too
            return "protected: it may have been built here, the containerd store does not tell"
        return None if image.digests else "protected: built or loaded here and never pushed, nobody could pull it again"

    def own_ttl(self, container: Container) -> timedelta | None:
        """
        Give the `ttl` that the container's owner wrote on it: it takes the place of every other age.

        One that comes from the image was not the owner's word: it keeps, but lets nothing go sooner.
        """
        inherited = self.image_labels.get(container.image_id)
        if inherited is None or inherited.get(owner_labels.TTL) == container.labels.get(owner_labels.TTL):
            return None
        return owner_labels.ttl(container.labels)

    def _on_gpu(self, container: Container) -> str | None:
        """Say so if processes of it still hold memory of a GPU, as those stuck in its driver do, or may hold some."""
        if any(use.container_id == container.id and use.processes for use in self.facts.gpus.use):
            return "in use: its processes hold memory of a GPU"
        if container.gpu_requests and self._gpus_unread():
            return "protected: whether it still holds memory of a GPU cannot be read"
        return None

    def _gpus_unread(self) -> bool:
        """Tell whether there is a GPU of which nobody can say who holds it: that permits no removal."""
        if isinstance(self.facts.sources.get(SourceName.GPU), Unknown) or not self.facts.gpus.attributable:
            return True
        return any(gpu.fault is not None or gpu.processes is None for gpu in self.facts.gpus.devices)

    def _container(self, container: Container) -> str | None:
        idle = ages.since_end(container, self.facts.now)
        if reason := self._by_owner("containers", container.labels, idle, [container.name]):
            return reason
        if container.id == self.facts.own_container_id:
            return "protected: Shipkeeper itself"
        if reason := caretakers.of(container.name, container.labels, [container.image]):
            return reason
        if container.restart_policy.name in {"always", "unless-stopped"}:
            return f"protected: a service that somebody stopped (restart policy {container.restart_policy.name})"
        return self._by_podman()

    def _image(self, image: Image) -> str | None:
        idle = ages.unused_for(image, self.facts.now)
        names = _names(image) if self.facts.protection.images else ()
        return (
            self._by_owner("images", image.labels, idle, names)
            or caretakers.of("", image.labels, (*image.tags, *image.digests))
            or self._by_podman()
            or self._by_swarm()
        )

    def _stored(self, kind: _Kind, name: str, labels: Mapping[str, str], idle: timedelta | None) -> str | None:
        """Say what protects a volume or a network that no container refers to."""
        if reason := self._by_owner(kind, labels, idle, [name]):
            return reason
        project = labels.get(COMPOSE_PROJECT, "")
        if project in self.users.projects:
            return f"in use: compose project {project} has a container, {self.users.projects[project]}"
        return caretakers.of(name, labels) or self._by_podman() or self._by_swarm()

    def _by_owner(
        self, kind: _Kind, labels: Mapping[str, str], idle: timedelta | None, names: Iterable[str]
    ) -> str | None:
        """Say by which label of the object, or which glob of the configuration, its owner keeps it."""
        if reason := owner_labels.why_kept(labels, idle, self.facts.now, self.facts.clock_set_ago):
            return reason
        glob = _match(getattr(self.facts.protection, kind), names)
        return f'protected: [protect] {kind} names "{glob}"' if glob else None

    def _by_podman(self) -> str | None:
        return "protected: this is Podman, which is only observed" if self.facts.engine.podman else None

    def _by_swarm(self) -> str | None:
        if not self.facts.engine.described:
            return "protected: whether this host is a node of a swarm cannot be read (GET /info)"
        swarm = self.facts.engine.swarm
        return "protected: this host is a node of a swarm, whose services may refer to it" if swarm else None


def _in_use(container: Container) -> str | None:
    return None if container.state in _ENDED else f"in use: {container.state}"


def _unread(container: Container) -> str | None:
    return None if container.inspected else "protected: Docker cannot inspect it, so nobody knows what it is for"


def _match(globs: Iterable[str], names: Iterable[str]) -> str | None:
    """Give the first glob that fits a name; case never decides, so it protects rather too much than too little."""
    lowered = [name.lower() for name in names]
    return next((glob for glob in globs if any(fnmatchcase(name, glob.lower()) for name in lowered)), None)


def _names(image: Image) -> frozenset[str]:
    spelled = (references.spellings(name) for name in (*image.tags, *image.digests))
    return frozenset({image.id, image.id.removeprefix("sha256:"), short(image.id)}).union(*spelled)
