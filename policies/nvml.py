"""Whether the GPUs of this host can be read at all, where there are some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName, Unknown
from policies import gpu_words, words
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmlUnavailable:
    """Judge the one NVML of this host; needs no source, for it speaks when it fails."""

    needs: ClassVar[frozenset[SourceName]] = frozenset()
    alerts: ClassVar[tuple[str, ...]] = ("nvml-unavailable",)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield the one condition, once it was tried to read them."""
        source = facts.sources.get(SourceName.GPU)
        if not isinstance(source, Unknown):
            # Before the first look at them there is nothing to say: an alert of the last run stays as it is.
            if source is not None:
                yield _condition(ConditionState.OK, "it answers" if facts.gpus.devices else "there is nothing to read")
            return
        asked = [each for each in facts.containers if each.gpu_requests and each.state in ALIVE]
        expected = facts.gpus.seen > 0 or bool(asked)
        named = ", ".join(gpu_words.named(each, facts) for each in asked[:_MOST_NAMED])
        more = f" and {len(asked) - _MOST_NAMED} more" if len(asked) > _MOST_NAMED else ""
        yield _condition(
            ConditionState.BAD if expected else ConditionState.BETWEEN,
            f"{source.why}, since {words.moment(source.since)}",
            (f"Containers that asked for a GPU: {named}{more}",) if named else (),
        )


def _condition(state: ConditionState, reason: str, details: tuple[str, ...] = ()) -> Condition:
    return Condition(
        alert="nvml-unavailable",
        subject=gpu_words.NVML,
        severity=Severity.WARNING,
        state=state,
        reason=reason,
        details=details,
    )
