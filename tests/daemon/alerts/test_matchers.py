from __future__ import annotations

from dataclasses import replace

import pytest

from daemon.alerts.matchers import LABELS, labels_of, read
from policies.policy import Severity
from tests.daemon.alerts.build import BAD, DISK, HOST, LOOP, ROOT, Story, compose, condition


def about(alert: str = LOOP, **changes: object) -> dict[str, str]:
    """Give the labels of an alert about nlp's trainer."""
    story = Story()
    subject = ROOT if alert == DISK else compose("train", 3)
    story.round(condition(BAD, alert, subject, severity=Severity.CRITICAL))
    return dict(labels_of(replace(story.state(alert), **changes)))  # type: ignore[arg-type]


def test_an_alert_is_about_all_this() -> None:
    assert about() == {
        "alert": LOOP,
        "severity": "critical",
        "subject": "nlp-train-3",
        "kind": "container",
        "container": "nlp-train-3",
        "project": "nlp",
        "service": "train",
        "host": HOST,
    }
    assert tuple(about()) == LABELS
    assert about(DISK) == {
        "alert": DISK,
        "severity": "critical",
        "subject": "/",
        "kind": "filesystem",
        "container": "",
        "project": "",
        "service": "",
        "host": HOST,
    }


@pytest.mark.parametrize(
    "condition",
    [
        "alert=container-restart-loop",
        "alert=ContainerRestartLoop",
        "severity!=warning",
        "container=~nlp-.*",
        'project="nlp"',
        "project = nlp",
        "service!~web|api",
        "Kind=container",
        "host=gpu-host-2",
    ],
)
def test_what_fits(condition: str) -> None:
    assert read(condition).fits(about())


@pytest.mark.parametrize(
    "condition", ["alert=disk-low", "severity=warning", "container=~nlp", "project!=nlp", "service!~t.*", "container="]
)
def test_what_does_not_fit(condition: str) -> None:
    assert not read(condition).fits(about())


def test_what_an_alert_does_not_have_is_empty() -> None:
    assert read("container=").fits(about(DISK))
    assert read("container!=web-1").fits(about(DISK))


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("web-1", '"web-1" is no condition; it looks like container=web-1'),
        ("contaner=web", 'there is no "contaner"; did you mean "container"?'),
        ("image=web", 'there is no "image"'),
        ("alert=container-crash", 'did you mean "container-crashed"'),
        ("alert=xyz", "it is one of"),
        ("severity=high", "it is one of critical, info, warning"),
        ("subject=~(a", r'the pattern "\(a" has a "\("'),
        ("subject=" + "x" * 301, "longer than 300"),
    ],
)
def test_what_is_wrong_is_said_with_the_cure(typed: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("?", r"\?")):
        read(typed)


@pytest.mark.parametrize("typed", ["project=~ci.*", "severity!=critical", "container=web-1", "host!~a|b"])
def test_it_is_shown_as_it_was_typed(typed: str) -> None:
    assert str(read(typed)) == typed
    assert read(str(read(typed))) == read(typed)
