"""Objects that another tool looks after: builders, clusters in containers, swarm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_BUILDX = "buildx_buildkit_"
"""What buildx calls the containers and volumes of its builders."""
_BUILDKIT = "moby/buildkit"
_CLUSTERS = {
    "io.x-k8s.kind.cluster": "a node of a kind cluster",
    "k3d.cluster": "a part of a k3d cluster",
    "name.minikube.sigs.k8s.io": "a part of a minikube cluster",
    # Without its init containers, which end long before the pod does, a pod may be begun anew.
    "io.kubernetes.pod.uid": "a part of a pod, which its kubelet removes by itself",
}
_SWARM = ("com.docker.swarm.task.id", "com.docker.swarm.service.id", "com.docker.stack.namespace")


def of(name: str, labels: Mapping[str, str], images: Iterable[str] = ()) -> str | None:
    """
    Say who looks after the object of this name and these labels; None when nobody does.

    `images` are the references of the image that it is, or was made from.
    """
    for label in _SWARM:
        if label in labels:
            return f"protected: a part of a swarm service, which removes it by itself (label {label})"
    for label, what in _CLUSTERS.items():
        if label in labels:
            return f"protected: {what} (label {label})"
    if name.startswith(_BUILDX):
        return "protected: a builder of buildx, with its build cache; docker buildx rm removes it"
    if any(_BUILDKIT in each and _BUILDKIT in references.spellings(each) for each in images):
        return "protected: BuildKit, which builders run"
    return None
