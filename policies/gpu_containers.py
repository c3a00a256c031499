"""Which containers lost a GPU while they run, or run a GPU's image without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import gpu_words
from policies.muting import audible, muted
from policies.policy import Condition, ConditionState, Severity
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        for container in speakers(facts.containers):
            if audible(container.name, container.labels, facts.ignore):
                yield _lost(container, facts)
                yield _without(container, facts)
            else:
                yield from muted(self.alerts, container.subject)


def _lost(container: Container, facts: Facts) -> Condition:
    gone = _gone(container, facts) if container.state in ALIVE else []
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


def _gone(container: Container, facts: Facts) -> list[str]:
    """Name the GPUs that it uses, has reserved or was last seen on, and that nobody can reach any more."""
    gpus = facts.gpus
    its = {use.gpu_uuid for use in gpus.use if use.container_id == container.id}
    its |= {hold.gpu_uuid for hold in gpus.last_held if hold.container_id == container.id}
    faulty = [f"GPU {gpu.index} cannot be reached" for gpu in gpus.devices if gpu.fault and gpu.uuid in its]
    asked = [id_ for request in container.gpu_requests for id_ in request.ids]
    return faulty + [f"{id_} is not there any more" for id_ in asked if _vanished(id_, facts)]


def _vanished(asked: str, facts: Facts) -> bool:
    """Tell whether what was asked for by UUID, or the beginning of one, is listed no more; it was at the start."""
    if asked.startswith(_GPU):
        return not any(gpu.uuid.startswith(asked) for gpu in facts.gpus.devices)
    if asked.startswith(_MIG) and all(gpu.fault is None for gpu in facts.gpus.devices):
        return not any(part.uuid.startswith(asked) for gpu in facts.gpus.devices for part in gpu.instances)
    return False


def _without(container: Container, facts: Facts) -> Condition:
    has = (
        container.privileged
        or bool(container.gpu_requests)
        or any(use.container_id == container.id for use in facts.gpus.use)
    )
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
