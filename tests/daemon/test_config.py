"""Settings: where they come from, what wins, and how everything wrong with them is said."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import CLEANUPS, JUDGES, OFF, Settings
from daemon.errors import ConfigError
from daemon.keys import KEYS
from daemon.loading import CREDENTIAL_STORE, config_file, load, load_for_judging
from policies.catalogue import BY_NAME
from policies.containers import ExitedContainers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SAMPLE = Path(__file__).parents[2] / "deploy" / "shipkeeper.toml"
WEBHOOK = "https://hooks.slack.com/services/T000/B000/verysecret"


def written(folder: Path, text: str, mode: int = 0o644) -> Path:
    file = folder / "shipkeeper.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def complaint(file: Path | None, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environ or {})
    return str(caught.value)


def test_without_a_file_the_defaults_hold() -> None:
    settings = load(None, {})
    assert settings == Settings()
    assert settings.mode == "observe"
    assert settings.docker.host == "unix:///var/run/docker.sock"


def test_the_sample_file_is_the_defaults() -> None:
    assert load(SAMPLE, {}) == Settings()


def test_the_sample_file_names_every_key_with_its_default(tmp_path: Path) -> None:
    uncommented = re.sub(r"^# (?=\w+ = )", "", SAMPLE.read_text(), flags=re.MULTILINE)
    file = written(tmp_path, uncommented)
    assert load(file, {}) == Settings()
    missing = [key.path for key in KEYS.values() if not re.search(_key_below_its_table(key.path), uncommented)]
    assert missing == []


def _key_below_its_table(path: tuple[str, ...]) -> str:
    table = rf"^\[{re.escape('.'.join(path[:-1]))}\]\n(?:(?!\[).*\n)*" if path[:-1] else r"\A(?:(?!\[).*\n)*"
    return rf"(?m){table}{path[-1]} = "


def test_the_file_is_the_option_else_the_variable_else_the_default(tmp_path: Path) -> None:
    default = written(tmp_path, "")
    environ = {"SHIPKEEPER_CONFIG": "/of/the/variable.toml"}
    assert config_file(Path("/of/the/option.toml"), environ, default) == Path("/of/the/option.toml")
    assert config_file(None, environ, default) == Path("/of/the/variable.toml")
    assert config_file(None, {}, default) == default
    assert config_file(None, {}, tmp_path / "absent.toml") is None


def test_values_of_the_file_are_read_with_their_units(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        [alerts]
        group_wait = "1m30s"
        ignore = ["ci-*"]
        [policies.disk_pressure]
        warn_bytes = "40GiB"
        warn_percent = 25
        """,
    )
    settings = load(file, {})
    assert settings.alerts.group_wait == timedelta(seconds=90)
    assert settings.alerts.ignore == ("ci-*",)
    pressure = settings.policies.by_name()["disk_pressure"].model_dump()
    assert (pressure["warn_bytes"], pressure["warn_percent"]) == (40 << 30, 25.0)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, '[docker]\nhost = "unix:///of/the/file.sock"\n')
    settings = load(
        file,
        {
            "SHIPKEEPER_DOCKER__HOST": "unix:///of/the/environment.sock",
            "SHIPKEEPER_ALERTS__IGNORE": '["ci-*", "tmp-*"]',
            "SHIPKEEPER_ALERTS__RULES__CONTAINER_CRASHED__FOR": "5m",
            "SHIPKEEPER_POLICIES__CONTAINERS__ENABLED": "false",
            "SHIPKEEPER_POLICIES__DISK_PRESSURE__WARN_BYTES": "31GiB",
            "SHIPKEEPER_HOST__NAME": "7",
        },
    )
    assert settings.docker.host == "unix:///of/the/environment.sock"
    assert settings.alerts.ignore == ("ci-*", "tmp-*")
    assert settings.rules()["container-crashed"].hold == timedelta(minutes=5)
    assert "containers" not in settings.enabled_policies()
    assert settings.host_name() == "7"


