"""All the ways in which people and Docker spell the name of one image."""

from __future__ import annotations

_HUB = "docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")


def spellings(reference: str) -> frozenset[str]:
    """
    Give every spelling of an image reference: with and without Docker Hub's prefix, with and without its tag.

    `nginx:1.25` is also `nginx`, `library/nginx:1.25` and `docker.io/library/nginx:1.25`; the port of
    `registry:5000/app` is no tag.
    """
    repository, version = _split(reference)
    names = {repository}
    registry, _, rest = repository.partition("/")
    if registry in _HUB_NAMES and rest:
        names |= _hub(rest)
    elif not _is_registry(registry) or not rest:
        names |= _hub(repository)
    return frozenset(names) | {f"{name}{version}" for name in names}


def canonical(reference: str) -> str:
    """Give the one full spelling of a reference: registry, path, and `:latest` where neither tag nor digest stands."""
    repository, version = _split(reference)
    registry, _, rest = repository.partition("/")
    if registry in _HUB_NAMES and rest:
        repository = rest
    elif rest and _is_registry(registry):
        return f"{repository}{version or ':latest'}"
    path = repository if "/" in repository else f"library/{repository}"
    return f"{_HUB}/{path}{version or ':latest'}"


def repository(reference: str) -> str:
    """Give the canonical spelling of a reference without its tag or digest."""
    return _split(canonical(reference))[0]


def _hub(path: str) -> set[str]:
    short = path.removeprefix("library/")
    official = "/" not in short
    paths = {short, f"library/{short}"} if official else {short}
    return paths | {f"{_HUB}/{each}" for each in paths}


def _is_registry(first: str) -> bool:
    """Tell a registry from a Docker Hub user as Docker does: by a dot, a port or `localhost`."""
    return "." in first or ":" in first or first == "localhost"


def _split(reference: str) -> tuple[str, str]:
    """Split into repository and `:tag` or `@digest` (a tag before a digest is dropped: the digest decides)."""
    name, at, digest = reference.partition("@")
    slash = name.rfind("/")
    colon = name.find(":", slash + 1)
    repository, tag = (name, "") if colon < 0 else (name[:colon], name[colon:])
    return repository, f"{at}{digest}" if at else tag
