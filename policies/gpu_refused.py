"""Which containers asked for a GPU that this host's engine could not give them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import gpu_words, words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Facts

_REFUSED = "container-gpu-refused"
_QUOTED = 200
"""Characters of the engine's words."""
_TOOLKIT = "this engine has no runtime for GPUs: is the NVIDIA Container Toolkit installed and configured?"
_CAUSES = (
    ("could not select device driver", _TOOLKIT),
    ("unknown or invalid runtime name: nvidia", _TOOLKIT),
    ("unresolvable CDI devices", "this host has no CDI device of that name: is the CDI specification up to date?"),
    ("CDI device injection failed", "the engine could not hand over the CDI device"),
    ("nvidia-container-cli", "the NVIDIA Container Toolkit could not hand it over"),
)
"""What the engine writes, and what it means; the first that fits counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRefused:
    """Judge each container by the engine's own words about its last try to start."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER})
    alerts: ClassVar[tuple[str, ...]] = (_REFUSED,)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the condition for every container."""
        for container in speakers(facts.containers):
            if not audible(container.name, container.labels, facts.ignore):
                yield from muted(self.alerts, container.subject)
                continue
            cause = "" if container.state in ALIVE else _cause(container)
            told = gpu_words.owner(container, facts)
            yield Condition(
                alert=_REFUSED,
                subject=container.subject,
                severity=Severity.WARNING,
                state=ConditionState.BAD if cause else ConditionState.OK,
                reason=cause or "nothing was refused",
                details=(words.one_line(container.error, _QUOTED), *([f"Owner: {told}"] if told else []))
                if cause
                else (),
            )


def _cause(container: Container) -> str:
    # The engine empties `State.Error` at each good start, so words in it are about the newest try.
    return next((cause for sign, cause in _CAUSES if sign in container.error), "")