def test_a_secret_comes_from_environment_then_credential_then_file_then_value(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    credential, secret_file = credentials / "slack.webhook_url", tmp_path / "url"
    credential.write_text("https://credential.example/\n")
    secret_file.write_text("https://file.example/\n")
    secret_file.chmod(0o640)
    file = written(
        tmp_path, f'[slack]\nwebhook_url = "https://value.example/"\nwebhook_url_file = "{secret_file}"\n', 0o600
    )

    def url(**environ: str) -> str:
        return load(file, environ).slack.webhook_url.get_secret_value()

    folder = str(credentials)
    environment = "https://environment.example/"
    assert url(CREDENTIALS_DIRECTORY=folder, SHIPKEEPER_SLACK__WEBHOOK_URL=environment) == environment
    assert url(CREDENTIALS_DIRECTORY=folder) == "https://credential.example/"
    assert url() == "https://file.example/"
    written(tmp_path, '[slack]\nwebhook_url = "https://value.example/"\n', 0o600)
    assert url() == "https://value.example/"


def test_everything_wrong_is_said_at_once_with_its_place_and_cure(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """
        mode = "enforced"
        speed = 3
        [docker]
        hots = "unix:///x"
        host = "ssh://me@there"
        [dokcer]
        [log]
        level = "INFO"
        [alerts]
        group_wait = 3
        log_lines = "many"
        redact = ["ok", "("]
        [alerts.rules.container-crash]
        for = "3s"
        [policies.images_dangling]
        unused_for = "30"
        [policies.disk_pressure]
        warn_percent = 3
        """,
    )
    said = complaint(file, {"SHIPKEEPER_DOKCER__HOST": "x", "SHIPKEEPER_WEB__LISTEN": "9817"})
    lines = [re.sub(r"\s{2,}", " | ", line.strip()) for line in said.splitlines()]
    assert lines[0] == f"cannot read the configuration {file}"
    assert lines[-1] == f"{len(lines) - 2} problems; these settings are not in force."
    assert set(lines[1:-1]) == {
        'SHIPKEEPER_DOKCER__HOST | no such setting; did you mean "SHIPKEEPER_DOCKER__HOST"?',
        'SHIPKEEPER_WEB__LISTEN = "9817" | needs a host and a port, for example "127.0.0.1:9817" or "[::1]:9817"',
        'mode = "enforced" | needs "observe", "approve" or "enforce"',
        "speed = … | no such key",
        '[docker] hots = … | no such key; did you mean "host"?',
        (
            '[docker] host = "ssh://me@there" | ssh:// is not supported; forward the engine\'s socket with ssh -L '
            "and name that socket here"
        ),
        '[dokcer] | no such table; did you mean "docker"?',
        '[log] level = "INFO" | needs "debug", "info", "warning" or "error"',
        '[alerts] group_wait = 3 | a duration needs a unit, for example "30d"',
        '[alerts] log_lines = "many" | needs a whole number, without quotes',
        '[alerts] redact[1] = "(" | is no regular expression: missing ), unterminated subpattern at position 0',
        '[alerts.rules.container-crash] | no such table; did you mean "container-crashed"?',
        '[policies.images_dangling] unused_for = "30" | a duration needs a unit, for example "30d"',
        (
            "[policies.disk_pressure] | warn_percent must be larger than act_percent: the levels say how much is left, "
            "so warn > act > critical"
        ),
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("docker = 3", "is a table: write [docker] above its keys"),
        ('[docker]\nhost = "unix://relative"', 'needs "unix:///path/of/docker.sock" or "tcp://host:2376"'),
        ('[docker]\nhost = "tcp://h:2376"\ntls_client_key = "/k"', "belong together"),
        ('[docker]\ntls_ca_cert = "/ca"', "a unix socket has no TLS"),
        ('[state]\ndir = "here"', "needs an absolute path"),
        ('[state]\ndir = "/a\\u0000b"', "needs an absolute path"),
        ('[alerts]\nredact = ["a{99999999999}"]', "is no regular expression"),
        ("[state]\ndir = 3", "needs a path in quotes"),
        ('[alerts]\ngroup_wait = "999999999d"', "is longer than ten years"),
        ('[policies.containers]\nexited_for = "1000000h"', "is longer than ten years"),
        ('[docker]\nhost = "tcp://h:port"', 'needs "unix:///path/of/docker.sock" or "tcp://host:2376"'),
        ('[web]\nlisten = "127.0.0.1:70000"', "the port is a number up to 65535"),
        ('[protect]\nimages = ""', 'needs a list, for example ["db-*"]'),
        ('[protect]\nimages = [""]', "an empty pattern matches nothing"),
        ('[alertmanager]\nurls = ["am:9093"]', "needs an address that begins with http:// or https://"),
        ('[alertmanager]\nurls = ["http://user:pw@am:9093"]', "without a password in it"),
        ('[alertmanager]\nurls = [""]', "an empty address among urls"),
        ('[alertmanager]\nurls = ["http://alerts:9093?token=x"]', "an address among urls has a query"),
        ('[alertmanager]\nusername = "a"\nbearer_token = "b"', "exclude each other"),
        ('[alertmanager]\ntls_client_key = "/key.pem"', "needs tls_client_cert beside it"),
        ('[webhook]\nurl = "ftp://files"', "needs an address that begins with http:// or https://"),
        ('[heartbeat]\nevery = "1s"', 'every lies between "10s" and "1h"'),
        ("[slack]\nmax_per_second = -1", "needs to be greater than or equal to 0"),
        ("[slack]\nmax_per_second = nan", "needs a finite number"),
        ('[policies.containers]\nenabled = "yes"', "needs true or false, without quotes"),
        ("[policies.disk_pressure]\nact_bytes = 20", "a size needs a unit"),
        ("[policies.disk_pressure]\ntarget_points = 80", "the target lies above the disk"),
        ("[policies.disk_pressure]\ntarget_bytes = 80", "a size needs a unit"),
        ("[policies.disk_pressure]\ncooldown = 10", "a duration needs a unit"),
        ("[policies.disk_pressure]\ninodes_target_percent = 5", "inodes_target_percent must be larger than"),
        ("[policies.disk_pressure]\nsustain_samples = 0", "sustain_samples must be larger than zero"),
        ('[policies.disk_pressure]\nschedule = "0 3 * * *"', "no such key"),
        ('[policies.disk_pressure]\nexclude = ["*"]', "matches everything"),
        ('[policies.disk_pressure]\nmode = "on"', 'needs "", "observe", "approve" or "enforce"'),
        ('[policies.images_unused]\nunused_for = "-30d"', "must not be negative"),
        ("[policies.images_unused]\nunused_for = 30", "a duration needs a unit"),
        ("[policies.images_unused]\nmax_bytes = 30", "a size needs a unit"),
        ('[policies.images_unused]\nmode = "remove"', 'needs "", "observe", "approve" or "enforce"'),
        ('[policies.images_unused]\nschedule = "daily"', "needs the five fields of cron"),
        ('[policies.images_unused]\nschedule = "61 3 * * *"', "is no schedule of cron"),
        ('[policies.images_unused]\nschedule = "0 3 30 2 *"', "names a day that never comes"),
        ('[policies.images_unused]\ninclude = [""]', "an empty rule selects nothing"),
        ('[policies.images_unused]\ninclude = ["*"]', "matches everything"),
        ('[policies.images_unused]\nexclude = ["name=** project=*"]', "matches everything"),
        ('[policies.images_unused]\nexclude = ["tag=1"]', '"tag=" is no kind of condition'),
        ('[policies.images_unused]\nexclude = ["label="]', '"label=" names nothing'),
        ('[policies.images_unused]\nexclude = ["label=*=x"]', "needs the whole name of a label"),
        ("[policies.images_unused]\nmax_removals = -1", "needs to be greater than or equal to 0"),
        ("[policies.images_unused]\nabort_over_percent = 101.0", "needs to be less than or equal to 100"),
        ("[policies.images_unused]\nkeep_last_per_repository = -1", "keep_last_per_repository must be 0 or more"),
        ('[host]\nname = 3\n[log]\nformat = "xml"', 'needs "text" or "json"'),
    ],
)
def test_a_bad_value_is_answered_with_its_cure(tmp_path: Path, text: str, words: str) -> None:
    assert words in complaint(written(tmp_path, text))


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    assert "line 2" in complaint(written(tmp_path, "[docker]\nhost = unix\n"))


