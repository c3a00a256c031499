from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors import storage_parse
from collectors.disk_usage import parse
from collectors.engine_errors import EngineProtocolError
from collectors.facts import DiskKind
from tests.policies.build import NOW

NETWORK = {
    "Name": "shop_default",
    "Id": "n" * 64,
    "Created": "2026-11-20T10:00:00.123456789Z",
    "Scope": "local",
    "Driver": "bridge",
    "Internal": True,
    "Ingress": False,
    "ConfigOnly": False,
    "Labels": {"com.docker.compose.project": "shop"},
}
VOLUME = {
    "Name": "data",
    "Driver": "local",
    "Scope": "local",
    "Mountpoint": "/v/data/_data",
    "CreatedAt": "2026-11-20T10:00:00Z",
    "Labels": None,
    "Options": None,
}
OLD_RECORD = {
    "ID": "a",
    "Parent": "p",
    "Type": "regular",
    "InUse": False,
    "Shared": True,
    "Size": 5,
    "CreatedAt": "2026-11-01T00:00:00.5Z",
    "LastUsedAt": "2026-11-02T00:00:00Z",
    "UsageCount": 3,
}
NEW_RECORD = {**OLD_RECORD, "Parents": ["p", "q"], "LastUsedAt": None, "Size": -1}
del NEW_RECORD["Parent"]


def test_a_network_is_read_with_what_decides_about_it() -> None:
    [found] = storage_parse.networks([NETWORK])
    assert (found.id, found.name, found.scope, found.driver) == ("n" * 64, "shop_default", "local", "bridge")
    assert (found.internal, found.ingress, found.config_only, found.endpoints) == (True, False, False, 0)
    assert found.labels == {"com.docker.compose.project": "shop"}
    assert found.created_at == datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)


def test_only_the_inspect_of_a_network_tells_what_is_connected() -> None:
    inspected = NETWORK | {"Containers": {"c" * 64: {"Name": "web"}}, "Services": {"api": {}}}
    assert storage_parse.network(inspected).endpoints == 2
    assert storage_parse.network(NETWORK | {"Containers": None}).endpoints == 0


def test_volumes_are_read_with_whether_something_refers_to_them() -> None:
    listed = {"Volumes": [VOLUME, VOLUME | {"Name": "idle", "Labels": {"a": "b"}}], "Warnings": None}
    used, idle = storage_parse.volumes(listed, {"Volumes": [VOLUME | {"Name": "idle"}]})
    assert (used.dangling, idle.dangling) == (False, True)
    assert (idle.labels, used.labels, used.options) == ({"a": "b"}, {}, {})
    assert used.key != storage_parse.volumes({"Volumes": [VOLUME | {"CreatedAt": None}]}, {})[0].key


def test_a_host_without_volumes_writes_null() -> None:
    assert storage_parse.volumes({"Volumes": None}, {"Volumes": None}) == ()


@pytest.mark.parametrize("answer", [{}, [{"Name": "a"}], [{"Id": "a"}], ["a"], [NETWORK | {"Labels": {"a": 1}}]])
def test_a_network_of_another_shape_is_an_error_that_names_its_place(answer: object) -> None:
    with pytest.raises(EngineProtocolError, match="network"):
        storage_parse.networks(answer)


def test_records_are_read_in_the_shape_of_every_version() -> None:
    legacy = parse({"BuildCache": [OLD_RECORD]}, [DiskKind.BUILD_CACHE], NOW)[DiskKind.BUILD_CACHE]
    newer = parse({"BuildCacheUsage": {"Items": [NEW_RECORD]}}, [DiskKind.BUILD_CACHE], NOW)[DiskKind.BUILD_CACHE]
    assert legacy.build_records is not None
    assert newer.build_records is not None
    [old], [new] = legacy.build_records, newer.build_records
    assert (old.parents, old.size_bytes, old.usage_count, old.shared) == (("p",), 5, 3, True)
    assert old.last_used_at == datetime(2026, 11, 2, tzinfo=UTC)
    blank = {" Parents" if name == "Parents" else name: value for name, value in NEW_RECORD.items()}
    asked = parse({"BuildCache": [blank]}, [DiskKind.BUILD_CACHE], NOW)[DiskKind.BUILD_CACHE].build_records
    assert asked == newer.build_records
    assert (new.parents, new.size_bytes, new.last_used_at) == (("p", "q"), None, None)


def test_where_only_sums_are_told_the_records_are_unknown_and_not_none_at_all() -> None:
    summary = {"BuildCacheUsage": {"TotalSize": 5, "TotalCount": 1}}
    assert parse(summary, [DiskKind.BUILD_CACHE], NOW)[DiskKind.BUILD_CACHE].build_records is None
    empty = parse({"BuildCache": None}, [DiskKind.BUILD_CACHE], NOW)[DiskKind.BUILD_CACHE]
    assert empty.build_records == ()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NETWORK, *VOLUME]), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(values)
def test_whatever_json_comes_it_is_facts_or_an_error_of_ours(answer: object) -> None:
    answer = json.loads(json.dumps(answer))
    for read in (storage_parse.networks, storage_parse.network, lambda each: storage_parse.volumes(each, each)):
        try:
            read(answer)
        except EngineProtocolError:
            continue
