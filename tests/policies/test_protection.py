from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import (
    Container,
    ContainerState,
    Engine,
    EngineState,
    Image,
    Protection,
    RestartPolicy,
    SourceName,
    Unknown,
)
from policies.protection import Guard
from tests.policies.build import DAY, HOUR, NOW, compose, container, exited, facts, image, object_id
from tests.policies.build_gpu import ALL_GPUS, faulty, gpu, gpus, reserved, use

if TYPE_CHECKING:
    from collectors.gpu_facts import Gpus

UNTIL = "shipkeeper.keep-until"
TTL = "shipkeeper.ttl"


def why(thing: Container) -> str | None:
    return Guard.of(facts(containers=[thing])).why_protected(thing)


def why_image(reference: str, glob: str) -> str | None:
    thing = image(reference) if "@" not in reference else image(digests=(reference,))
    world = facts(images=[thing], protection=Protection(images=(glob,)))
    return Guard.of(world).why_protected(thing)


def labelled(label: str, value: str) -> Container:
    return exited(ago=9 * DAY, labels={label: value})


def test_what_changed_is_answered_anew() -> None:
    plain = exited(ago=9 * DAY)
    world = facts(containers=[plain])
    assert Guard.of(world).why_protected(plain) is None
    labelled = replace(plain, labels={"shipkeeper.protect": "true"})
    assert Guard.of(world).why_protected(labelled) == "protected: label shipkeeper.protect"
    named = replace(world, protection=Protection(containers=(plain.name,)))
    assert Guard.of(named).why_protected(plain) == f'protected: [protect] containers names "{plain.name}"'


def test_nothing_protects_a_plain_container_that_ended() -> None:
    assert why(exited(ago=9 * DAY)) is None


def test_what_docker_cannot_inspect_is_protected() -> None:
    assert (why(exited(ago=9 * DAY, inspected=False)) or "").startswith("protected: Docker cannot inspect it")


def test_a_container_whose_processes_hold_memory_of_a_gpu_is_in_use_though_it_ended() -> None:
    stuck = exited(ago=9 * DAY, state=ContainerState.DEAD)
    world = facts(containers=[stuck], gpus=gpus(gpu(), use=(use(stuck),)))
    assert Guard.of(world).why_protected(stuck) == "in use: its processes hold memory of a GPU"
    freed = facts(containers=[stuck], gpus=gpus(gpu(), use=(reserved(stuck),)))
    assert Guard.of(freed).why_protected(stuck) is None


def test_while_gpus_cannot_be_read_a_container_that_asked_for_one_is_kept() -> None:
    ended, plain = exited("asked", ago=9 * DAY, gpu_requests=(ALL_GPUS,)), exited("plain", ago=9 * DAY)
    world = facts(containers=[ended, plain])
    unread = replace(world, sources={**world.sources, SourceName.GPU: Unknown("the driver hangs", NOW)})
    assert Guard.of(world).why_protected(ended) is None
    assert (Guard.of(unread).why_protected(ended) or "").startswith("protected: whether it still holds memory")
    assert Guard.of(unread).why_protected(plain) is None


@pytest.mark.parametrize(
    "unread",
    [gpus(gpu(0), faulty(1)), gpus(gpu(0), replace(gpu(1), processes=None)), gpus(gpu(0), attributable=False)],
    ids=["one is lost", "of one nobody lists the processes", "processes cannot be matched"],
)
def test_while_nobody_can_tell_who_holds_a_gpu_a_container_that_asked_for_one_is_kept(unread: Gpus) -> None:
    ended, plain = exited("asked", ago=9 * DAY, gpu_requests=(ALL_GPUS,)), exited("plain", ago=9 * DAY)
    guard = Guard.of(facts(containers=[ended, plain], gpus=unread))
    assert (guard.why_protected(ended) or "").startswith("protected: whether it still holds memory")
    assert guard.why_protected(plain) is None


@pytest.mark.parametrize("value", ["true", "yes", "", "0", "no", "falsch"])
def test_any_value_of_the_protect_label_but_false_protects(value: str) -> None:
    assert why(labelled("shipkeeper.protect", value)) == "protected: label shipkeeper.protect"