def test_a_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "shipkeeper.toml"
    file.write_bytes(b"\xff\xfe")
    assert "this is not TOML" in complaint(file)


def test_a_missing_file_is_told_by_name(tmp_path: Path) -> None:
    assert complaint(tmp_path / "absent.toml").endswith("absent.toml: No such file or directory")


def test_a_file_with_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, f'[slack]\nwebhook_url = "{WEBHOOK}"\n', 0o640)
    said = complaint(file)
    assert f"others may read this secret: chmod 600 {file}" in said
    assert WEBHOOK not in said
    file.chmod(0o600)
    assert load(file, {}).slack.webhook_url.get_secret_value() == WEBHOOK


def test_a_secret_file_that_others_may_read_is_refused_and_its_group_may(tmp_path: Path) -> None:
    secret = tmp_path / "webhook"
    secret.write_text(WEBHOOK)
    secret.chmod(0o644)
    file = written(tmp_path, f'[slack]\nwebhook_url_file = "{secret}"\n')
    said = complaint(file)
    assert f"others may read this secret: chmod o= {secret}" in said
    assert WEBHOOK not in said
    secret.chmod(0o640)
    assert load(file, {}).slack.webhook_url.get_secret_value() == WEBHOOK


def test_a_secret_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, f'[slack]\nwebhook_url_file = "{tmp_path}/absent"\n')
    assert f"slack.webhook_url from {tmp_path}/absent" in complaint(file)


