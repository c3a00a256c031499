"""What can be judged of a few containers without a look at all the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from policies.container_states import ContainerStates
from policies.deaths import Crashes
from policies.gpu_refused import GpuRefused
from policies.health import ContainerHealth
from policies.health_turns import HealthFlapping
from policies.memory import ContainerMemory

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from collectors.facts import Facts
    from policies.policy import Policy

SINGLY: Final = (Crashes, ContainerHealth, HealthFlapping, ContainerStates, ContainerMemory, GpuRefused)
"""What these say of an identity hangs on nothing but its containers and what befell them."""


def asked_singly(policies: Mapping[str, Policy]) -> dict[str, Policy]:
    """Give those of the policies that can be asked about a few containers alone."""
    return {name: policy for name, policy in policies.items() if isinstance(policy, SINGLY)}


def only(facts: Facts, keys: Collection[str]) -> Facts:
    """Give the same facts with no other containers, deaths and kills than those of these identities."""
    return replace(
        facts,
        containers=tuple(each for each in facts.containers if each.subject.key in keys),
        deaths=tuple(each for each in facts.deaths if each.subject.key in keys),
        oom_kills=tuple(each for each in facts.oom_kills if each.subject.key in keys),
    )
