"""Networks, volumes and the build cache on engines of every API version: watched, planned, removed one by one."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from daemon.disk_usage import UsageLane
from daemon.outcome import Outcome
from daemon.runs import RunState
from daemon.stock import take_stock
from daemon.storage import StorageLane
from policies.build_cache import BuildCache
from policies.networks import UnusedNetworks
from policies.volumes import UnusedVolumes
from tests.daemon.deck import DAY, Deck, outcomes
from tests.daemon.watchpost import HOUR, MINUTE, SECOND
from tests.lab.scripted_engine import Json, ScriptedEngine, stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from policies.policy import Removal

VERSIONS = ("1.41", "1.44", "1.48", "1.52")
GIB = 1024**3
POLICIES = {
    "networks": UnusedNetworks(),
    "volumes": UnusedVolumes(i_understand_data_loss=True),
    "build_cache": BuildCache(floor_bytes=GIB),
}
ANONYMOUS, NAMED, SCRATCH = "a" * 64, "pgdata", "scratch"
PRUNE = "records unused for 168 h"


def network_id(name: str) -> str:
    """Give the id of the network of this name."""
    return name.encode().hex().ljust(64, "0")


class Yard:
    """A deck whose engine has networks, volumes and a build cache, with the lanes that read them."""

    def __init__(self, engine: ScriptedEngine, folder: Path) -> None:
        self.engine = engine
        self.deck = Deck(engine, folder)
        self.deck.adopt(policies=POLICIES, grace=timedelta(0))
        self.lane = StorageLane(self.deck.post.connect, lambda: self.deck.post.view.engine, self.deck.clock)
        self.usage = UsageLane(self.deck.post.connect, lambda: self.deck.post.view.engine, self.deck.clock)
        for name in ("bridge", "host", "none", "left", "used", "joined"):
            self.network(name)
        self.volume(ANONYMOUS, labels={"com.docker.volume.anonymous": ""})
        self.volume(NAMED)
        self.volume(SCRATCH, labels={"shipkeeper.ephemeral": "true"})
        self.records(*[60 * DAY] * 3, HOUR)

    def network(self, name: str, **fields: Any) -> Json:
        """Add a network."""
        plain = {"Id": network_id(name), "Name": name, "Scope": "local", "Driver": "bridge", "Labels": None}
        self.engine.networks.append(plain | fields)
        return self.engine.networks[-1]

    def volume(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Add a volume."""
        plain = {"Name": name, "Driver": "local", "Scope": "local", "Labels": labels, "Options": None}
        self.engine.volumes.append(plain | {"CreatedAt": stamp(self.engine.now - 90 * DAY)})

    def records(self, *unused: timedelta, **fields: Any) -> None:
        """Let the build cache hold records of a GiB, last used so long ago."""
        found = [
            {"ID": f"r{n}", "Type": "regular", "InUse": False, "Shared": False, "Size": GIB, "UsageCount": 1}
            | {"CreatedAt": stamp(self.engine.now - age - HOUR), "LastUsedAt": stamp(self.engine.now - age)}
            | fields
            for n, age in enumerate(unused)
        ]
        self.engine.disk_usage = {"LayersSize": 0, "Images": [], "Containers": [], "Volumes": [], "BuildCache": found}
        if self.engine.api_version == "1.52":  # both shapes come for a while
            self.engine.disk_usage["BuildCacheUsage"] = {"TotalCount": len(found), "TotalSize": len(found) * GIB}

    def user(self, name: str, *, state: str = "exited", **extra: Any) -> None:
        """Add a container that refers to something."""
        begun = self.engine.now - DAY
        ends = {"finished_at": begun + HOUR} if state == "exited" else {}
        self.engine.add(name, state=state, started_at=begun, created_at=begun, inspect_extra=extra, **ends)

    def read(self) -> None:
        """Let the lanes read."""
        self.lane.read()
        self.usage.measure()
        now = self.deck.clock.now()
        self.deck.post.stock = take_stock(self.lane, self.usage.latest, None, now)

    def look(self, after: timedelta = SECOND) -> dict[str, Removal]:
        """Let time pass and the lanes read, and give what a cycle would remove, by name."""
        self.deck.post._advance(after)
        self.read()
        self.removals = self.deck.look()
        return {each.object.name: each for each in self.removals}

    def look_for_months(self) -> dict[str, Removal]:
        """Watch for long enough that everything that lies unused is old."""
        self.look()
        return self.look(40 * DAY)

    def enforce(self) -> None:
        """Let the executor carry out what the last cycle offers, and nothing else."""
        self.deck.executor.offer(self.removals)
        self.deck.executor.round()

    def sent(self) -> list[str]:
        """Give everything that was sent to change something, without the version of the API."""
        return [each.partition("/v")[2].partition("/")[2] for each in (*self.engine.deleted, *self.engine.pruned)]


@pytest.fixture
def yard(engine: ScriptedEngine, tmp_path: Path) -> Iterator[Yard]:
    made = Yard(engine, tmp_path)
    yield made
    made.deck.close()