@pytest.mark.parametrize("text", ['[slack]\nwebhook_url = "ftp://verysecret"', '[slack]\nwebhok_url = "verysecret"'])
def test_a_secret_is_never_shown_in_a_complaint(tmp_path: Path, text: str) -> None:
    assert "verysecret" not in complaint(written(tmp_path, text, 0o600))
    assert "verysecret" not in complaint(None, {"SHIPKEEPER_SLACK__WEBHOOK_URL": "ftp://verysecret"})


def test_a_secret_is_never_shown_by_the_settings() -> None:
    settings = load(None, {"SHIPKEEPER_SLACK__WEBHOOK_URL": WEBHOOK})
    assert "verysecret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert settings.secrets() == (WEBHOOK, "/services/T000/B000/verysecret")


def test_every_key_and_every_secret_address_with_its_parts_is_a_secret() -> None:
    settings = load(
        None,
        {
            "SHIPKEEPER_ALERTMANAGER__USERNAME": "keeper",
            "SHIPKEEPER_ALERTMANAGER__PASSWORD": "alertmanagers-password",
            "SHIPKEEPER_WEBHOOK__URL": "https://hooks.example/verysecret?to=ops&key=webhooks-key",
            "SHIPKEEPER_WEBHOOK__BEARER_TOKEN": "webhooks-token",
            "SHIPKEEPER_HEARTBEAT__URL": "https://hc.example/some-uuid",
        },
    )
    assert set(settings.secrets()) == {
        "alertmanagers-password", base64.b64encode(b"keeper:alertmanagers-password").decode(), "webhooks-token",
        "https://hooks.example/verysecret?to=ops&key=webhooks-key", "/verysecret", "to=ops&key=webhooks-key",
        "webhooks-key", "https://hc.example/some-uuid", "/some-uuid",
    }  # fmt: skip


def test_slack_is_left_to_an_alertmanager_unless_both_are_wanted(tmp_path: Path) -> None:
    slack = f'[slack]\nwebhook_url = "{WEBHOOK}"\n'
    beside = '[alertmanager]\nurls = ["http://am:9093"]\n'
    tables = {slack: True, slack + beside: False, slack + beside + "slack_too = true": True, beside: False}
    for text, told in tables.items():
        assert load(written(tmp_path, text, 0o600), {}).slack_told() == told, text


def test_control_characters_of_a_value_do_not_reach_the_terminal(tmp_path: Path) -> None:
    said = complaint(written(tmp_path, '[log]\nlevel = "\\u001b[31m\\u202e"\n"\\u001b[1m" = 3'))
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_slack_may_be_a_plain_http_server_on_this_machine_only() -> None:
    load(None, {"SHIPKEEPER_SLACK__WEBHOOK_URL": "http://127.0.0.1:8000/hook"})
    assert "needs the https://" in complaint(None, {"SHIPKEEPER_SLACK__WEBHOOK_URL": "http://slack.example/"})
    assert "needs the https://" in complaint(None, {"SHIPKEEPER_SLACK__WEBHOOK_URL": f"{WEBHOOK}\r\nX-Evil: 1"})


