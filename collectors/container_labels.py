"""The labels of a container as a scrape shows them: an allow-list of the owner's, sanitised and cut."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from collectors.facts import COMPOSE_PROJECT, COMPOSE_SERVICE
from collectors.families import label_block, texts, with_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from collectors.facts import Container

MOST_CHARACTERS = 256
"""Of one label's value: it is repeated in every series of its container."""

_MOST_EXTENDED = 256
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_SHOWN_BY_US = frozenset({COMPOSE_PROJECT, COMPOSE_SERVICE})
_EXPECT = "shipkeeper.expect"
_EXPECTED = frozenset({"running", "batch"})


def owner_labels(labels: Mapping[str, str], allowed: Sequence[str], prefix: str) -> dict[str, str]:
    """
    Give the allowed labels by the name that Prometheus takes: `a.b-c` as `<prefix>a_b_c`.

    Of two that would bear one name the first in the list counts. A label that a container lacks is left out.
    """
    shown: dict[str, str] = {}
    for name in allowed:
        if value := labels.get(name):
            shown.setdefault(prefix + _NO_NAME.sub("_", name), _cut(value))
    return shown


def compose_names(labels: Mapping[str, str]) -> tuple[str, str]:
    """Give compose's project and service as metrics show them, each an empty string where there is none."""
    return _cut(labels.get(COMPOSE_PROJECT, "")), _cut(labels.get(COMPOSE_SERVICE, ""))


def _cut(value: str) -> str:
    return value if len(value) <= MOST_CHARACTERS else value[: MOST_CHARACTERS - 1] + "…"


def lasting_block(name: str, compose_project: str, compose_service: str) -> str:
    """Render the labels that stay the same when a container is recreated."""
    return label_block(name=name, compose_project=compose_project, compose_service=compose_service)


class Blocks:
    """The label blocks of one container, rendered once for as long as its inspect stays the same."""

    __slots__ = (
        "_cadvisor",
        "_extended",
        "allowed",
        "container",
        "health",
        "identity",
        "info",
        "lasting",
        "started",
        "state",
    )

    def __init__(self, container: Container, allowed: Sequence[str]) -> None:
        self.container = container
        self.allowed = allowed
        self.identity = label_block(id=container.id[:12], name=container.name)
        project, service = compose_names(container.labels)
        self.lasting = lasting_block(container.name, project, service)
        """The labels of the counters that outlive it."""
        self.state = with_label(self.identity, "state", container.state)
        self.health = with_label(self.identity, "status", container.health.status if container.health else "none")
        expected = container.labels.get(_EXPECT, "")
        self.info = label_block(
            id=container.id[:12],
            name=container.name,
            image=container.image,
            image_id=container.image_id,
            compose_project=project,
            compose_service=service,
            restart_policy=container.restart_policy.name if container.inspected else "",
            runtime=container.runtime,
            expect=expected if expected in _EXPECTED else "",
            **owner_labels(container.labels, [name for name in allowed if name not in _SHOWN_BY_US], "label_"),
        )
        started = container.started_at
        [self.started] = texts([started.timestamp() if started else None])
        """When it was last started, as a column holds it."""
        self._extended: dict[tuple[str, str, str], str] = {}
        self._cadvisor = ("", "")

    def cadvisor(self, path: str) -> str:
        """Give the labels that cAdvisor gives a container whose cgroup lies at `path` below the root."""
        known, block = self._cadvisor
        if known != path or not block:
            container = self.container
            block = label_block(
                id=f"/{path}",
                image=container.image,
                name=container.name,
                **owner_labels(container.labels, self.allowed, "container_label_"),
            )
            self._cadvisor = path, block  # at once: another scrape may read it just now
        return block

    def extended(self, block: str, label: str, value: str) -> str:
        """Give one of its blocks with one more label, rendered once."""
        key = (block, label, value)
        extended = self._extended.get(key)
        if extended is None:
            if len(self._extended) >= _MOST_EXTENDED:  # ever new interfaces, as of a Docker within the container
                self._extended.clear()
            extended = self._extended[key] = with_label(block, label, value)
        return extended