@pytest.mark.parametrize("value", ["false", "False", " FALSE "])
def test_false_does_not_protect(value: str) -> None:
    assert why(labelled("shipkeeper.protect", value)) is None


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-23T16:02:01Z",
        "2026-11-23t16:02:01.123456789z",
        "2026-11-23T17:32:01+01:00",
    ],
)
def test_keep_until_protects_before_its_time(value: str) -> None:
    assert (why(labelled(UNTIL, value)) or "").startswith(f"protected: label {UNTIL}, until 2026-11-23 16:")


@pytest.mark.parametrize("value", ["2026-11-23T16:02:00Z", "2026-11-23T17:02:00+01:00", "2020-01-01T00:00:00Z"])
def test_keep_until_ends_at_its_time(value: str) -> None:
    assert why(labelled(UNTIL, value)) is None


def test_keep_until_does_not_end_by_a_clock_that_was_just_set_forward() -> None:
    kept = labelled(UNTIL, "2026-11-20")
    world = facts(containers=[kept], clock_set_ago=2 * DAY)
    assert Guard.of(world).why_protected(kept) == (
        f"protected: label {UNTIL}, and the clock, set forward 2 days ago, may be wrong"
    )
    assert Guard.of(replace(world, clock_set_ago=7 * DAY)).why_protected(kept) is None


def test_a_day_to_keep_until_lasts_until_it_has_ended_everywhere() -> None:
    assert why(labelled(UNTIL, "2026-11-22")) is None
    assert why(labelled(UNTIL, "2026-11-23")) == f"protected: label {UNTIL}, until 2026-11-24 12:00 UTC"