def test_a_complaint_without_a_file_speaks_of_the_environment() -> None:
    said = complaint(None, {"SHIPKEEPER_LOG__LEVEL": "loud"})
    assert said.startswith("cannot use the settings in the environment")
    assert said.endswith("1 problem; these settings are not in force.")


@given(st.dictionaries(st.sampled_from([key.variable for key in KEYS.values()]), st.text()))
def test_any_environment_is_either_read_or_refused_in_words(environ: dict[str, str]) -> None:
    try:
        load(None, environ)
    except ConfigError as error:
        assert str(error).endswith("these settings are not in force.")  # noqa: PT017  both outcomes are right


def test_rules_are_the_catalogue_without_what_is_switched_off(tmp_path: Path) -> None:
    file = written(tmp_path, "[alerts.rules.disk-low]\nenabled = false\n")
    assert load(None, {}).rules() == BY_NAME
    assert set(load(file, {}).rules()) == set(BY_NAME) - {"disk-low"}


def test_a_policy_is_built_from_the_knobs_of_its_table(tmp_path: Path) -> None:
    file = written(tmp_path, '[policies.containers]\nexited_for = "5d"\n')
    assert load(file, {}).enabled_policies()["containers"] == ExitedContainers(exited_for=timedelta(days=5))
    assert set(load(file, {}).enabled_policies()) == ({*CLEANUPS} | {*JUDGES}) - OFF


def test_protection_carries_the_owners_globs(tmp_path: Path) -> None:
    protection = load(written(tmp_path, '[protect]\ncontainers = ["db-*"]\n'), {}).protection()
    assert protection.containers == ("db-*",)


def test_the_host_is_called_by_its_setting_else_its_hostname() -> None:
    assert load(None, {"SHIPKEEPER_HOST__NAME": "gpu-2"}).host_name() == "gpu-2"
    assert load(None, {}).host_name()


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"SHIPKEEPER_STATE__DIR": "/srv/sk", "STATE_DIRECTORY": "/by/systemd"}, 0, "/srv/sk"),
        ({"STATE_DIRECTORY": "/by/systemd:/second"}, 0, "/by/systemd"),
        ({}, 0, "/var/lib/shipkeeper"),
        ({"XDG_STATE_HOME": "/home/me/state"}, 1000, "/home/me/state/shipkeeper"),
    ],
)
def test_the_state_lives_where_the_contract_says(environ: dict[str, str], uid: int, expected: str) -> None:
    assert load(None, environ).state_dir(environ, uid) == Path(expected)


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"SHIPKEEPER_CONTROL__SOCKET": "/srv/c.sock", "RUNTIME_DIRECTORY": "/by/systemd"}, 0, "/srv/c.sock"),
        ({"RUNTIME_DIRECTORY": "/by/systemd"}, 0, "/by/systemd/control.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/shipkeeper/control.sock"),
    ],
)
def test_the_socket_lies_where_the_contract_says(environ: dict[str, str], uid: int, expected: str) -> None:
    assert load(None, environ).control_socket(environ, uid) == Path(expected)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/home/me/state"}, "/run/user/7/shipkeeper/control.sock"),
        ({"XDG_STATE_HOME": "/home/me/state"}, "/home/me/state/shipkeeper/control.sock"),
    ],
)
def test_a_users_own_daemon_has_its_socket_in_the_session_else_beside_its_state(
    environ: dict[str, str], expected: str, tmp_path: Path
) -> None:
    assert load(None, environ).control_socket(environ, 1000, tmp_path / "absent") == Path(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('token = "xoxp-1234567890"', "it begins with xoxb-"),
        ('token = "xoxb-1234567890"', 'channel = "#alerts"'),
        ('token = "xoxb-1234567890"\nchannel = "alerts"', 'needs a channel by its name or id, for example "#alerts"'),
        ('channel = "#alerts"', "channel needs a token"),
        (f'token = "xoxb-1234567890"\nchannel = "#a"\nwebhook_url = "{WEBHOOK}"', "exclude each other"),
        ('api_url = "http://slack.com/api/"', "https://slack.com/api/"),
        ('here = ["urgent"]', 'needs "critical", "warning" or "info"'),
    ],
)
def test_a_slack_that_cannot_work_is_refused_with_the_cure(tmp_path: Path, text: str, words: str) -> None:
    said = complaint(written(tmp_path, f"[slack]\n{text}\n", 0o600))
    assert words in said
    assert "1234567890" not in said