@pytest.fixture(params=VERSIONS)
def each_yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    with ScriptedEngine(tmp_path / "docker.sock", request.param) as engine:
        made = Yard(engine, tmp_path)
        yield made
        made.deck.close()


USED: Json = {"NetworkSettings": {"Networks": {"used": {"NetworkID": network_id("used")}}}}
JOINED: Json = {"NetworkSettings": {"Networks": {"joined": {"NetworkID": ""}}}}


def test_observe_sends_only_gets_and_enforce_exactly_the_plan_and_the_one_prune(each_yard: Yard) -> None:
    yard = each_yard
    yard.deck.adopt(mode="observe")
    yard.user("web", **USED)
    yard.user("job", **JOINED)
    planned = yard.look_for_months()
    assert set(planned) == {"left", ANONYMOUS, SCRATCH, PRUNE}
    yard.enforce()
    assert yard.engine.non_get() == []
    yard.deck.adopt(mode="enforce")
    assert set(yard.look()) == set(planned)
    yard.enforce()
    run = yard.deck.runs.last()
    assert run is not None
    assert (run.state, outcomes(run)) == (RunState.DONE, dict.fromkeys(planned, Outcome.REMOVED))
    deletes, [prune] = yard.sent()[:-1], yard.sent()[-1:]
    assert set(deletes) == {f"networks/{network_id('left')}", f"volumes/{ANONYMOUS}", f"volumes/{SCRATCH}"}
    assert prune.startswith("build/prune?")
    assert len(yard.engine.non_get()) == 4
    assert not [sent for sent in yard.sent() if "force" in sent or "all=" in sent]
    assert [each["Name"] for each in yard.engine.volumes] == [NAMED]
    assert yard.deck.by_itself() is None


def test_the_floor_of_a_prune_goes_by_the_name_that_the_engine_knows(each_yard: Yard) -> None:
    yard = each_yard
    yard.look_for_months()
    yard.enforce()
    [sent] = yard.engine.pruned
    terms = {name: value for name, [value] in parse_qs(urlsplit(sent).query).items()}
    assert json.loads(terms.pop("filters")) == {"until": {"604800s": True}}
    floor = {"keep-storage": str(GIB)}
    if yard.engine.api_version in {"1.48", "1.52"}:
        floor["reserved-space"] = str(GIB)
    assert terms == floor


def test_what_a_prune_freed_is_told(yard: Yard) -> None:
    yard.look_for_months()
    yard.enforce()
    run = yard.deck.runs.last()
    assert run is not None
    assert [step.words for step in run.steps if step.removal.object.name == PRUNE] == ["3.0 GiB freed"]


def test_named_volumes_stay_whatever_the_api(each_yard: Yard) -> None:
    """Below API 1.42 a prune of volumes takes named ones: none is ever sent."""
    each_yard.look_for_months()
    each_yard.enforce()
    assert NAMED in [each["Name"] for each in each_yard.engine.volumes]
    assert not [path for _, path in each_yard.engine.non_get() if path in {"/volumes/prune", "/networks/prune"}]


def test_the_volume_of_a_stopped_compose_database_is_never_touched(each_yard: Yard) -> None:
    each_yard.user("shop-db-1", Mounts=[{"Type": "volume", "Name": name} for name in (NAMED, SCRATCH, ANONYMOUS)])
    each_yard.look_for_months()
    each_yard.enforce()
    assert [each["Name"] for each in each_yard.engine.volumes] == [ANONYMOUS, NAMED, SCRATCH]


def test_time_counts_only_while_we_watch(yard: Yard) -> None:
    yard.look()
    assert set(yard.look(6 * DAY)) == {PRUNE}
    assert set(yard.look(DAY)) == {"left", "used", "joined", PRUNE}


def test_a_use_between_two_looks_begins_the_time_anew(yard: Yard) -> None:
    yard.look_for_months()
    yard.deck.post.events.put(yard.engine.emit("connect", network_id("left"), kind="network"))
    yard.deck.post.events.put(yard.engine.emit("mount", ANONYMOUS, kind="volume"))
    assert set(yard.look()) == {"used", "joined", SCRATCH, PRUNE}


def test_what_belongs_to_a_compose_project_counts_from_the_end_of_its_last_container(yard: Yard) -> None:
    shop = {"com.docker.compose.project": "shop"}
    yard.network("shop_default", Labels=shop)
    yard.volume("shop_scratch", labels={"shipkeeper.ephemeral": "true"} | shop)
    database = yard.engine.add("shop-db-1", state="exited", labels=shop, finished_at=yard.engine.now)
    yard.look_for_months()
    yard.deck.post.remove(database)
    assert not {"shop_default", "shop_scratch"} & set(yard.look())
    assert {"shop_default", "shop_scratch"} <= set(yard.look_for_months())


def test_while_networks_cannot_be_read_none_is_forgotten_and_none_goes(yard: Yard) -> None:
    yard.look_for_months()
    yard.engine.statuses["/networks"] = 500
    assert "left" not in yard.look(MINUTE)
    yard.engine.statuses.clear()
    assert "left" in yard.look(MINUTE)


def planned(yard: Yard, name: str) -> Removal:
    return yard.look_for_months()[name]