@pytest.mark.parametrize(
    "value",
    ["", "tomorrow", "2020-01-32", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z", "2020-W01-1", "٢020-01-01T00:00:00Z"],
)
def test_a_malformed_keep_until_protects_and_says_so(value: str) -> None:
    assert (
        why(labelled(UNTIL, value)) == f'protected: label {UNTIL} is malformed ("{value}" is no RFC 3339 date or time)'
    )


def test_a_ttl_keeps_that_long_after_the_end() -> None:
    assert why(exited(ago=HOUR, labels={TTL: "1h30m"})) == f"protected: label {TTL}, for 30 min more"
    assert why(exited(ago=2 * HOUR, labels={TTL: "1h30m"})) is None


def test_a_ttl_of_an_image_counts_as_long_as_we_watched_it() -> None:
    young = image(labels={TTL: "30d"}, watched_for=29 * DAY)
    assert Guard.of(facts()).why_protected(young) == f"protected: label {TTL}, for 1 day more"


def test_a_ttl_that_counts_from_an_unknown_time_protects() -> None:
    assert "not known since when" in (why(exited(ago=HOUR, finished_at=None, labels={TTL: "1s"})) or "")


@pytest.mark.parametrize("value", ["", "30", "-1h", "1 week", "1h-", "9" * 400 + "w", "9" * 30 + "w"])
def test_a_malformed_ttl_protects_and_says_so(value: str) -> None:
    assert "malformed" in (why(labelled(TTL, value)) or "")


@given(value=st.text(), label=st.sampled_from([UNTIL, TTL]))
def test_no_label_text_breaks_the_guard(value: str, label: str) -> None:
    reason = why(labelled(label, value))
    assert reason is None or reason.startswith("protected: label")


@pytest.mark.parametrize(
    ("reference", "glob"),
    [
        ("nginx:1.25", "nginx"),
        ("nginx:1.25", "nginx:1.25"),
        ("nginx:1.25", "nginx:1.*"),
        ("nginx:1.25", "docker.io/library/nginx"),
        ("nginx:1.25", "docker.io/nginx:1.25"),
        ("nginx:1.25", "library/nginx"),
        ("docker.io/library/nginx:1.25", "nginx"),
        ("index.docker.io/library/nginx:1.25", "nginx"),
        ("bitnami/redis:7", "docker.io/bitnami/*"),
        ("docker.io/bitnami/redis:7", "bitnami/redis"),
        ("registry:5000/team/app:v1", "registry:5000/team/app"),
        ("registry:5000/team/app", "registry:5000/*"),
        ("localhost/app:v1", "localhost/app"),
        ("NGINX:Stable", "nginx:STABLE"),
        ("nginx@sha256:abc", "nginx"),
        ("nginx:1.25@sha256:abc", "nginx@sha256:abc"),
        ("anything:1", "*"),
    ],
)
def test_an_image_glob_fits_however_the_image_is_spelled(reference: str, glob: str) -> None:
    assert why_image(reference, glob) == f'protected: [protect] images names "{glob}"'


@pytest.mark.parametrize(
    ("reference", "glob"),
    [
        ("nginx:1.25", "nginx:1.26"),
        ("nginx-exporter:1", "nginx"),
        ("quay.io/nginx:1", "nginx"),
        ("registry:5000/nginx:1", "registry"),
        ("registry:5000/nginx:1", "nginx"),
        ("bitnami/nginx:1", "nginx"),
    ],
)
def test_an_image_glob_does_not_fit_another_image(reference: str, glob: str) -> None:
    assert why_image(reference, glob) is None


def test_an_image_can_be_protected_by_its_id() -> None:
    thing = image()
    for glob in (thing.id, thing.id.removeprefix("sha256:"), thing.ref.name):
        world = facts(images=[thing], protection=Protection(images=(glob,)))
        assert Guard.of(world).why_protected(thing) is not None


def test_a_label_on_the_image_protects_the_image_not_its_name() -> None:
    world = facts(images=[image("a:1", labels={"shipkeeper.protect": "true"}), image("b:1")])
    guard = Guard.of(world)
    assert [guard.why_protected(each) for each in world.images] == ["protected: label shipkeeper.protect", None]


def test_a_running_container_is_in_use_before_it_is_protected() -> None:
    assert why(container(labels={"shipkeeper.protect": "true"})) == "in use: running"


def test_a_clock_that_went_back_protects_nothing_less() -> None:
    assert "not known since when" in (why(exited(ago=-DAY, labels={TTL: "1h"})) or "")


def test_what_any_container_in_any_state_refers_to_is_in_use() -> None:
    stopped = exited("db", ago=400 * DAY, image="old:1", volumes=("data",), networks=("net1", "shop_default"))
    mounts = exited("job", ago=DAY, mounted_images=("tools:2",))
    guard = Guard.of(facts(containers=[stopped, mounts]))
    assert guard.why_volume("data", {}, DAY) == "in use: container db"
    assert guard.why_network("net1", "shop_default", {}, DAY) == "in use: container db"
    assert guard.why_network("net9", "shop_default", {}, DAY) == "in use: container db"
    assert guard.why_protected(image("old:1")) == "in use: container db"
    assert guard.why_protected(image("tools:2")) == "in use: container job"


def test_an_image_that_is_mounted_by_the_beginning_of_its_id_is_in_use() -> None:
    tools = image("tools:2")
    mounts = exited("job", ago=DAY, mounted_images=(tools.id.removeprefix("sha256:")[:5],))
    guard = Guard.of(facts(containers=[mounts], images=[tools, image("other:1")]))
    assert guard.why_protected(tools) == "in use: container job"
    assert guard.why_protected(image("other:1")) is None


@pytest.mark.parametrize(
    ("bearers", "may"),
    [
        ([image("tools:2", name="new", last_tagged_at=NOW - HOUR)], True),
        ([image("tools:2", name="new", last_tagged_at=NOW - 3 * DAY)], False),
        ([image("tools:2", name="new", last_tagged_at=None)], True),
        ([], True),
    ],
    ids=["tagged since", "tagged before", "nobody knows when", "nobody bears it"],
)
def test_an_image_that_a_container_may_mount_by_a_name_that_moved_on_is_in_use(bearers: list[Image], may: bool) -> None:  # noqa: FBT001
    old = image(name="old", last_tagged_at=NOW - 5 * DAY)
    later = image(name="later", last_tagged_at=NOW - HOUR)
    user = container("web", created_at=NOW - 2 * DAY, mounted_images=("tools:2",))
    guard = Guard.of(facts(containers=[user], images=[*bearers, old, later]))
    reason = "in use: container web may mount it, by a name that has moved on since"
    assert guard.why_protected(old) == (reason if may else None)
    assert guard.why_protected(later) is None, "it came after the container"


@pytest.mark.parametrize("spelled", ["vpn", object_id("vpn"), object_id("vpn")[:4]], ids=["name", "id", "short id"])
@pytest.mark.parametrize("state", [ContainerState.RUNNING, ContainerState.EXITED])
def test_a_container_on_which_another_one_leans_is_in_use(spelled: str, state: ContainerState) -> None:
    vpn, other = exited("vpn", ago=30 * DAY, code=1), exited("other", ago=30 * DAY)
    app = exited("app", ago=30 * DAY, state=state, leans_on=(spelled,))
    guard = Guard.of(facts(containers=[vpn, app, other]))
    assert guard.why_protected(vpn) == "in use: container app leans on it"
    assert guard.why_protected(other) is None


def test_a_name_that_looks_like_the_beginning_of_an_id_is_a_name_where_there_is_one() -> None:
    digit = object_id("other")[0]
    named, other = exited(digit, ago=30 * DAY), exited("other", ago=30 * DAY)
    guard = Guard.of(facts(containers=[named, other, exited("app", ago=DAY, leans_on=(digit,))]))
    assert guard.why_protected(named) == "in use: container app leans on it"
    assert guard.why_protected(other) is None


def test_volumes_and_networks_that_nothing_refers_to_are_not_protected() -> None:
    guard = Guard.of(facts(containers=[exited(ago=DAY)]))
    assert guard.why_volume("data", {}, DAY) is None
    assert guard.why_network("net1", "net", {}, DAY) is None


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"shipkeeper.protect": "yes"}, "protected: label shipkeeper.protect"),
        ({UNTIL: "tomorrow"}, f'protected: label {UNTIL} is malformed ("tomorrow" is no RFC 3339 date or time)'),
        ({TTL: "2d"}, f"protected: label {TTL}, for 1 day more"),
        ({"com.docker.stack.namespace": "x"}, "protected: a part of a swarm service, which removes it by itself"),
        (compose("shop", "db"), "in use: compose project shop has a container, shop-web-1"),
    ],
)
def test_labels_protect_volumes_and_networks_as_they_do_containers(labels: dict[str, str], reason: str) -> None:
    guard = Guard.of(facts(containers=[exited("shop-web-1", ago=DAY, labels=compose("shop", "web"))]))
    assert (guard.why_volume("v", labels, DAY) or "").startswith(reason)
    assert (guard.why_network("i", "n", labels, DAY) or "").startswith(reason)


