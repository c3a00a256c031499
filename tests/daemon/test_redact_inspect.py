"""What is kept of an inspect shows no value of the environment, and no secret that can be told."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.redact import Redactor
from daemon.redact_inspect import redacted_inspect

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=12,
)


def shown(**inspect: Any) -> dict[str, Any]:
    return redacted_inspect(inspect, Redactor())


def test_of_the_environment_only_the_names_are_kept_and_which_gpus_were_asked_for() -> None:
    variables = ["DB=postgres", "EMPTY=", "NVIDIA_VISIBLE_DEVICES=0,1", "ODD"]
    assert shown(Config={"Env": variables})["Config"]["Env"] == [
        "DB=***",
        "EMPTY=***",
        "NVIDIA_VISIBLE_DEVICES=0,1",
        "ODD=***",
    ]


def test_a_secret_in_a_command_line_a_label_or_a_probe_is_hidden() -> None:
    hidden = shown(
        Path="worker",
        Args=["--password", "hunter2", "--queue", "mail"],
        Config={
            "Cmd": ["worker", "--token=hunter2"],
            "Labels": {"api_key": "hunter2", "team": "nlp"},
            "Healthcheck": {"Test": ["CMD-SHELL", "curl http://me:hunter2@localhost"]},
        },
        State={"Health": {"Log": [{"ExitCode": 1, "Output": "password: hunter2"}]}},
    )
    assert "hunter2" not in str(hidden)
    assert hidden["Args"] == ["--password", "***", "--queue", "mail"]
    assert hidden["Config"]["Labels"]["team"] == "nlp"
    assert hidden["State"]["Health"]["Log"][0]["ExitCode"] == 1


def test_what_is_no_secret_stays_as_it_was() -> None:
    plain: dict[str, Any] = {
        "Name": "/web",
        "State": {"ExitCode": 137, "OOMKilled": True, "Error": ""},
        "Mounts": [],
        "Size": None,
    }
    assert shown(**plain) == plain


@given(st.dictionaries(st.text(max_size=8), any_json, max_size=4))
def test_any_inspect_keeps_its_keys(inspect: dict[str, Any]) -> None:
    assert redacted_inspect(inspect, Redactor()).keys() == inspect.keys()
