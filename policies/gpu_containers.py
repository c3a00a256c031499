"""Which containers lost a GPU while they run, or run a GPU's image without one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import gpu_words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from collectors.facts import Container, Facts

_LOST = "container-gpu-lost"
_WITHOUT = "container-gpu-missing"
_MIG = "MIG-"
_GPU = "GPU-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerGpus:
    """
    Judge each container by the GPUs that it was given, as far as that shows from outside.

    What does not show: device nodes that vanished inside a container while its GPU is well.
    """

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.GPU})
    alerts: ClassVar[tuple[str, ...]] = (_LOST, _WITHOUT)

    def decide(self, facts: Facts) -> Iterator[Condition]:
        """Yield both conditions for every container."""
        its = _gpus_of(facts)
        for container in speakers(facts.containers):
            if audible(container.name, container.labels, facts.ignore):
                yield _lost(container, its.get(container.id, frozenset()), facts)
                yield _without(container, facts, computes=container.id in its)
            else:
                yield from muted(self.alerts, container.subject)


def _gpus_of(facts: Facts) -> Mapping[str, Collection[str]]:
    """Give the UUIDs of the GPUs that each container uses, has reserved or was last seen on, by container id."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for each in facts.gpus.use:
        found[each.container_id].add(each.gpu_uuid)
    for hold in facts.gpus.last_held:
        found[hold.container_id].add(hold.gpu_uuid)
    return found


def _lost(container: Container, its: Collection[str], facts: Facts) -> Condition:
    gone = _gone(container, its, facts) if container.state in ALIVE else []
    well = "it can reach its GPUs" if container.state in ALIVE else f"not running: {container.state}"
    told = gpu_words.owner(container, facts)
    return Condition(
        alert=_LOST,
        subject=container.subject,
        severity=Severity.WARNING,
        state=ConditionState.BAD if gone else ConditionState.OK,
        reason=", ".join(gone) or well,
        details=(f"Owner: {told}",) if gone and told else (),
    )


def _gone(container: Container, its: Collection[str], facts: Facts) -> list[str]:
    """Name those of its GPUs that nobody can reach any more."""
    faulty = [f"GPU {gpu.index} cannot be reached" for gpu in facts.gpus.devices if gpu.fault and gpu.uuid in its]
    asked = [id_ for request in container.gpu_requests for id_ in request.ids]
    return faulty + [f"{id_} is not there any more" for id_ in asked if _vanished(id_, facts)]


def _vanished(asked: str, facts: Facts) -> bool:
    """Tell whether what was asked for by UUID, or the beginning of one, is listed no more; it was at the start."""
    if asked.startswith(_GPU):
        return not any(gpu.uuid.startswith(asked) for gpu in facts.gpus.devices)
    if asked.startswith(_MIG) and all(gpu.fault is None for gpu in facts.gpus.devices):
        return not any(part.uuid.startswith(asked) for gpu in facts.gpus.devices for part in gpu.instances)
    return False


def _without(container: Container, facts: Facts, *, computes: bool) -> Condition:
    has = container.privileged or bool(container.gpu_requests) or computes
    bad = container.state in ALIVE and container.gpu_image and not has and bool(facts.gpus.devices)
    told = gpu_words.owner(container, facts)
    return Condition(
        alert=_WITHOUT,
        subject=container.subject,
        severity=Severity.INFO,
        state=ConditionState.BAD if bad else ConditionState.OK,
        reason=f"{container.image} was made for NVIDIA GPUs, and it was started without --gpus"
        if bad
        else "it has what it needs",
        details=(f"Owner: {told}",) if bad and told else (),
    )