def test_volumes_and_networks_can_be_protected_by_name() -> None:
    guard = Guard.of(facts(protection=Protection(volumes=("pg-*",), networks=("corp",))))
    assert guard.why_volume("pg-data", {}, DAY) == 'protected: [protect] volumes names "pg-*"'
    assert guard.why_network("i", "Corp", {}, DAY) == 'protected: [protect] networks names "corp"'
    assert guard.why_volume("corp", {}, DAY) is None


def test_a_volume_of_unknown_age_with_a_ttl_is_protected() -> None:
    assert "not known since when" in (Guard.of(facts()).why_volume("v", {TTL: "1h"}, None) or "")


@pytest.mark.parametrize("policy", ["always", "unless-stopped"])
def test_a_service_that_somebody_stopped_is_protected(policy: str) -> None:
    stopped = exited(ago=90 * DAY, restart_policy=RestartPolicy(policy))
    assert why(stopped) == f"protected: a service that somebody stopped (restart policy {policy})"


def test_shipkeeper_does_not_remove_itself() -> None:
    own = exited("keeper", ago=90 * DAY)
    assert Guard.of(facts(containers=[own], own_container_id=own.id)).why_protected(own) == (
        "protected: Shipkeeper itself"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "buildx_buildkit_ci0"}, "protected: a builder of buildx"),
        ({"image": "moby/buildkit:buildx-stable-1"}, "protected: BuildKit"),
        ({"image": "docker.io/moby/buildkit@sha256:abc"}, "protected: BuildKit"),
        ({"labels": {"io.x-k8s.kind.cluster": "dev"}}, "protected: a node of a kind cluster"),
        ({"labels": {"k3d.cluster": "dev"}}, "protected: a part of a k3d cluster"),
        ({"labels": {"io.kubernetes.pod.uid": "1-2"}}, "protected: a part of a pod, which its kubelet removes"),
        ({"labels": {"com.docker.swarm.task.id": "x"}}, "protected: a part of a swarm service"),
    ],
)
def test_builders_clusters_and_tasks_of_swarm_are_protected(changes: dict[str, object], reason: str) -> None:
    stopped = exited(ago=90 * DAY, **changes)  # type: ignore[arg-type]  # fields of a container
    assert (why(stopped) or "").startswith(reason)


