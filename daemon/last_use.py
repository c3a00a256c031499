"""When each image was last used, as far as we saw it ourselves: by containers, and by events that name it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from daemon.records import readable
from policies import references
from policies.users import Users, short

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from collectors.engine_events import Event
    from collectors.facts import Facts, Image
    from daemon.steady import SteadyClock
    from daemon.store import Store

_RUNS = frozenset({"create", "start", "die"})
_ENDS = frozenset({"delete", "prune", "untag"})
"""What befalls an image without being a use of it, our own removals among them."""
_REGISTRY = frozenset({"pull", "push"})
_MOST_NAMES = 10_000
"""Names of events that wait for a list of the images; beyond, all images count as used."""
_STORED_EVERY = timedelta(minutes=10)
"""An image in use is used at every look: so old the date of it in the store may be."""


@dataclass(frozen=True, slots=True)
class _Use:
    at: datetime
    """By the steady clock."""
    tags: tuple[str, ...]
    pulled: bool
    stored_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Uses:
    """The ids of the images that a container `held` at this look, and of those that were used otherwise before it."""

    held: frozenset[str]
    touched: frozenset[str]


class LastUse:
    """
    Dates by the steady clock, so that no wall clock makes a use old. Used from the watch thread alone.

    The first sight of an image counts as a use, so do a new tag and the loss of its last one. A use of an image
    is one of all images that it is built on.
    """

    def __init__(self, store: Store, steady: SteadyClock) -> None:
        self._steady = steady
        rows = store.read("SELECT id, used_at, tags, pulled FROM image_uses", ())
        self._uses: dict[str, _Use] = dict(readable(rows, _load))
        self._told: set[str] = set()
        self._lost_count = False
        self._handled: dict[str, bool] = {}
        self._changed: set[str] = set()
        self._gone: set[str] = set()

    def hear(self, events: Iterable[Event]) -> None:
        """Take note of the images that events name: a container may have come and gone between two looks."""
        for event in events:
            if event.type == "container" and event.action in _RUNS:
                self._told.add(event.attributes.get("image", ""))
            elif event.type == "image" and event.action not in _ENDS:
                # At once, for a removal may be about to come; and once more when the images are listed, for until
                # then the name of a pull may be that of another image.
                self._told.add(event.id)
                self._handled[event.id] = self._handled.get(event.id, False) or event.action in _REGISTRY
        if len(self._told) + len(self._handled) > _MOST_NAMES:
            self._lost_count = True
            self._told.clear()
            self._handled.clear()

    def meet(self, facts: Facts, *, listed: bool) -> Uses:
        """
        Take note of all images there are, and say which are used.

        `listed` tells that the images are newer than the events heard so far.
        """
        now, images = self._steady.now(), {image.id: image for image in facts.images}
        pulled = self._pulled(facts.images) if listed else {}
        held = _with_ancestors(_in_containers(facts), images)
        met = images.keys() - self._uses.keys()
        touched = pulled.keys() | self._named_now(facts.images) | self._tagged(facts.images)
        if self._lost_count:
            touched, self._lost_count = set(images), False
        touched = _with_ancestors(touched, images) | (_with_ancestors(met, images) - met)
        for id_ in held | touched | met:
            self._use(images[id_], now, pulled=pulled.get(id_, False))
        for id_ in self._uses.keys() - images.keys():
            del self._uses[id_]
            self._changed.discard(id_)
            self._gone.add(id_)
        return Uses(frozenset(held), frozenset(touched - held))

    def dates(self) -> Mapping[str, tuple[datetime, bool]]:
        """Give by image id when it was used last, by the wall clock, and whether we saw it pulled or pushed."""
        # Moved all by the same: asked of the clocks for each, what was used at once would be microseconds apart.
        now = self._steady.now()
        ahead = self._steady.to_wall(now) - now
        return {id_: (use.at + ahead, use.pulled) for id_, use in self._uses.items()}

    @property
    def unsaved(self) -> bool:
        """True if a restart would go on from older dates: what was used just now would look as if it were not."""
        return bool(self._changed or self._gone)

    def save(self, connection: sqlite3.Connection) -> None:
        """Store what changed, inside the caller's transaction."""
        connection.executemany("DELETE FROM image_uses WHERE id = ?", [(id_,) for id_ in self._gone])
        uses = [(id_, self._uses[id_]) for id_ in self._changed]
        connection.executemany(
            "INSERT OR REPLACE INTO image_uses (id, used_at, tags, pulled) VALUES (?, ?, ?, ?)",
            [(id_, use.at.timestamp(), json.dumps(use.tags), use.pulled) for id_, use in uses],
        )

    def saved(self) -> None:
        """Note that the transaction of the last `save` was committed."""
        for id_ in self._changed:
            self._uses[id_] = replace(self._uses[id_], stored_at=self._uses[id_].at)
        self._changed.clear()
        self._gone.clear()

    def _pulled(self, images: Sequence[Image]) -> Mapping[str, bool]:
        """Give the images that an event named since the last list, and whether a registry has them."""
        handled, self._handled = self._handled, {}
        found = _named(handled, images)
        return {id_: handled[name] for name, id_ in found.items()}

    def _named_now(self, images: Sequence[Image]) -> set[str]:
        told, self._told = self._told, set()
        return set(_named(told, images).values())

    def _tagged(self, images: Sequence[Image]) -> set[str]:
        """Give those that bear a tag that they did not bear before, or none any more."""
        found = set()
        for image in images:
            known = self._uses.get(image.id)
            if known is None or known.tags == image.tags:
                continue
            if set(image.tags) - set(known.tags) or not image.tags:
                found.add(image.id)
            else:  # one tag less is no use, and a removal of an image with several goes that way
                self._uses[image.id] = replace(known, tags=image.tags)
                self._changed.add(image.id)
        return found

    def _use(self, image: Image, now: datetime, *, pulled: bool) -> None:
        known = self._uses.get(image.id)
        stored_at = known.stored_at if known else None
        use = _Use(now, image.tags, pulled or (known is not None and known.pulled), stored_at)
        self._uses[image.id] = use
        self._gone.discard(image.id)
        fresh = stored_at is not None and timedelta(0) <= now - stored_at < _STORED_EVERY
        if known is None or not fresh or (use.pulled, use.tags) != (known.pulled, known.tags):
            self._changed.add(image.id)


