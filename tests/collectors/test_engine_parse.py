"""Whatever JSON comes, it becomes facts or one kind of error; and Docker's odd values mean what they mean."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import engine_parse
from collectors.engine_errors import EngineProtocolError
from collectors.engine_events import parse_event
from collectors.facts import HealthStatus
from tests.lab.scripted_engine import ScriptedContainer, human_duration

if TYPE_CHECKING:
    from collections.abc import Callable

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
any_json = st.recursive(scalars, lambda part: st.lists(part) | st.dictionaries(st.text(), part), max_leaves=20)


def inspect(**changes: Any) -> dict[str, Any]:
    return ScriptedContainer(id="c" * 64, name="web").inspected() | changes


def spoil(document: Any, replacement: Any, data: st.DataObject) -> Any:
    """Put something unexpected at one place anywhere in a document."""
    if isinstance(document, dict) and document and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(document)))
        return document | {key: spoil(document[key], replacement, data)}
    if isinstance(document, list) and document and data.draw(st.booleans()):
        return [spoil(document[0], replacement, data), *document[1:]]
    return replacement


PARSERS: list[Callable[[object], object]] = [
    engine_parse.container,
    engine_parse.container_summaries,
    engine_parse.images,
    engine_parse.last_tagged_at,
    engine_parse.versions,
]


@pytest.mark.parametrize("parse", PARSERS)
@given(answer=any_json)
def test_any_json_is_read_or_refused(parse: Callable[[object], object], answer: object) -> None:
    with contextlib.suppress(EngineProtocolError):
        parse(answer)


@given(replacement=any_json, data=st.data())
def test_an_inspect_spoiled_anywhere_is_read_or_refused(replacement: object, data: st.DataObject) -> None:
    with contextlib.suppress(EngineProtocolError):
        engine_parse.container(spoil(inspect(), replacement, data))


@given(line=st.binary() | any_json.map(lambda value: json.dumps(value).encode()))
def test_any_line_is_an_event_or_refused(line: bytes) -> None:
    with contextlib.suppress(EngineProtocolError):
        parse_event(line)


@given(replacement=any_json, data=st.data())
def test_an_event_spoiled_anywhere_is_read_or_refused(replacement: object, data: st.DataObject) -> None:
    event = {"Type": "container", "Action": "die", "Actor": {"ID": "c", "Attributes": {"a": "b"}}, "timeNano": 5}
    with contextlib.suppress(EngineProtocolError):
        parse_event(json.dumps(spoil(event, replacement, data)).encode())


@pytest.mark.parametrize(
    ("state", "field"),
    [
        ({"Status": "asleep"}, r"container\.State\.Status is 'asleep'"),
        ({"Status": "running", "Pid": True}, r"container\.State\.Pid is a boolean, not a whole number"),
        ({"Status": "running", "StartedAt": "now"}, r"container\.State\.StartedAt is not a time"),
        ({"Status": "running", "StartedAt": "2026-11-23T10:00:00"}, "without a zone"),
        ({"Status": "running", "Health": {"Status": "poorly"}}, r"container\.State\.Health\.Status"),
    ],
)
def test_the_error_names_the_field(state: dict[str, Any], field: str) -> None:
    with pytest.raises(EngineProtocolError, match=field):
        engine_parse.container(inspect(State=state))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0001-01-01T00:00:00Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("1970-01-01T00:00:00Z", None),
        ("", None),
        (None, None),
        ("2026-11-23T18:01:42.865778436Z", datetime(2026, 11, 23, 18, 1, 42, 865778, UTC)),
        ("2026-11-23T18:01:42.5+02:00", datetime(2026, 11, 23, 16, 1, 42, 500000, UTC)),
        ("2026-11-23T18:01:42Z", datetime(2026, 11, 23, 18, 1, 42, tzinfo=UTC)),
    ],
)
def test_times_are_utc_and_never_is_none(written: str | None, meant: datetime | None) -> None:
    state = {"Status": "exited", "FinishedAt": written}
    assert engine_parse.container(inspect(State=state)).finished_at == meant


@pytest.mark.parametrize("health", [None, {"Status": "none"}, {"Status": ""}])
def test_no_health_check_is_no_health(health: object) -> None:
    assert engine_parse.container(inspect(State={"Status": "running", "Health": health})).health is None


def test_the_newest_probes_output_is_kept_and_bounded() -> None:
    log = [{"Output": "old"}, {"Output": "x" * 4096}]
    state = {"Status": "running", "Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": log}}
    health = engine_parse.container(inspect(State=state)).health
    assert health is not None
    assert (health.status, health.failing_streak, health.last_output) == (HealthStatus.UNHEALTHY, 3, "x" * 400)


@pytest.mark.parametrize(
    ("written", "number"),
    [("", 15), ("SIGINT", 2), ("int", 2), ("9", 9), ("SIGRTMIN+3", 37), ("RTMIN", 34), ("SIGNONSENSE", 15), ("٣", 15)],
)
def test_stop_signals_are_read_as_images_write_them(written: str, number: int) -> None:
    assert engine_parse.signal_number(written) == number


@pytest.mark.parametrize(("written", "seconds"), [(None, 10), (0, 0), (45, 45), (-1, 86_400), (10**12, 86_400)])
def test_a_stop_timeout_is_ten_seconds_unless_said(written: int | None, seconds: int) -> None:
    container = engine_parse.container(inspect(Config={"StopTimeout": written}))
    assert container.stop_timeout == timedelta(seconds=seconds)


def test_dangling_images_have_no_tags_and_absurd_dates_are_none() -> None:
    listed = [
        {"Id": "sha256:1", "RepoTags": ["<none>:<none>"], "RepoDigests": ["<none>@<none>"], "Size": 5, "Created": 0},
        {"Id": "sha256:2", "RepoTags": None, "RepoDigests": None, "Size": 5, "Created": 1000},
        {"Id": "sha256:3", "RepoTags": ["a:1", "a:2"], "Size": 5, "Created": 1_700_000_000, "ParentId": "sha256:2"},
    ]
    nameless, null, tagged = engine_parse.images(listed)
    assert (nameless.dangling, null.dangling, tagged.dangling) == (True, True, False)
    assert (nameless.created_at, null.created_at) == (None, None)
    assert (tagged.tags, tagged.parent_id) == (("a:1", "a:2"), "sha256:2")


def test_a_linked_containers_own_name_is_taken() -> None:
    entry = ScriptedContainer(id="c" * 64, name="db").listed(datetime(2026, 1, 1, tzinfo=UTC))
    (summary,) = engine_parse.container_summaries([entry | {"Names": ["/web/alias", "/db"]}])
    assert summary.name == "db"


def test_a_label_named_exit_code_stays_among_the_attributes() -> None:
    actor = {"ID": "c" * 64, "Attributes": {"exitCode": "0", "name": "web"}}
    line = {"Type": "container", "Action": "die", "Actor": actor, "timeNano": 1_700_000_000_123_456_789}
    event = parse_event(json.dumps(line | {"status": "start", "id": "legacy"}).encode())
    assert (event.action, event.id, event.container_id) == ("die", "c" * 64, "c" * 64)
    assert event.attributes["exitCode"] == "0"
    assert event.at == datetime(2023, 11, 14, 22, 13, 20, 123456, UTC)


def test_the_command_of_an_exec_never_leaves_the_parser() -> None:
    line = {"Type": "container", "Action": "exec_create: sh -c 'login --password hunter2'", "timeNano": 5}
    assert "hunter2" not in repr(parse_event(json.dumps(line).encode()))


def test_a_network_event_names_its_container() -> None:
    actor = {"ID": "n" * 64, "Attributes": {"container": "c" * 64, "name": "none"}}
    event = parse_event(json.dumps({"Type": "network", "Action": "disconnect", "Actor": actor, "timeNano": 5}).encode())
    assert event.container_id == "c" * 64


def test_the_scripted_engine_says_ages_as_docker_does() -> None:
    said = [human_duration(timedelta(hours=hours)) for hours in (0, 1, 1.6, 47, 48, 24 * 14, 24 * 60, 24 * 730)]
    assert said == [
        "Less than a second",
        "About an hour",
        "2 hours",
        "47 hours",
        "2 days",
        "2 weeks",
        "2 months",
        "2 years",
    ]


@pytest.mark.parametrize(
    ("info", "store", "address"),
    [
        ({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}, True, ""),
        (
            {"DriverStatus": [["Backing Filesystem", "extfs"]], "Containerd": {"Address": "/run/c.sock"}},
            False,
            "/run/c.sock",
        ),
        ({"DriverStatus": None, "Containerd": None}, False, ""),
    ],
)
def test_an_engine_tells_who_keeps_its_images(info: dict[str, Any], *, store: bool, address: str) -> None:
    said = engine_parse.Versions(engine="28.5.2", api="1.51", api_minimum="1.24", podman=False)
    found = engine_parse.engine(info, said, datetime(2026, 11, 23, tzinfo=UTC))
    assert (found.containerd_store, found.containerd_address) == (store, address)


def test_an_engine_tells_what_it_was_built_from() -> None:
    ubuntus = {"Version": "24.0.7", "ApiVersion": "1.43", "GitCommit": "24.0.7-0ubuntu4.1"}
    found = engine_parse.engine({}, engine_parse.versions(ubuntus), datetime(2026, 11, 23, tzinfo=UTC))
    assert (found.version, found.build) == ("24.0.7", "24.0.7-0ubuntu4.1")


def test_what_a_container_refers_to_is_read_from_its_inspect_and_from_the_list() -> None:
    joined = {"Networks": {"shop_default": {"NetworkID": "n" * 64}, "late": {"NetworkID": ""}, "odd": None}}
    mounts = [{"Type": "volume", "Name": "data"}, {"Type": "bind", "Source": "/srv"}, {"Type": "volume", "Name": ""}]
    read = engine_parse.container(
        inspect(
            Mounts=mounts,
            NetworkSettings=joined,
            HostConfig={"Mounts": [{"Type": "image", "Source": "tools:2"}, {"Type": "volume", "Source": "data"}]},
        )
    )
    listed = ScriptedContainer(id="c" * 64, name="web").listed(ScriptedContainer("c", "web").created_at)
    [summary] = engine_parse.container_summaries([listed | {"Mounts": mounts, "NetworkSettings": joined}])
    assert read.volumes == summary.volumes == ("data",)
    assert read.networks == summary.networks == ("late", "n" * 64, "odd", "shop_default")
    assert read.mounted_images == ("tools:2",)


def test_on_which_containers_one_leans_is_read_from_its_inspect_and_of_the_network_from_the_list() -> None:
    network = {"NetworkMode": f"container:{'a' * 64}"}
    spaces = {"PidMode": "container:pid", "IpcMode": "container:", "VolumesFrom": ["data:ro", "abc123"]}
    read = engine_parse.container(inspect(HostConfig=network | spaces | {"Links": ["/db:/web/store"]}))
    assert read.leans_on == ("a" * 64, "abc123", "data", "db", "pid")
    listed = ScriptedContainer(id="c" * 64, name="web").listed(ScriptedContainer("c", "web").created_at)
    assert engine_parse.container_summaries([listed | {"HostConfig": network}])[0].leans_on == ("a" * 64,)
    plain = engine_parse.container(inspect(HostConfig={"NetworkMode": "host", "IpcMode": "private", "Links": None}))
    assert plain.leans_on == ()


@pytest.mark.parametrize(("state", "swarm"), [("", False), ("inactive", False), ("active", True), ("locked", True)])
def test_a_node_of_a_swarm_is_told_apart(state: str, swarm: bool) -> None:  # noqa: FBT001
    said = engine_parse.Versions(engine="28", api="1.51", api_minimum="", podman=False)
    found = engine_parse.engine({"Swarm": {"LocalNodeState": state}}, said, datetime(2026, 1, 1, tzinfo=UTC))
    assert found.swarm is swarm