def test_the_bot_s_token_is_read_from_a_credential_and_is_a_secret(tmp_path: Path) -> None:
    (tmp_path / "slack.token").write_text("xoxb-1234567890\n")
    settings = load(written(tmp_path, '[slack]\nchannel = "#alerts"\n'), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert settings.slack.has_bot
    assert "xoxb-1234567890" in settings.secrets()


def test_who_judges_the_configuration_is_shown_the_credentials_of_the_service_and_a_daemon_by_hand_is_not(
    tmp_path: Path,
) -> None:
    store = tmp_path / CREDENTIAL_STORE
    store.mkdir(parents=True)
    (store / "shipkeeper.slack.token").write_text("xoxb-1234567890\n")
    file = written(tmp_path, '[slack]\nchannel = "#alerts"\n')
    assert load(file, {}, store).slack.has_bot
    not_shown: tuple[Callable[[], Settings], ...] = (
        lambda: load(file, {}),
        lambda: load(file, {}, tmp_path / "another"),
        lambda: load(file, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, store),
        lambda: load_for_judging(file, {}, tmp_path),  # it is not the service's file
    )
    for read in not_shown:
        with pytest.raises(ConfigError, match="the service alone is shown"):
            read()


BOT = '[slack]\ntoken = "xoxb-1234567890"\nchannel = "#alerts"\n'


@pytest.mark.parametrize(
    ("above", "route", "words"),
    [
        ("", 'to = ["slack"]', "[[alerts.routes]] 1 to slack leads nowhere: there is neither a [slack] token"),
        ("", 'to = ["#gpu"]', "[[alerts.routes]] 1 to #gpu leads nowhere: a channel needs a bot"),
        ("", 'to = ["pager"]', "pager leads nowhere: there is no such place; there are console"),
        ("", "to = []", "leads nowhere; name a place"),
        ("", 'severities = ["critical"]', "[[alerts.routes]] 1 to is missing"),
        ("", 'to = ["console"]\nalerts = ["gpu-lots"]', "no alert is called gpu-lots"),
        ("", 'to = ["console"]\nseverity = "critical"', "[[alerts.routes]] 1 severity no such key"),
        (BOT, 'to = ["#gpu"]\n[[alerts.routes]]\nto = ["console"]', "[[alerts.routes]] 2 is never reached"),
    ],
)
def test_a_route_that_leads_nowhere_is_refused_with_the_cure(
    tmp_path: Path, above: str, route: str, words: str
) -> None:
    said = complaint(written(tmp_path, f"{above}[[alerts.routes]]\n{route}\n", 0o600))
    assert words in " ".join(said.split())


def test_routes_lead_to_channels_and_the_bot_s_own_goes_by_the_name_of_slack(tmp_path: Path) -> None:
    route = '[[alerts.routes]]\nseverities = ["critical"]\nto = ["#alerts", "#on-call", "console"]\n'
    settings = load(written(tmp_path, f"{BOT}{route}", 0o600), {})
    assert settings.places() == ("console", "slack", "#alerts", "#on-call")
    assert settings.channels() == ("#on-call",)
    assert [rule.to for rule in settings.routing()] == [("slack", "#on-call", "console")]


def test_the_example_routes_of_the_sample_file_are_good(tmp_path: Path) -> None:
    commented = SAMPLE.read_text().partition("# routes = []")[0].rpartition("For example:\n")[2]
    example = "".join(line.removeprefix("#   ") for line in commented.splitlines(keepends=True))
    assert len(load(written(tmp_path, BOT + example, 0o600), {}).alerts.routes) == 3
