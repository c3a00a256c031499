"""How GPUs, and the containers on them, are said to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collectors.facts import COMPOSE_PROJECT, Subject, SubjectKind
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from collectors.facts import Container, Death, Facts
    from collectors.gpu_facts import Gpu, GpuHold, GpuUse

GPUS = Subject(SubjectKind.GPU, "gpus", "A GPU")
"""The host's GPUs as a number: whoever is missing and has no name any more."""
NVML = Subject(SubjectKind.GPU, "nvml", "NVML")
"""The library through which all of them are read."""
_MOST_NAMED = 10


def subject(gpu: Gpu) -> Subject:
    """Give a GPU as the subject of an alert: known by its UUID, called by its number."""
    # One that could not be read since we know of it has not told its UUID.
    return Subject(SubjectKind.GPU, gpu.uuid or f"#{gpu.index}", f"GPU {gpu.index}")


def identity(gpu: Gpu) -> str:
    """Say which piece of hardware it is: `NVIDIA H100 80GB HBM3 · PCI 0000:65:00.0 · GPU-8f6c…`."""
    return " · ".join(part for part in (gpu.name, f"PCI {gpu.pci_bus_id}" if gpu.pci_bus_id else "", gpu.uuid) if part)


def held(holds: Sequence[GpuHold]) -> str:
    """Say what somebody held: `GPU 0 (1.0 GiB) and GPU 2 (61.3 GiB)`."""
    each = [f"GPU {hold.gpu_index} ({_memory(hold.memory_bytes)})" for hold in holds]
    return " and ".join(part for part in (", ".join(each[:-1]), each[-1]) if part) if each else ""


def owner(container: Container | Death, facts: Facts) -> str:
    """Give whom its label names as its owner; empty if it names nobody."""
    return container.labels.get(facts.owner_label, "").strip() if facts.owner_label else ""


def left_behind(facts: Facts, gpu_uuid: str) -> str:
    """Name whoever ended in the last hour while it held memory of this GPU, the latest first; empty if nobody did."""
    ended: dict[Subject, str] = {}
    for death in reversed(facts.deaths):
        for hold in (each for each in death.gpus if each.gpu_uuid == gpu_uuid):
            when = f"at {words.moment(death.finished_at)}"
            ended.setdefault(death.subject, named(death, facts, _memory(hold.memory_bytes), when))
    told = ", ".join([*ended.values()][:_MOST_NAMED])
    return f"Ended in the last hour with memory of it: {told}" if told else ""


def affected(facts: Facts, gpu_uuid: str) -> str:
    """Say in a line which containers use this GPU, were last seen on it, or have it reserved; the largest first."""
    uses = [use for use in facts.gpus.use if use.gpu_uuid == gpu_uuid]
    last = [hold for hold in facts.gpus.last_held if hold.gpu_uuid == gpu_uuid]
    known = {container.id: container for container in facts.containers}
    on_it = ({use.container_id for use in uses} | {hold.container_id for hold in last}) & known.keys()
    if not on_it:
        return (
            "No container is known to use it." if facts.gpus.attributable else "Which containers use it is not known."
        )
    shares = {id_: _share(id_, uses, last) for id_ in on_it}
    order = sorted(on_it, key=lambda id_: (-(shares[id_][0] or 0), known[id_].name))
    told = [named(known[id_], facts, shares[id_][1]) for id_ in order[:_MOST_NAMED]]
    more = f" and {len(order) - _MOST_NAMED} more" if len(order) > _MOST_NAMED else ""
    return f"Containers on it: {', '.join(told)}{more}"


def named(container: Container | Death, facts: Facts, what: str = "", when: str = "") -> str:
    """Name a container, with what it has and whose it is: `trainer-3 (61.3 GiB, compose project nlp, owner vision)`."""
    its_project = container.labels.get(COMPOSE_PROJECT, "")
    project = f"compose project {its_project}" if its_project else ""
    name = owner(container, facts)
    told = ", ".join(part for part in (what, project, f"owner {name}" if name else "", when) if part)
    return f"{container.name} ({told})" if told else container.name


def _share(container_id: str, uses: Iterable[GpuUse], last: Iterable[GpuHold]) -> tuple[int | None, str]:
    """Give the memory that a container has there, with its words; of a GPU that cannot be read what it had."""
    mine = [use for use in uses if use.container_id == container_id]
    before = [hold.memory_bytes for hold in last if hold.container_id == container_id]
    if before:
        return _total(before), f"had {_memory(_total(before))}"
    if any(use.processes for use in mine):
        total = _total([use.memory_bytes for use in mine if use.processes])
        return total, _memory(total)
    return 0, "reserved"


def _total(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size or 0 for size in known)


def _memory(size_bytes: int | None) -> str:
    return "memory unknown" if size_bytes is None else words.size(size_bytes)