def objection(yard: Yard, removal: Removal) -> tuple[Outcome, str]:
    answer = yard.deck.recheck.objection(removal)
    assert answer is not None
    return answer.outcome, answer.words


@pytest.mark.parametrize("name", ["left", SCRATCH, PRUNE])
def test_nothing_speaks_against_what_is_as_it_was(yard: Yard, name: str) -> None:
    assert yard.deck.recheck.objection(planned(yard, name)) is None


def test_a_network_that_something_joined_since_the_plan_stays(yard: Yard) -> None:
    removal = planned(yard, "left")
    found = next(each for each in yard.engine.networks if each["Name"] == "left")
    found["Containers"] = {"e" * 64: {"Name": "web"}}
    assert objection(yard, removal) == (Outcome.NOT_ELIGIBLE, "in use: 1 endpoint connected")
    del found["Containers"]
    yard.user("late", state="created", NetworkSettings={"Networks": {"left": {"NetworkID": ""}}})
    assert objection(yard, removal) == (Outcome.NOT_ELIGIBLE, "in use: container late")


def test_a_volume_that_something_mounts_since_the_plan_stays(yard: Yard) -> None:
    removal = planned(yard, SCRATCH)
    yard.user("late", Mounts=[{"Type": "volume", "Name": SCRATCH}])
    assert objection(yard, removal)[0] is Outcome.NOT_ELIGIBLE


def test_a_volume_that_was_made_anew_under_the_same_name_stays(yard: Yard) -> None:
    removal = planned(yard, SCRATCH)
    yard.engine.volumes[2]["CreatedAt"] = stamp(yard.engine.now)
    outcome, words = objection(yard, removal)
    assert (outcome, words.partition(":")[0]) == (Outcome.NOT_ELIGIBLE, "too recent")


def test_a_build_that_began_since_the_plan_postpones_the_prune(yard: Yard) -> None:
    removal = planned(yard, PRUNE)
    yard.engine.disk_usage["BuildCache"][3]["InUse"] = True
    assert objection(yard, removal) == (Outcome.NOT_ELIGIBLE, "in use: a build seems to run, it holds 1 record")


def test_other_terms_are_another_approval(yard: Yard) -> None:
    removal = planned(yard, PRUNE)
    yard.deck.adopt(policies=POLICIES | {"build_cache": BuildCache(floor_bytes=0)})
    assert objection(yard, removal)[0] is Outcome.NOT_ELIGIBLE


@pytest.mark.parametrize("name", ["left", SCRATCH])
def test_what_is_gone_needs_no_removal(yard: Yard, name: str) -> None:
    removal = planned(yard, name)
    yard.engine.networks.clear()
    yard.engine.volumes.clear()
    assert objection(yard, removal) == (Outcome.GONE, "")


@pytest.mark.parametrize(("name", "path"), [("left", "/networks/*"), (SCRATCH, "/volumes"), (PRUNE, "/system/df")])
@pytest.mark.parametrize("status", [403, 500])
def test_what_cannot_be_looked_at_again_is_not_removed(yard: Yard, name: str, path: str, status: int) -> None:
    removal = planned(yard, name)
    yard.engine.statuses[path] = status
    assert objection(yard, removal)[0] is Outcome.UNREAD


def test_what_docker_keeps_is_no_failure(yard: Yard) -> None:
    yard.look_for_months()
    yard.engine.statuses[f"/volumes/{SCRATCH}"] = 409
    yard.enforce()
    run = yard.deck.runs.last()
    assert run is not None
    assert outcomes(run)[SCRATCH] is Outcome.IN_USE
    assert run.state is RunState.DONE


def test_a_clock_that_is_set_between_plan_and_prune_makes_no_record_old(yard: Yard) -> None:
    yard.records(60 * DAY, HOUR, HOUR)
    yard.deck.adopt(mode="approve")
    yard.look()
    plan = yard.deck.plan()
    yard.deck.executor.round()
    run = yard.deck.executor.submit(plan, "ada")
    yard.deck.clock.step(365 * DAY)
    yard.deck.executor.round()
    assert outcomes(yard.deck.runs.run(run)) == {PRUNE: Outcome.NOT_ELIGIBLE}
    assert yard.engine.pruned == []


def test_a_wrong_wall_clock_left_wrong_makes_nothing_old(yard: Yard) -> None:
    """The clock jumps a year ahead and stays there: grace ends after 15 minutes, and still nothing goes."""
    yard.records(*[HOUR] * 4)
    yard.deck.adopt(policies=POLICIES | {"containers": yard.deck.post.options.policies["containers"]})
    yard.look()
    yard.deck.job("just-ended", ago=HOUR)
    yard.look(6 * MINUTE)
    yard.deck.clock.step(365 * DAY)
    for _ in range(8):
        assert yard.look(HOUR) == {}
    yard.user("ended-under-the-wrong-clock", Mounts=[])
    assert yard.look(6 * MINUTE) == {}
    later = yard.look(4 * DAY)
    assert {"just-ended", "ended-under-the-wrong-clock"} <= set(later), "days that we watched count as ever"
    assert PRUNE not in later
