from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from collectors.disk import Place
from collectors.disk_places import MOST_VOLUMES, DiskPlaces
from collectors.facts import Engine, EngineState
from tests.fakes.clock import NOW

STATE = Path("/var/lib/shipkeeper")
GRAPH = Engine(state=EngineState.UP, since=NOW, data_root="/data", storage_driver="overlay2")
CONTAINERD = replace(GRAPH, storage_driver="overlayfs", containerd_store=True)
SYSTEM = "/run/containerd/containerd.sock"
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs"
OURS = [Place("os-root", Path("/")), Place("state", STATE)]


def places(engine: Engine | None, root: Path) -> dict[str, Place]:
    """Give the places of a machine whose files lie below a folder, by role."""
    return {place.role: place for place in DiskPlaces(STATE, lambda: engine, root).places()}


def test_docker_keeps_data_volumes_and_logs_where_it_says(tmp_path: Path) -> None:
    found = places(GRAPH, tmp_path)
    assert list(found) == ["data-root", "volumes", "logs", "os-root", "state", "containerd-root"]
    assert found["volumes"] == Place("volumes", Path("/data/volumes"), (Path("/data"),), if_forbidden=Path("/data"))
    assert found["logs"] == Place("logs", Path("/data/containers"), (Path("/data"),), if_forbidden=Path("/data"))


def test_of_an_engine_elsewhere_nothing_is_in_reach(tmp_path: Path) -> None:
    assert list(places(None, tmp_path)) == ["os-root", "state"]


def test_an_engine_that_never_answered_has_no_data_root_yet(tmp_path: Path) -> None:
    silent = Engine(state=EngineState.STARTING, since=NOW)
    assert list(places(silent, tmp_path)) == ["os-root", "state", "containerd-root"]


def test_beside_dockers_own_store_containerds_root_may_be_missing(tmp_path: Path) -> None:
    assert places(GRAPH, tmp_path)["containerd-root"].optional


def test_layers_of_the_systems_containerd_lie_in_its_default_root(tmp_path: Path) -> None:
    root = tmp_path / "var/lib/containerd"
    found = places(replace(CONTAINERD, containerd_address=SYSTEM), tmp_path)["containerd-root"]
    assert found == Place("containerd-root", root / SNAPSHOTS, if_forbidden=root)


@pytest.mark.parametrize(
    ("settings", "root"),
    [('root = "/big/containerd"\n[grpc]\n', "/big/containerd"), ("root = 7", ""), ("no toml", ""), ('root = ""', "")],
)
def test_containerds_configuration_tells_its_root(settings: str, root: str, tmp_path: Path) -> None:
    file = tmp_path / "etc/containerd/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(settings)
    found = places(replace(CONTAINERD, containerd_address=SYSTEM), tmp_path)["containerd-root"]
    assert found.path == Path(root or tmp_path / "var/lib/containerd") / SNAPSHOTS


def test_the_engines_own_containerd_keeps_layers_in_the_data_root(tmp_path: Path) -> None:
    managed = replace(CONTAINERD, containerd_address="/var/run/docker/containerd/containerd.sock")
    assert places(managed, tmp_path)["containerd-root"].path == Path("/data/containerd/daemon") / SNAPSHOTS


def test_an_engine_that_does_not_name_its_containerd_may_have_either(tmp_path: Path) -> None:
    found = places(CONTAINERD, tmp_path)["containerd-root"]
    assert found.path == Path("/data/containerd/daemon") / SNAPSHOTS
    assert found.or_else == (tmp_path / "var/lib/containerd" / SNAPSHOTS,)


def test_a_volume_with_a_mount_of_its_own_is_a_place(tmp_path: Path) -> None:
    mountinfo(tmp_path, "/data/volumes/a/_data", r"/data/volumes/b\040c/_data", "/data/overlay2/x/merged", "/database")
    volumes = [place for place in DiskPlaces(STATE, lambda: GRAPH, tmp_path).places() if place.role == "volume"]
    assert [str(place.path) for place in volumes] == ["/data/volumes/a/_data", "/data/volumes/b c/_data"]


def test_volumes_on_a_mount_that_we_may_not_look_at_lie_nowhere_else(tmp_path: Path) -> None:
    mountinfo(tmp_path, "/data/volumes")
    found = places(GRAPH, tmp_path)
    assert found["volumes"].if_forbidden is None
    assert found["logs"].if_forbidden == Path("/data")


def test_no_more_volumes_are_looked_at_than_can_be(tmp_path: Path) -> None:
    mountinfo(tmp_path, *(f"/data/volumes/v{number}/_data" for number in range(3 * MOST_VOLUMES)))
    roles = [place.role for place in DiskPlaces(STATE, lambda: GRAPH, tmp_path).places()]
    assert roles.count("volume") == MOST_VOLUMES


def mountinfo(root: Path, *points: str) -> None:
    """Write what the kernel tells of mounts."""
    (root / "proc/self").mkdir(parents=True)
    lines = [f"{36 + n} 35 0:{n} / {point} rw,relatime shared:1 - nfs4 host:/x rw\n" for n, point in enumerate(points)]
    (root / "proc/self/mountinfo").write_text("".join(lines))
