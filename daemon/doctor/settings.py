"""The engine's settings: `daemon.json` and the flags of dockerd, and which keys which version takes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NEWEST_KNOWN: Final = (28, 99)
"""Of which engines these tables speak, all taken from what 20.10 and 28.5 themselves refuse."""

_PLURAL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "add-runtime": "runtimes",
        "allow-nondistributable-artifact": "allow-nondistributable-artifacts",
        "authorization-plugin": "authorization-plugins",
        "cdi-spec-dir": "cdi-spec-dirs",
        "default-address-pool": "default-address-pools",
        "default-network-opt": "default-network-opts",
        "default-ulimit": "default-ulimits",
        "dns-opt": "dns-opts",
        "exec-opt": "exec-opts",
        "feature": "features",
        "host": "hosts",
        "insecure-registry": "insecure-registries",
        "label": "labels",
        "log-opt": "log-opts",
        "node-generic-resource": "node-generic-resources",
        "registry-mirror": "registry-mirrors",
        "storage-opt": "storage-opts",
    }
)
"""Flags that have another name in the file. Written there as on the command line they are taken, and do nothing."""
_SHORT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "D": "debug",
        "G": "group",
        "H": "hosts",
        "b": "bridge",
        "g": "graph",
        "l": "log-level",
        "s": "storage-driver",
        "v": "version",
    }
)
_SWITCH_NAMES: Final = """
allow-direct-routing cri-containerd debug experimental icc init ip-forward ip-forward-no-drop ip-masq ip6tables iptables
ipv6 live-restore no-new-privileges raw-logs rootless selinux-enabled tls tlsverify userland-proxy validate version help
"""
_KEY_NAMES: Final = """
bip bridge builder cgroup-parent config-file containerd containerd-namespace
containerd-plugins-namespace cpu-rt-period cpu-rt-runtime cri-containerd data-root debug default-cgroupns-mode
default-gateway default-gateway-v6 default-ipc-mode default-runtime default-shm-size deprecated-key-path dns
dns-search exec-root experimental fixed-cidr fixed-cidr-v6 group help host-gateway-ip icc init init-path ip ip-forward
ip-masq ip6tables iptables ipv6 live-restore log-driver log-level max-concurrent-downloads max-concurrent-uploads
max-download-attempts metrics-addr mtu network-control-plane-mtu no-new-privileges pidfile raw-logs rootless
seccomp-profile selinux-enabled shutdown-timeout storage-driver swarm-default-advertise-addr tls tlscacert tlscert
tlskey tlsverify userland-proxy userland-proxy-path userns-remap validate version
"""
_NEW_NAMES: Final = """
allow-direct-routing bip6 cdi-spec-dirs default-network-opts host-gateway-ips http-proxy https-proxy
ip-forward-no-drop log-format no-proxy proxies
"""
_SWITCHES: Final = frozenset(_SWITCH_NAMES.split())
"""Flags that need no value after them."""
_KNOWN: Final = frozenset(_KEY_NAMES.split()) | frozenset(_PLURAL.values())
_NEW: Final = frozenset(_NEW_NAMES.split())
"""Keys that 20.10 refuses."""
REMOVED: Final[Mapping[str, tuple[tuple[int, int], str]]] = MappingProxyType(
    {
        "graph": ((23, 0), '"data-root" has taken its place'),
        "cluster-store": ((23, 0), "it belonged to the old kind of swarm"),
        "cluster-store-opts": ((23, 0), "it belonged to the old kind of swarm"),
        "cluster-advertise": ((23, 0), "it belonged to the old kind of swarm"),
        "oom-score-adjust": ((25, 0), "set OOMScoreAdjust= in the unit of the service"),
        "api-cors-header": ((28, 0), "let a proxy before the engine send that header"),
        "disable-legacy-registry": ((19, 0), "the old registries it meant are gone"),
    }
)
"""Keys that engines from this version on refuse, with what to do instead."""
DEPRECATED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "allow-nondistributable-artifacts": "without effect since 28.0",
        "deprecated-key-path": "of an identity that nothing uses any more",
    }
)
KEYS: Final = _KNOWN | _NEW
"""Every key that some engine takes."""
_FIRST_WITH_NEW: Final = (23, 0)


_WHOLE: Final = frozenset(
    {"builder", "cluster-store-opts", "default-network-opts", "default-ulimits", "features", "log-opts", "runtimes"}
)
"""Keys whose value is an object."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a `daemon.json` says; `error` is why it cannot be read, `twice` names keys that stand in it twice."""

    values: Mapping[str, Any]
    error: str = ""
    twice: tuple[str, ...] = ()

    @property
    def named(self) -> Mapping[str, Any]:
        """
        The settings as the engine names them.

        Of an object under any other key than those that hold one it takes the keys within for settings: so `proxies`
        works, and `log-opt` ends with "max-size" as no option.
        """
        found: dict[str, Any] = {}
        for name, value in self.values.items():
            found |= value if isinstance(value, dict) and name not in _WHOLE else {name: value}
        return found


def parse(text: str | None) -> Settings:
    """Read the text of a `daemon.json`; no file and an empty one mean no settings."""
    twice: list[str] = []

    def collected(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice.extend(sorted({name for name in names if names.count(name) > 1}))
        return found

    if text is None or not text.strip():
        return Settings({})
    try:
        values = json.loads(text, object_pairs_hook=collected)
    except json.JSONDecodeError as error:
        return Settings({}, f"line {error.lineno}, column {error.colno}: {error.msg}")
    except (ValueError, RecursionError) as error:  # endless numbers and depths
        return Settings({}, str(error))
    if not isinstance(values, dict):
        return Settings({}, "it holds no object: the outermost characters have to be { and }")
    return Settings(values, twice=tuple(twice))


def flags(arguments: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Read the arguments of dockerd: by the key that each has in the file, its values in order."""
    found: dict[str, tuple[str, ...]] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("-"):
            continue
        key = _key(name)
        if not equals:
            takes_next = key not in _SWITCHES and rest and not rest[0].startswith("--")
            value = rest.pop(0) if takes_next else "true"
        found[key] = (*found.get(key, ()), value)
    return found


def _key(name: str) -> str:
    bare = name.lstrip("-")
    if not name.startswith("--"):
        return _SHORT.get(bare, bare)
    return _PLURAL.get(bare, bare)


def written_as_flag(names: Iterable[str]) -> Mapping[str, str]:
    """Give the keys that are written as the flag is, with the name that they should have."""
    return {name: _PLURAL[name] for name in names if name in _PLURAL}


def refused(name: str, version: tuple[int, int] | None) -> str:
    """Say why an engine of this version, `None` for any, refuses a key; empty if it takes it, or nobody knows."""
    if name in REMOVED:
        since, instead = REMOVED[name]
        gone = (version or NEWEST_KNOWN) >= since
        return f"removed in {since[0]}.{since[1]}: {instead}" if gone else ""
    if name in _NEW:
        return "unknown to an engine as old as this one" if version and version < _FIRST_WITH_NEW else ""
    if name in _KNOWN or name in _PLURAL or (version and version > NEWEST_KNOWN):
        return ""
    return "no such key"
