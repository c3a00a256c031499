"""Keeps the containers of one engine current: list, compare, inspect only what differs."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from collectors import status_text
from collectors.ask_each import ask_each
from collectors.engine_errors import EngineFailure, EngineProtocolError
from collectors.facts import Container, ContainerState, HealthStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from collectors.engine_api import EngineApi
    from collectors.engine_parse import ContainerSummary

log = logging.getLogger(__name__)

SETTLES_WITHIN: Final = timedelta(seconds=60)
_CLOCK_SLACK: Final = timedelta(seconds=5)
"""The engine's clock against ours, and the time that a list is on its way."""
_GOING: Final = frozenset({ContainerState.REMOVING, ContainerState.DEAD})
"""Docker still lists such a container, and may answer its inspect with 404."""
_RESTLESS: Final = frozenset({ContainerState.CREATED, ContainerState.RESTARTING})
"""No list tells whether such a container has failed to start, or restarted once more."""


class Inventory:
    """
    All containers of the engine, as far as it was last asked.

    One thread uses it. All methods that ask raise as EngineApi does, and then what was known before stays. A
    container whose inspect fails is known by its entry in the list alone: it makes nothing else unknown.
    """

    def __init__(self) -> None:
        self._containers: Mapping[str, Container] = MappingProxyType({})
        self._failing: frozenset[str] = frozenset()
        self._compared_at: datetime | None = None

    @property
    def containers(self) -> Mapping[str, Container]:
        """The containers by id; this mapping does not change any more."""
        return self._containers

    @property
    def uninspected(self) -> frozenset[str]:
        """The ids of the containers that Docker lists and cannot inspect."""
        return self._failing

    def reconcile(self, api: EngineApi, now: datetime) -> None:
        """
        Compare everything with the engine: list, then inspect each container that may have changed.

        The first time everything is inspected. `now` is the wall time.
        """
        listed = api.containers()
        doubtful = [summary.id for summary in listed if self._may_have_changed(summary, now)]
        inspected = ask_each(api, doubtful, _inspect)
        current = {summary.id: self._current(summary, inspected) for summary in listed}
        self._containers = MappingProxyType({id_: found for id_, found in current.items() if found is not None})
        self._note_failing(inspected, frozenset())
        self._compared_at = now

    def look(self, api: EngineApi, container_ids: Collection[str]) -> None:
        """Inspect just these containers; those that are gone are dropped."""
        inspected = ask_each(api, container_ids, _inspect)
        current = dict(self._containers)
        for id_, found in inspected.items():
            if isinstance(found, Container):
                current[id_] = found
            elif (known := current.pop(id_, None)) and isinstance(found, _Unread):
                current[id_] = replace(known, inspected=False)
        self._containers = MappingProxyType(current)
        self._note_failing(inspected, self._failing - inspected.keys())

    def unsettled(self, now: datetime) -> set[str]:
        """
        Give the containers created in the last minute of which we do not know whether they started.

        A start that fails may send no event at all: look at these again soon.
        """
        return {
            container.id
            for container in self._containers.values()
            if container.state is ContainerState.CREATED
            and not container.error
            and abs(now - container.created_at) < SETTLES_WITHIN
        }

    def _may_have_changed(self, summary: ContainerSummary, now: datetime) -> bool:
        known = self._containers.get(summary.id)
        if known is None or self._compared_at is None or summary.state in _RESTLESS:
            return True
        if not known.inspected:
            return True
        if (known.name, known.state) != (summary.name, summary.state):
            return True
        if status_text.exit_code(summary.status) not in {None, known.exit_code}:
            return True
        # A paused container's text does not tell its health.
        if summary.state is ContainerState.RUNNING and status_text.health(summary.status) != _health(known):
            return True
        return summary.state not in _GOING and _may_be_another_run(known, summary, now, now - self._compared_at)

    def _current(self, summary: ContainerSummary, inspected: Mapping[str, _Inspected]) -> Container | None:
        """Give the container as we know it now; `None` if it went away after the list."""
        known = self._containers.get(summary.id)
        found = inspected.get(summary.id, known)
        if isinstance(found, _Unread):
            return from_summary(summary)
        if found is None and summary.state in _GOING:
            return replace(known, state=summary.state, pid=0) if known else from_summary(summary)
        return found

    def _note_failing(self, inspected: Mapping[str, _Inspected], others: frozenset[str]) -> None:
        failing = {id_: found.why for id_, found in inspected.items() if isinstance(found, _Unread)}
        for id_ in failing.keys() - self._failing:
            log.warning("container %s cannot be inspected, only its state is known: %s", id_[:12], failing[id_])
        self._failing = others | failing.keys()


@dataclass(frozen=True, slots=True)
class _Unread:
    """The answer to an inspect that says nothing about the container, and why."""

    why: str


_Inspected: TypeAlias = Container | _Unread | None
"""`None` for a container that is not there."""


def _inspect(api: EngineApi, container_id: str) -> _Inspected:
    """Inspect one container; an engine that fails over this one may well tell of the others."""
    try:
        return api.container(container_id)
    except (EngineFailure, EngineProtocolError) as error:
        return _Unread(str(error))


def _may_be_another_run(known: Container, summary: ContainerSummary, now: datetime, elapsed: timedelta) -> bool:
    """
    Tell whether the age in the list could belong to another run, or another end, than the one we know.

    A restart that no event told of happened after the last comparison. So the age must be the one that we
    expect, and too great to have begun since. What is in doubt is inspected.
    """
    began = known.finished_at if known.state is ContainerState.EXITED else known.started_at
    stated = status_text.age(summary.status)
    if began is None or stated is None:
        return True
    expected = now - began
    if not stated.overlaps(expected - _CLOCK_SLACK, expected + _CLOCK_SLACK):
        return True
    return stated.shortest <= elapsed + _CLOCK_SLACK


def _health(container: Container) -> HealthStatus | None:
    return container.health.status if container.health else None


def from_summary(summary: ContainerSummary) -> Container:
    """Give what the list alone tells of a container: it is there, in this state, and nobody has inspected it."""
    return Container(
        id=summary.id,
        name=summary.name,
        image=summary.image,
        image_id=summary.image_id,
        labels=summary.labels,
        state=summary.state,
        created_at=summary.created_at,
        volumes=summary.volumes,
        networks=summary.networks,
        mounted_images=summary.mounted_images,
        leans_on=summary.leans_on,
        inspected=False,
    )
