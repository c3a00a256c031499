"""Which networks a cleanup would remove."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from collectors.facts import SourceName
from policies import knobs, words
from policies.policy import Kept, Removal
from policies.protection import Guard

if TYPE_CHECKING:
    from collections.abc import Iterator

    from collectors.facts import Facts
    from collectors.storage_facts import Network

_PREDEFINED = frozenset({"bridge", "host", "none", "docker_gwbridge", "ingress", "nat"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedNetworks:
    """Remove networks that no container in any state has referred to for as long as we have watched."""

    needs: ClassVar[frozenset[SourceName]] = frozenset({SourceName.DOCKER, SourceName.NETWORKS})
    alerts: ClassVar[tuple[str, ...]] = ()

    unused_for: timedelta = timedelta(hours=168)
    """Never longer than we have watched the network."""

    def __post_init__(self) -> None:
        knobs.longer_than_zero(unused_for=self.unused_for)

    def decide(self, facts: Facts) -> Iterator[Removal | Kept]:
        """Yield a removal or a reason to stay for every network."""
        guard = Guard.of(facts)
        for network in facts.networks:
            reason = _why_not_ours(network) or guard.why_network(
                network.id, network.name, network.labels, network.watched_for
            )
            yield Kept(object=network.ref, reason=reason) if reason else self._by_age(network)

    def _by_age(self, network: Network) -> Removal | Kept:
        idle = words.duration(network.watched_for)
        if network.watched_for < self.unused_for:
            kept_for = words.duration(self.unused_for)
            return Kept(object=network.ref, reason=f"too recent: seen unused for {idle}, kept for {kept_for}")
        return Removal(
            object=network.ref,
            size_bytes=0,
            filesystem="",
            policy="networks",
            reason=f"no container refers to it, seen unused for {idle}",
            idle=network.watched_for,
        )


def _why_not_ours(network: Network) -> str | None:
    """Say why this network is not one that a container's end leaves behind."""
    if network.name in _PREDEFINED:
        return "protected: Docker's own network"
    if network.ingress or network.scope != "local":
        return f"protected: a network of scope {network.scope or 'unknown'}, which other hosts may use"
    if network.config_only:
        return "in use: it holds the settings of other networks"
    if network.endpoints:
        return f"in use: {words.count(network.endpoints, 'endpoint')} connected"
    return None
