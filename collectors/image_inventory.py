"""Keeps the images of one engine current: list, compare, inspect only what is new."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from collectors.ask_each import ask_each
from collectors.engine_errors import EngineFailure, EngineForbidden, EngineProtocolError, EngineUnavailable
from collectors.facts import EngineState, Image

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from collectors.engine_api import EngineApi

log = logging.getLogger(__name__)

MOST_INSPECTED: Final = 256
"""So many images are inspected in one reading at most, dangling ones first; the others with the next ones."""
NO_IMAGES: Final[Mapping[str, Image]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageList:
    """What one reading showed."""

    images: Mapping[str, Image] = field(default_factory=lambda: NO_IMAGES)
    """By id, inspected but for the newest of many."""
    unread: str = ""
    """Why there are none, in words; empty when they could be read."""
    pending: bool = False
    """True while there are images that the next reading will inspect."""


class ImageInventory:
    """All images of the engine, as far as it was last asked; one thread uses it."""

    def __init__(self) -> None:
        self._known = ImageList()

    def read(self, api: EngineApi, progress: Callable[[], None] = lambda: None) -> ImageList:
        """
        List the images; `progress` is called, from any thread, after each one that had to be inspected.

        What cannot be read is told in the list; only an engine that is away is an error.
        """
        try:
            self._known = self._current(api, progress)
        except EngineForbidden as error:  # a feature that the owner switched off in the proxy, which was said
            self._known = ImageList(unread=str(error))
        except (EngineFailure, EngineProtocolError) as error:
            self._fail(str(error))
        except EngineUnavailable as error:
            if error.state is not EngineState.HUNG:
                raise
            self._fail("Docker does not list its images in time")
        return self._known

    def _fail(self, why: str) -> None:
        if why != self._known.unread:
            log.warning("images cannot be read: %s", why)
        self._known = ImageList(unread=why)

    def _current(self, api: EngineApi, progress: Callable[[], None]) -> ImageList:
        def inspect(client: EngineApi, id_: str) -> Image | None:
            found = _inspect(client, listed[id_])
            progress()
            return found

        listed = {image.id: image for image in api.images()}
        for id_, image in listed.items():
            known = self._known.images.get(id_)
            if known is not None and known.inspected and known.tags == image.tags:
                listed[id_] = replace(image, last_tagged_at=known.last_tagged_at, inspected=True)
        unseen = sorted((image for image in listed.values() if not image.inspected), key=lambda each: each.tags != ())
        asked = [image.id for image in unseen[:MOST_INSPECTED]]
        try:
            inspected = ask_each(api, asked, inspect)
        except EngineForbidden:
            asked, unseen, inspected = [], [], {}
        current = {**listed, **inspected}
        images = {id_: image for id_, image in current.items() if image is not None}
        return ImageList(images=MappingProxyType(images), pending=len(unseen) > len(asked))


def _inspect(api: EngineApi, listed: Image) -> Image | None:
    """Inspect one image; one that the engine fails over is known by the list alone, and the others are not lost."""
    try:
        return api.image(listed.id, listed)
    except (EngineFailure, EngineProtocolError) as error:
        log.debug("image %s cannot be inspected: %s", listed.id[:19], error)
        return listed
