from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.facts import Container, ContainerState, Protection, SourceName, Unknown
from policies.protection import Guard
from tests.policies.build import DAY, HOUR, NOW, container, exited, facts, image
from tests.policies.build_gpu import ALL_GPUS, gpu, gpus, reserved, use

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


@pytest.mark.parametrize(
    "value",
    ["", "tomorrow", "2020-01-01", "2020-01-01T00:00:00", "2020-13-01T00:00:00Z", "2020-W01-1", "٢020-01-01T00:00:00Z"],
)
def test_a_malformed_keep_until_protects_and_says_so(value: str) -> None:
    assert why(labelled(UNTIL, value)) == f'protected: label {UNTIL} is malformed ("{value}" is no RFC 3339 time)'


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
