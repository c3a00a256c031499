"""Looks at one planned object again just before it is removed, and asks its policy whether it still would."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from collectors.engine_errors import EngineError, EngineProtocolError, EngineUnavailable
from collectors.facts import ContainerState, DiskKind, SubjectKind
from collectors.inventory import from_summary
from daemon.grace import CLOCK_STEP
from daemon.outcome import Answer, Outcome
from policies import relief
from policies.bounds import ask
from policies.policy import Kept, Removal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from collectors.engine_api import ContainerSummary, EngineApi
    from collectors.facts import Container, Facts, Filesystem, Image, ObjectRef
    from daemon.clock import Clock
    from daemon.rulebook import Rulebook
    from daemon.snapshot import Snapshot
    from policies.gauges import Level

BUILD_CACHE_PATIENCE: Final = timedelta(seconds=30)
"""The engine looks into its books for it; a build that runs may make it wait."""


class Recheck:
    """
    For one thread, with a client of its own.

    What the engine says now, of this object by inspect and of all others by list, is laid over the newest
    snapshot; then the policy that planned the removal is asked again. What cannot be read is not removed.
    """

    def __init__(
        self,
        connect: Callable[[], EngineApi],
        snapshot: Callable[[], Snapshot | None],
        book: Callable[[], Rulebook],
        clock: Clock,
        measure: Callable[[str], Filesystem | None],
    ) -> None:
        """Take in `measure` what measures a filesystem now, by its mount point, as far as it can be known."""
        self._connect = connect
        self._snapshot = snapshot
        self._book = book
        self._clock = clock
        self._measure = measure
        self._api: EngineApi | None = None

    @property
    def api_version(self) -> str:
        """The version of the API that the last look settled on; empty before the first."""
        return self._api.api_version if self._api is not None else ""

    def objection(self, removal: Removal, *, forgotten: bool = False) -> Answer | None:
        """
        Say what speaks against this removal now; None when nothing does.

        An image whose last tag Docker has `forgotten`, unable to write that down, is judged as though it bore it.
        """
        snapshot = self._snapshot()
        if snapshot is None:
            return Answer(Outcome.UNREAD, "there is no picture of this host at present; the log says why")
        known = self._dated_now(snapshot)
        if known is None:
            return Answer(Outcome.NOT_ELIGIBLE, "the clock was set a moment ago")
        try:
            facts = self._refreshed(known, removal)
        except EngineError as error:
            if isinstance(error, EngineUnavailable):
                self.close()
            return Answer(Outcome.UNREAD, str(error))
        if facts is None:
            return Answer(Outcome.GONE)
        if forgotten:
            facts = _with_name(facts, removal.object)
        book = self._book()  # only now: another one may have come while Docker answered
        return _judged(book, replace(facts, protection=book.protection), removal)

    def look(self) -> Facts:
        """Give the newest facts with containers, images and full disks as they are now; EngineError if that fails."""
        snapshot = self._snapshot()
        if snapshot is None:
            raise EngineProtocolError("the last cycle", "left no picture of this host; the log says why")
        known = self._dated_now(snapshot)
        if known is None:
            raise EngineProtocolError("the last cycle", "is of another time: the clock was set a moment ago")
        try:
            api = self._connected()
            facts = self._with_containers(known, api)
            images = _images(facts, api.images(shared_sizes=True))
        except EngineUnavailable:
            self.close()
            raise
        return replace(facts, images=images, protection=self._book().protection)

    def level(self, mountpoint: str) -> Level | None:
        """Give the level of a filesystem now; None where it is not known."""
        snapshot, policy = self._snapshot(), self._book().pressure
        if snapshot is None or policy is None:
            return None
        known = next((each for each in snapshot.facts.filesystems if each.mountpoint == mountpoint), None)
        now = self._measured(known) if known else None
        return policy.level(now, snapshot.facts) if now else None

    def close(self) -> None:
        """Let go of the connection; the next look makes a new one."""
        if self._api is not None:
            self._api.close()
            self._api = None

    def _dated_now(self, snapshot: Snapshot) -> Facts | None:
        """Give its facts as of now; None if the clock was set since: how old things are is not known then."""
        now = snapshot.now(self._clock.monotonic())
        return None if abs(self._clock.now() - now) > CLOCK_STEP else replace(snapshot.facts, now=now)

    def _refreshed(self, facts: Facts, removal: Removal) -> Facts | None:
        """Give the facts as they are now; None when the object is gone. Raises EngineError."""
        api = self._connected()
        return _REFRESHERS[removal.object.kind](self._with_containers(facts, api), api, removal.object.id)

    def _connected(self) -> EngineApi:
        if self._api is None:
            self._api = self._connect()
        return self._api

    def _with_containers(self, facts: Facts, api: EngineApi) -> Facts:
        """Lay over the facts all containers and full disks as they are now. Raises EngineError."""
        return replace(
            facts,
            containers=_containers(facts, api.containers()),
            filesystems=tuple(
                now
                for each in facts.filesystems
                if (now := self._measured(each) if each.mountpoint in facts.pressed else each) is not None
            ),
        )

    def _measured(self, known: Filesystem) -> Filesystem | None:
        """Give a filesystem as it is now; None where that cannot be read: what it was says nothing of what it lacks."""
        now = self._measure(known.mountpoint)
        return replace(now, roles=known.roles, mountpoint=known.mountpoint) if now else None


def _with_container(facts: Facts, api: EngineApi, id_: str) -> Facts | None:
    """Lay its inspect over what the list told; None if it is gone."""
    known = next((each for each in facts.containers if each.id == id_), None)
    if known is None:
        return None
    found = api.container(id_)
    if found is None:
        # An engine that failed to remove a container lists it as dead, and may deny its inspect.
        return facts if known.state is ContainerState.DEAD else None
    same_end = found.finished_at == known.finished_at
    fresh = replace(found, size_bytes=known.size_bytes, stopped_for=known.stopped_for if same_end else timedelta(0))
    return replace(facts, containers=tuple(fresh if each is known else each for each in facts.containers))


def _containers(facts: Facts, listed: tuple[ContainerSummary, ...]) -> tuple[Container, ...]:
    """Lay the list over what is known of each container; one that is new counts as a user of its image."""
    known = {container.id: container for container in facts.containers}
    return tuple(
        replace(known[each.id], name=each.name, state=each.state, volumes=each.volumes, networks=each.networks)
        if each.id in known
        else from_summary(each)
        for each in listed
    )


def _with_images(facts: Facts, api: EngineApi, id_: str) -> Facts | None:
    """Lay the list of images over what is known, the one in question with its inspect; None if it is gone."""
    listed = {image.id: image for image in api.images()}
    image = api.image(id_, listed[id_]) if id_ in listed else None
    if image is None:
        return None
    return replace(facts, images=_images(facts, ({**listed, id_: image}).values()))


def _with_name(facts: Facts, ref: ObjectRef) -> Facts:
    """Give an image without a tag the name that it was planned under."""
    named = (replace(each, tags=(ref.name,)) if each.id == ref.id and not each.tags else each for each in facts.images)
    return replace(facts, images=tuple(named))


def _images(facts: Facts, listed: Iterable[Image]) -> tuple[Image, ...]:
    """Lay a list of images over what is known of each."""
    known = {image.id: image for image in facts.images}
    return tuple(_as_known(image, known[image.id]) if image.id in known else image for image in listed)


def _as_known(image: Image, known: Image) -> Image:
    """Add to an image what we have found out about it; of the one in question its inspect counts."""
    if not image.inspected:
        image = replace(image, last_tagged_at=known.last_tagged_at, inspected=known.inspected)
    return replace(
        image,
        watched_for=known.watched_for,
        last_used_at=known.last_used_at,
        pull_seen=known.pull_seen,
        unique_bytes=known.unique_bytes if image.unique_bytes is None else image.unique_bytes,
    )


def _with_network(facts: Facts, api: EngineApi, id_: str) -> Facts | None:
    """Lay its inspect over what is known, with what is connected to it now; None if it is gone."""
    found = api.network(id_)
    if found is None:
        return None
    return replace(
        facts,
        networks=tuple(
            replace(found, watched_for=each.watched_for) if each.id == id_ else each for each in facts.networks
        ),
    )


def _with_volumes(facts: Facts, api: EngineApi, id_: str) -> Facts | None:
    """Lay the list over what is known: one that was made anew under the name has not been watched. None if gone."""
    known = {each.key: each for each in facts.volumes}
    listed = api.volumes()
    fresh = tuple(
        replace(each, watched_for=known[each.key].watched_for, size_bytes=known[each.key].size_bytes)
        if each.key in known
        else each
        for each in listed
    )
    return replace(facts, volumes=fresh) if any(each.name == id_ for each in listed) else None


def _with_build_cache(facts: Facts, api: EngineApi, id_: str) -> Facts | None:
    """Ask for the records anew where that is cheap: an engine that measures everything for it would take minutes."""
    del id_
    if not api.usage_by_kind:
        return facts
    usage = api.disk_usage([DiskKind.BUILD_CACHE], BUILD_CACHE_PATIENCE, facts.now).get(DiskKind.BUILD_CACHE)
    if usage is None or usage.build_records is None:
        raise EngineProtocolError("GET /system/df", "does not tell of the build cache")
    return replace(facts, build_records=usage.build_records)


_REFRESHERS: Final[Mapping[SubjectKind, Callable[[Facts, EngineApi, str], Facts | None]]] = {
    SubjectKind.CONTAINER: _with_container,
    SubjectKind.IMAGE: _with_images,
    SubjectKind.NETWORK: _with_network,
    SubjectKind.VOLUME: _with_volumes,
    SubjectKind.BUILD_CACHE: _with_build_cache,
}


def _judged(book: Rulebook, facts: Facts, removal: Removal) -> Answer | None:
    if book.mode_of(removal.policy) == "observe":
        return Answer(Outcome.NOT_ELIGIBLE, "the mode is observe by now")
    policy = book.policies.get(removal.policy)
    if policy is None:
        return Answer(Outcome.NOT_ELIGIBLE, f"the policy {removal.policy} is switched off")
    if not facts.known(policy.needs):
        return Answer(Outcome.UNREAD, "what its policy needs to know cannot be read; see: shipkeeper status")
    for verdict in ask(policy, facts, book.bounds_of(removal.policy)):
        if isinstance(verdict, (Removal, Kept)) and _is_about(verdict, removal):
            return _by_verdict(verdict, removal)
    return Answer(Outcome.NOT_ELIGIBLE, "its policy does not speak of it any more")


def _is_about(verdict: Removal | Kept, removal: Removal) -> bool:
    if removal.policy == relief.NAME and removal.object.kind is SubjectKind.BUILD_CACHE:
        # What a prune keeps that is to free what is missing goes by what is missing at the moment.
        return verdict.object.kind is SubjectKind.BUILD_CACHE
    return verdict.object.id == removal.object.id


def _by_verdict(verdict: Removal | Kept, removal: Removal) -> Answer | None:
    if isinstance(verdict, Kept):
        return Answer(Outcome.NOT_ELIGIBLE, verdict.reason)
    # Another name is another approval: somebody may have renamed it to keep it.
    if verdict.object.name != removal.object.name:
        return Answer(Outcome.NOT_ELIGIBLE, f"it is called {verdict.object.name} by now")
    if verdict.tags != removal.tags:
        return Answer(Outcome.NOT_ELIGIBLE, f"its tags are {', '.join(verdict.tags or [verdict.object.name])} by now")
    return None
