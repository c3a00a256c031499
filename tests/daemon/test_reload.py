"""The configuration that is read again: taken over, refused as a whole, or left for the next start."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from daemon.keys import KEYS
from daemon.loading import config_file, load
from daemon.reload import FIXED, Configuration
from daemon.rulebook import Rulebook
from tests.fakes.clock import NOW, FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.config import Settings

FIRST = "http://127.0.0.1:1/services/first-secret"
SECOND = "http://127.0.0.1:1/services/second-secret"


@dataclass
class Desk:
    """A file that a test writes, and the configuration that was read from it."""

    file: Path
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.write("")
        self.configuration = Configuration(load(self.file, {}), lambda: self.file, {}, self.clock)

    def write(self, text: str) -> None:
        """Change the file; an hour goes by."""
        self.file.touch(mode=0o600)
        self.file.write_text(text)
        self.clock.advance(timedelta(hours=1))

    def read(self, text: str) -> bool:
        """Change the file, and have it read again."""
        self.write(text)
        return self.configuration.read_again()

    @property
    def settings(self) -> Settings:
        """What is in force."""
        return self.configuration.settings


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "shipkeeper.toml")


def test_a_changed_value_is_in_force_and_its_key_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert desk.read('[alerts.rules.container-crashed]\nfor = "5m"\n[policies.containers]\nenabled = false\n')
    book = Rulebook.of(desk.settings)
    assert book.rules["container-crashed"].hold == timedelta(minutes=5)
    assert "containers" not in book.policies
    assert "changed: alerts.rules.container-crashed.for, policies.containers.enabled" in caplog.text
    assert desk.configuration.standing.taken_at == desk.clock.now()


def test_a_bad_configuration_leaves_everything_as_it_is_and_says_where_it_is_bad(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    assert desk.read('[host]\nname = "a"\n')
    before, taken_at = desk.settings, desk.configuration.standing.taken_at
    assert not desk.read('[host]\nname = "b"\n[alerts]\ngroup_wait = "5"\n')
    assert desk.settings is before
    assert desk.configuration.standing.taken_at == taken_at
    assert "group_wait" in desk.configuration.standing.problem
    assert "the old one stays in force" in caplog.text
    assert 'a duration needs a unit, for example "30d"' in caplog.text
    assert desk.read('[host]\nname = "b"\n')
    assert desk.configuration.standing.problem == ""


def test_a_file_that_went_away_is_a_bad_configuration(desk: Desk) -> None:
    desk.file.unlink()
    assert not desk.configuration.read_again()
    assert "cannot read the configuration" in desk.configuration.standing.problem


@pytest.mark.parametrize(
    "text",
    [
        "mode = " + "1" * 5000,
        "mode = " + "[" * 5000,
        '[slack]\nwebhook_url = "https://[hooks.slack.com/services/T0/B0/planted"\n',
        '[slack]\nwebhook_url = "https://hooks.slack.com:port/services/T0/B0/planted"\n',
    ],
    ids=["number", "depth", "address", "port"],
)
def test_nothing_that_may_stand_in_the_file_ends_the_daemon(
    desk: Desk, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    before = desk.settings
    assert not desk.read(text)
    assert desk.settings is before
    assert "planted" not in caplog.text


def test_the_usual_file_that_went_away_is_a_bad_configuration(tmp_path: Path) -> None:
    usual = tmp_path / "shipkeeper.toml"
    usual.write_text('[protect]\ncontainers = ["precious"]\n')
    find = partial(config_file, None, {}, usual)
    configuration = Configuration(load(find(), {}), find, {}, FakeClock())
    usual.unlink()
    assert not configuration.read_again()
    assert configuration.settings.protect.containers == ("precious",)
    assert str(usual) in configuration.standing.problem


def test_what_needs_a_restart_keeps_its_value_and_is_named(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    assert desk.read('[docker]\nhost = "unix:///other.sock"\n[web]\nlisten = "127.0.0.1:1"\n[host]\nname = "new"\n')
    assert desk.settings.docker.host == "unix:///var/run/docker.sock"
    assert desk.settings.web.listen == "127.0.0.1:9817"
    assert desk.settings.host.name == "new"
    assert desk.configuration.standing.awaits_restart == ("docker.host", "web.listen")
    assert "a restart is needed for: docker.host, web.listen" in caplog.text
    assert desk.read("")
    assert not desk.configuration.standing.awaits_restart


def test_what_needs_a_restart_is_named_as_long_as_it_waits_for_one(desk: Desk) -> None:
    changed = '[gpu]\nenabled = false\ninterval = "25s"\nowner_label = "team"\n[docker]\nhost = "unix:///other.sock"\n'
    before = desk.settings
    for hours in range(3):
        assert desk.read(f'{changed}[host]\nname = "after-{hours}"\n')
        assert (desk.settings.gpu.enabled, desk.settings.gpu.interval) == (before.gpu.enabled, before.gpu.interval)
        assert desk.settings.gpu.owner_label == "team"
        assert set(desk.configuration.standing.awaits_restart) == {"docker.host", "gpu.enabled", "gpu.interval"}


def test_what_is_fixed_are_keys_that_exist() -> None:
    for fixed in FIXED:
        assert any(path[: len(fixed)] == fixed for path in KEYS)


def test_a_secret_that_was_replaced_is_hidden_for_ever_and_neither_is_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert desk.read(f'[slack]\nwebhook_url = "{FIRST}"\n')
    assert desk.read(f'[slack]\nwebhook_url = "{SECOND}"\n')
    assert {FIRST, SECOND} <= set(desk.configuration.secrets)
    assert "changed: slack.webhook_url" in caplog.text
    assert "secret" not in caplog.text


def test_without_a_file_the_defaults_are_in_force() -> None:
    configuration = Configuration(load(None, {}), lambda: None, {}, FakeClock())
    assert configuration.standing.taken_at == NOW
    assert configuration.read_again()


def test_an_alert_that_no_policy_speaks_of_any_more_has_no_rule(desk: Desk) -> None:
    assert "disk-low" in Rulebook.of(desk.settings).rules
    assert desk.read("[policies.disk_pressure]\nenabled = false\n")
    assert "disk-low" not in Rulebook.of(desk.settings).rules


def test_the_alert_of_a_full_disk_knows_what_its_cleanup_leaves_alone(desk: Desk) -> None:
    assert desk.read('[policies.disk_pressure]\nexclude = ["app:*"]\n')
    pressure = Rulebook.of(desk.settings).pressure
    assert pressure is not None
    assert [rule.text for rule in pressure.bounds.exclude] == ["app:*"]
