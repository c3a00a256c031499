"""What is known of each container's identity: who bears it now, and how its bearers ended lately."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectors.facts import ContainerState, Intent
from policies.muting import audible
from policies.subjects import ALIVE, speakers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Container, Death, Facts, OomKill, Subject


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """
    One identity, with what befell it in the last hour, oldest first.

    `container` is None when no container bears it any more. Deaths and kills that the owner muted are left out.
    """

    subject: Subject
    container: Container | None
    deaths: tuple[Death, ...]
    oom_kills: tuple[OomKill, ...]

    @property
    def alive(self) -> bool:
        """True while the container runs or is paused."""
        return self.container is not None and self.container.state in ALIVE

    @property
    def ended_well(self) -> bool:
        """True when the container that bears the name exited cleanly, or ended because somebody wanted it to."""
        container = self.container
        if container is None or self.alive:
            return False
        ends = [death for death in self.deaths if death.container_id == container.id]
        if ends:
            return ends[-1].intent is not Intent.NONE or ends[-1].exit_code == 0
        # It ended before the ledger's hour: who wanted another exit code than 0 is not known any more.
        return container.state is ContainerState.EXITED and container.exit_code == 0


def histories(facts: Facts) -> Iterator[History]:
    """Gather the ledger by identity: of every container that is there, then of those that are gone."""
    deaths: defaultdict[str, list[Death]] = defaultdict(list)
    oom_kills: defaultdict[str, list[OomKill]] = defaultdict(list)
    subjects: dict[str, Subject] = {}
    for death in facts.deaths:
        if audible(death.name, death.labels, facts.ignore):
            deaths[death.subject.key].append(death)
            subjects[death.subject.key] = death.subject
    for kill in facts.oom_kills:
        if audible(kill.subject.name, kill.labels, facts.ignore):
            oom_kills[kill.subject.key].append(kill)
            subjects.setdefault(kill.subject.key, kill.subject)
    present = {container.subject.key: container for container in speakers(facts.containers)}
    subjects |= {key: container.subject for key, container in present.items()}
    for key, subject in subjects.items():
        yield History(
            subject=subject,
            container=present.get(key),
            deaths=tuple(deaths[key]),
            oom_kills=tuple(oom_kills[key]),
        )