def _in_containers(facts: Facts) -> set[str]:
    """Give the ids of the images that a container refers to, in whatever state."""
    users = Users.of(facts)
    return {image.id for image in facts.images if users.container_of(image) or users.may_be_mounted_by(image)}


def _with_ancestors(ids: Iterable[str], images: Mapping[str, Image]) -> set[str]:
    """Add all images that these are built on, as far as they are there."""
    found: set[str] = set()
    for each in ids:
        id_ = each
        while id_ in images and id_ not in found:
            found.add(id_)
            id_ = images[id_].parent_id
    return found


def _named(names: Iterable[str], images: Sequence[Image]) -> Mapping[str, str]:
    """Give the id of the image that each of these names means; a name is an id, whole or short, or a reference."""
    if not (wanted := {name for name in names if name}):
        return {}
    index = {references.canonical(name): image.id for image in images for name in (*image.digests, *image.tags)}
    index |= {spelled: image.id for image in images for spelled in (short(image.id), image.id)}
    keys = {name: (name, short(name), references.canonical(name)) for name in wanted}
    return {name: index[key] for name, spelled in keys.items() for key in reversed(spelled) if key in index}


def _load(row: sqlite3.Row) -> tuple[str, _Use]:
    at = datetime.fromtimestamp(float(row["used_at"]), UTC)
    return row["id"], _Use(at, tuple(map(str, json.loads(row["tags"]))), bool(row["pulled"]), at)