def test_the_image_and_the_cache_of_a_builder_are_protected() -> None:
    guard = Guard.of(facts())
    assert (guard.why_protected(image("moby/buildkit:buildx-stable-1")) or "").startswith("protected: BuildKit")
    assert (guard.why_volume("buildx_buildkit_ci0_state", {}, DAY) or "").startswith("protected: a builder of buildx")
    assert guard.why_protected(image("example.org/moby/buildkit:1")) is None


def test_on_a_node_of_a_swarm_what_services_may_refer_to_is_protected() -> None:
    guard = Guard.of(facts(engine=Engine(state=EngineState.UP, since=NOW, swarm=True)))
    reason = "protected: this host is a node of a swarm, whose services may refer to it"
    assert guard.why_protected(image("app:1")) == reason
    assert guard.why_volume("v", {}, DAY) == reason
    assert guard.why_network("i", "n", {}, DAY) == reason
    assert why(exited(ago=DAY)) is None


def test_what_a_swarm_may_refer_to_is_protected_where_nobody_can_tell_whether_there_is_one() -> None:
    guard = Guard.of(facts(engine=Engine(state=EngineState.UP, since=NOW, described=False)))
    reason = "protected: whether this host is a node of a swarm cannot be read (GET /info)"
    assert guard.why_protected(image("app:1")) == reason
    assert guard.why_volume("v", {}, DAY) == reason
    assert guard.why_network("i", "n", {}, DAY) == reason


def test_of_podman_nothing_is_removed() -> None:
    ended = exited(ago=DAY)
    guard = Guard.of(facts(containers=[ended], engine=Engine(state=EngineState.UP, since=NOW, podman=True)))
    reason = "protected: this is Podman, which is only observed"
    assert guard.why_protected(ended) == reason
    assert guard.why_protected(image("other:1")) == reason
    assert guard.why_volume("v", {}, DAY) == reason
    assert guard.why_network("i", "n", {}, DAY) == reason


@pytest.mark.parametrize(
    ("thing", "containerd", "never"),
    [
        (image("app:1"), False, "protected: built or loaded here and never pushed, nobody could pull it again"),
        (image("app:1", digests=("app@sha256:1",)), False, None),
        (image(), False, None),
        (
            image("app:1", digests=("app@sha256:1",)),
            True,
            "protected: it may have been built here, the containerd store does not tell",
        ),
    ],
)
def test_an_image_that_nobody_could_pull_again_is_told_apart(thing: Image, containerd: bool, never: str | None) -> None:  # noqa: FBT001
    engine = Engine(state=EngineState.UP, since=NOW, containerd_store=containerd)
    assert Guard.of(facts(engine=engine)).why_never_pushed(thing) == never


def test_a_ttl_shortens_only_where_the_owner_wrote_it() -> None:
    base = image("app:1", labels={TTL: "1h"})
    from_image = exited("a", ago=DAY, labels={TTL: "1h"}, image_id=base.id)
    own_word = exited("b", ago=DAY, labels={TTL: "2h"}, image_id=base.id)
    of_unknown_image = exited("c", ago=DAY, labels={TTL: "2h"}, image_id="sha256:gone")
    guard = Guard.of(facts(images=[base]))
    assert [guard.own_ttl(each) for each in (from_image, own_word, of_unknown_image)] == [None, 2 * HOUR, None]
    assert guard.own_ttl(exited("d", ago=DAY, labels={TTL: "soon"}, image_id=base.id)) is None
