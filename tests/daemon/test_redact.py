from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.redact import Redactor

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer ***"),
        ("curl -H 'Authorization: Basic dXNlcjpwdw=='", "curl -H 'Authorization: Basic ***'"),
        ("using bearer abcdefgh12345", "using bearer ***"),
        ("DB_PASSWORD=hunter2 started", "DB_PASSWORD=*** started"),
        ('{"password": "hun\'ter 2", "user": "bob"}', '{"password": ***, "user": "bob"}'),
        (r'{"msg": "{\"password\": \"hunter2\", \"user\": 1}"}', r'{"msg": "{\"password\": ***, \"user\": 1}"}'),
        (r'"{\"Authorization\": \"Basic dXNlcjpwdw==\"}"', r'"{\"Authorization\": \"Basic ***\"}"'),
        (r'{"password": "hun\"ter2", "user": "bob"}', '{"password": ***, "user": "bob"}'),
        ("connect(user='bob', password=b'hunter2')", "connect(user='bob', password=***)"),
        ('... DB_PASSWORD="hunter 2', "... DB_PASSWORD=***"),
        ("['mytool', '--password', 'hunter2', '-v']", "['mytool', '--password', ***, '-v']"),
        ("mytool --token 'hunter 2' -v", "mytool --token *** -v"),
        ("?user=bob&access_token=s3cr3t&page=2", "?user=bob&access_token=***&page=2"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = ***"),
        ("key AKIAIOSFODNN7EXAMPLE in use", "key *** in use"),
        ("postgres://app:hunter2@db:5432/app", "postgres://app:***@db:5432/app"),
        ("redis://:p@ss@cache:6379", "redis://:***@cache:6379"),
        ("POST https://hooks.slack.com/services/T0/B0/xyz", "POST https://hooks.slack.com/***"),
        ("xoxb-1234567890-abcdef", "***"),
        ("token xapp-1-A0-123-abc", "token ***"),
        ("mytool --password hunter2 --verbose", "mytool --password *** --verbose"),
        (f"got {JWT} back", "got *** back"),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "***"),
        ("huggingface_hub: login as hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345", "huggingface_hub: login as ***"),
        ("docker login -u me -p dckr_pat_AbCdEfGhIjKlMnOpQrStUvWxYz0", "docker login -u me -p ***"),
        ("nvapi-AbCdEfGh_IjKlMnOpQrSt-UvWxYz0 expired", "*** expired"),
        ("Incorrect API key provided: sk-proj-AbCdEfGhIjKlMnOp0123", "Incorrect API key provided: ***"),
        ("x-api-key sk-ant-api03-AbCdEfGhIjKlMnOp", "x-api-key ***"),
        ("stripe: sk_live_AbCdEfGhIjKlMnOp0123", "stripe: ***"),
        ("+ curl -s -u bob:hunter2 https://api", "+ curl -s -u bob:*** https://api"),
        ("curl --user='bob:hunter 2' https://api", "curl --user='bob:*** 2' https://api"),
    ],
)
def test_secrets_are_hidden_and_the_text_around_them_stays(line: str, shown: str) -> None:
    assert Redactor().text(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        "step 4180 loss 2.113 tokens: 4096 max_tokens=512",
        "GET http://api:8080/users@example.com/token/refresh 200",
        "the password was wrong",
        "listening on 127.0.0.1:8000, at 16:02:11",
        "sk-learn-gradient-boosting-regressor started, disk-usage-0123456789-0123456789",
        "tf_model from hf_hub, npm_config_cache, docker run -u 1000:1000 curl",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert Redactor().text(line) == line


def test_a_key_of_several_lines_is_hidden_as_a_whole() -> None:
    lines = ["before", "-----BEGIN RSA PRIVATE KEY-----", "MIIEow", "IBAAKC", "-----END RSA PRIVATE KEY-----", "after"]
    hidden = ("before", "-----BEGIN RSA PRIVATE KEY-----", "***-----END RSA PRIVATE KEY-----", "after")
    assert Redactor().lines(lines) == hidden


def test_a_key_that_a_log_tail_shows_half_of_is_hidden() -> None:
    assert Redactor().lines(["MIIEow", "IBAAKC", "-----END PRIVATE KEY-----"]) == ("***-----END PRIVATE KEY-----",)
    assert Redactor().lines(["-----BEGIN PRIVATE KEY-----", "MIIEow"]) == ("-----BEGIN PRIVATE KEY-----", "***")


def test_the_owner_s_own_patterns_are_hidden_too() -> None:
    redactor = Redactor([r"customer-\d+", r"iban=(?P<secret>\w+)"])
    assert redactor.text("customer-17 paid, iban=DE12") == "*** paid, iban=***"


def test_an_expression_that_is_none_is_refused() -> None:
    with pytest.raises(re.error):
        Redactor(["("])


@given(st.text(max_size=300))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    redactor = Redactor()
    assert redactor.text(redactor.text(text)) == redactor.text(text)
