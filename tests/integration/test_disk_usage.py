"""What takes the space of a disk, on real engines of every kind, against what Docker's own client is told."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from collectors.disk import Filesystems
from collectors.disk_places import DiskPlaces
from collectors.disk_usage import TYPES
from collectors.engine_api import Endpoint, EngineApi
from collectors.facts import DiskKind
from collectors.log_files import log_bytes
from policies.disk_causes import causes
from tests.fakes.clock import NOW
from tests.lab.fixtures import KINDS, engine_of
from tests.lab.images import IDLE
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from collectors.facts import Container, DiskUse, KindUsage
    from tests.lab.engine import PrivateEngine

MIB = 1 << 20
PATIENCE = timedelta(seconds=60)
CHATTER = ("sh", "-c", "seq 100000; echo the end; trap 'exit 0' TERM; sleep 1000000 & wait")


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[PrivateEngine]:
    """Give an engine with a disk to itself, and something of everything on it but a build cache."""
    with engine_of(request.param, data_root_image_mb=200) as engine:
        engine.import_image("unused:1", b"x" * (2 * MIB))
        engine.run(["dd", "if=/dev/zero", "of=/big", "bs=1M", "count=3"], name="ended")
        engine.run(["dd", "if=/dev/zero", "of=/data/big", "bs=1M", "count=5"], name="writer", binds=["kept:/data"])
        engine.api.create_volume("unused")
        for name, driver in (("json", "json-file"), ("local", "local")):
            engine.run(CHATTER, name=name, log_config={"type": driver, "config": {"max-size": "200k", "max-file": "3"}})
        engine.run(IDLE, name="silent", log_config={"type": "none"})
        for name in ("ended", "writer"):
            engine.api.wait(name)
        for name in ("json", "local"):
            wait_until(partial(_has_ended, engine, name), "the log to be written", 30)
        yield engine


def _has_ended(engine: PrivateEngine, name: str) -> bool:
    return b"the end" in engine.api.logs(name, tail=1)


@pytest.fixture
def api(host: PrivateEngine) -> Iterator[EngineApi]:
    client = EngineApi.connect(Endpoint(host=host.docker_host), PATIENCE)
    yield client
    client.close()


def told(api: EngineApi) -> Mapping[DiskKind, KindUsage]:
    """Ask for everything as the slow lane does."""
    if not api.usage_by_kind:
        return api.disk_usage(list(TYPES), PATIENCE, NOW)
    return {kind: usage for each in TYPES for kind, usage in api.disk_usage([each], PATIENCE, NOW).items()}


def logs(api: EngineApi, data_root: str) -> dict[str, int]:
    """Measure the log of every container."""
    found: list[Container | None] = [api.container(each.id) for each in api.containers()]
    return {each.name: log_bytes(each, data_root) or 0 for each in found if each}


def picture(host: PrivateEngine, api: EngineApi) -> tuple[DiskUse, ...]:
    """Put together what the daemon would."""
    engine = api.engine(NOW)
    places = DiskPlaces(Path("/proc"), lambda: engine)
    disks = Filesystems(places.places, patience=30).measure()
    assert disks.errors == {}
    return causes(engine, disks.filesystems, told(api), sum(logs(api, str(host.data_root)).values()))


def test_figures_are_those_of_dockers_own_client(host: PrivateEngine, api: EngineApi) -> None:
    theirs = host.api.df()
    usages = told(api)
    assert usages[DiskKind.IMAGES].size_bytes == theirs["LayersSize"]
    assert usages[DiskKind.IMAGES].count == len(theirs["Images"]) == 2
    assert usages[DiskKind.IMAGES].active == 1
    layers = usages[DiskKind.CONTAINER_LAYERS]
    assert layers.size_bytes == sum(each.get("SizeRw", 0) for each in theirs["Containers"])
    assert (layers.count, layers.active) == (5, 3)
    assert 3 * MIB <= (layers.reclaimable_bytes or 0) <= 4 * MIB
    volumes = usages[DiskKind.VOLUMES]
    assert volumes.size_bytes == sum(each["UsageData"]["Size"] for each in theirs["Volumes"])
    assert (volumes.count, volumes.active, len(volumes.volumes)) == (2, 1, 2)
    cache = usages[DiskKind.BUILD_CACHE]
    assert (cache.size_bytes, cache.count) == (0, 0)


def test_a_volume_is_as_old_in_the_figures_as_in_the_list(api: EngineApi) -> None:
    created = {each.name: each.created_at for each in api.volumes()}
    assert None not in created.values()
    assert {each.name: each.created_at for each in told(api)[DiskKind.VOLUMES].volumes} == created


def test_one_unused_image_would_give_back_at_least_what_only_it_holds(api: EngineApi) -> None:
    assert 2 * MIB < (told(api)[DiskKind.IMAGES].reclaimable_bytes or 0) < 8 * MIB


def test_logs_count_with_their_rotated_files_whatever_the_driver(host: PrivateEngine, api: EngineApi) -> None:
    found = logs(api, str(host.data_root))
    assert found["silent"] == 0
    # Three files of 200 kB at most, of which the local driver packs two.
    assert 400_000 < found["json"] < 700_000
    assert 50_000 < found["local"] < 700_000


def test_everything_on_the_disk_finds_its_cause(host: PrivateEngine, api: EngineApi) -> None:
    uses = {use.kind: use for use in picture(host, api)}
    assert set(uses) == set(DiskKind)
    assert {use.mountpoint for use in uses.values()} == {str(host.data_root)}
    assert uses[DiskKind.VOLUMES].size_bytes >= 5 * MIB
    assert uses[DiskKind.CONTAINER_LAYERS].size_bytes >= 3 * MIB
    assert uses[DiskKind.IMAGES].size_bytes >= 5 * MIB
    assert uses[DiskKind.OTHER].size_bytes < 8 * MIB


def test_a_file_that_is_not_dockers_is_the_rest(host: PrivateEngine, api: EngineApi) -> None:
    before = {use.kind: use.size_bytes for use in picture(host, api)}
    foreign = host.data_root / "not-dockers"
    foreign.write_bytes(bytes(20 * MIB))
    try:
        after = {use.kind: use.size_bytes for use in picture(host, api)}
    finally:
        foreign.unlink()
    assert 19 * MIB < after[DiskKind.OTHER] - before[DiskKind.OTHER] < 21 * MIB
