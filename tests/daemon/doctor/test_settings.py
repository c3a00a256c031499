from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.doctor import cures
from daemon.doctor.settings import KEYS, REMOVED, flags, parse, refused, written_as_flag

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | VALUES.map(json.dumps))
def test_any_text_gives_settings_or_an_error_and_never_both(text: str) -> None:
    found = parse(text)
    assert not (found.values and found.error)


@given(st.dictionaries(st.text(), VALUES))
def test_a_good_file_is_read_as_it_was_written(values: dict[str, Any]) -> None:
    found = parse(json.dumps(values))
    assert (dict(found.values), found.error) == (values, "")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1e9999, "b": ' + "9" * 5000 + "}", "\ufeff{}", "{} {}"])
def test_a_file_that_no_engine_reads_is_an_error(text: str) -> None:
    assert parse(text).error


def test_no_file_and_an_empty_one_set_nothing() -> None:
    assert parse(None) == parse("") == parse(" \n")
    assert not parse(None).values


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["-H", "fd://", "--containerd=/run/c.sock"], {"hosts": ("fd://",), "containerd": ("/run/c.sock",)}),
        (["--host", "unix:///a", "-H", "tcp://b"], {"hosts": ("unix:///a", "tcp://b")}),
        (["-D", "--live-restore", "--log-opt", "max-size=1m"], {
            "debug": ("true",), "live-restore": ("true",), "log-opts": ("max-size=1m",),
        }),
        (["--tls=false", "--data-root", "/d"], {"tls": ("false",), "data-root": ("/d",)}),
        (["-g", "/old"], {"graph": ("/old",)}),
        (["stray", "--mtu"], {"mtu": ("true",)}),
        ([], {}),
    ],
)  # fmt: skip
def test_flags_are_read_by_the_names_of_the_file(arguments: list[str], found: dict[str, Any]) -> None:
    assert dict(flags(arguments)) == found


@given(st.lists(st.text()))
def test_no_arguments_break_the_reading(arguments: list[str]) -> None:
    flags(arguments)


def test_an_engine_of_unknown_version_is_taken_for_a_new_one() -> None:
    assert refused("graph", None).startswith("removed in 23.0")
    assert refused("graph", (20, 10)) == ""
    assert refused("no-such-key", None) == "no such key"


def test_of_engines_newer_than_the_tables_nothing_unknown_is_held_against_the_file() -> None:
    assert refused("firewall-backend", (28, 5)) == "no such key"
    assert refused("firewall-backend", (29, 1)) == ""


def test_no_key_is_both_known_and_removed() -> None:
    assert not KEYS & REMOVED.keys()


def test_a_key_that_is_written_as_the_flag_is_named_anew() -> None:
    assert dict(written_as_flag(["log-opt", "log-opts", "host"])) == {"log-opt": "log-opts", "host": "hosts"}


def test_a_change_keeps_what_lies_beside_it() -> None:
    known = {"builder": {"gc": {"policy": []}}, "debug": True}
    (_, merge) = cures.write_settings("/etc/docker/daemon.json", known, {"builder": {"gc": {"enabled": True}}})
    assert '{"builder": {"gc": {"policy": [], "enabled": true}}}' in merge
    assert "debug" not in merge


def test_what_others_named_cannot_break_out_of_a_command() -> None:
    commands = cures.move_folder("/var/lib/x; reboot", "/data/$(reboot)")
    assert "sudo rsync -aHAXS --numeric-ids '/var/lib/x; reboot/' '/data/$(reboot)/'" in commands
