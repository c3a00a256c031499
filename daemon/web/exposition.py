"""The metrics page as one valid document, whatever a single collector does."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest

from collectors.families import Family, label_block, render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from daemon.clock import Clock

log = logging.getLogger(__name__)


class NotReadableError(Exception):
    """Raised by a collector whose source is known to be out of reach, which was said where that was found out."""


@dataclass(frozen=True, slots=True)
class NamedCollector:
    """A source of families under the name that `shipkeeper_collector_up` gives it."""

    name: str
    collect: Callable[[], Iterable[Family]]


def process_registry() -> CollectorRegistry:
    """Give a registry for the figures of our own process, without the `_created` series."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves this one untyped
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


class Exposition:
    """Collects from every collector, one after the other, at each call."""

    def __init__(self, collectors: Sequence[NamedCollector], registry: CollectorRegistry, clock: Clock) -> None:
        self._collectors = collectors
        self._registry = registry
        self._clock = clock
        self._succeeded: dict[str, float] = {}
        """By label block, in Unix time."""
        self._blocks = [label_block(collector=collector.name) for collector in collectors]

    def document(self) -> bytes:
        """Give the text document of this moment (`collectors.families.CONTENT_TYPE`)."""
        families: list[Family] = []
        up: list[tuple[str, float]] = []
        took: list[tuple[str, float]] = []
        for collector, block in zip(self._collectors, self._blocks, strict=True):
            started = self._clock.monotonic()
            collected = self._collected(collector, {family.name for family in families})
            took.append((block, self._clock.monotonic() - started))
            up.append((block, collected is not None))
            if collected is not None:
                self._succeeded[block] = self._clock.now().timestamp()
            families.extend(collected or ())
        families += (
            Family("shipkeeper_collector_up", "gauge", "1 if the collector delivered in this scrape.", up),
            Family("shipkeeper_collector_duration_seconds", "gauge", "What the collector took in this scrape.", took),
            Family(
                "shipkeeper_collector_last_success_timestamp_seconds",
                "gauge",
                "When the collector last delivered.",
                list(self._succeeded.items()),
            ),
        )
        return render(families) + generate_latest(self._registry)

    def _collected(self, collector: NamedCollector, taken: set[str]) -> list[Family] | None:
        try:
            families = list(collector.collect())
            names = [family.name for family in families]
            if len(taken.union(names)) < len(taken) + len(names):
                raise ValueError(f"the collector {collector.name} repeats a metric name")  # noqa: TRY301  one boundary
        except NotReadableError:
            return None
        except Exception:  # the scrape wrapper: a collector that fails costs its own series only
            log.exception("the collector %s failed", collector.name)
            return None
        return families
