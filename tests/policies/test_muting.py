from __future__ import annotations

import pytest

from policies.muting import audible


@pytest.mark.parametrize("value", ["off", "OFF", " off "])
def test_a_container_with_its_alerts_off_is_not_heard(value: str) -> None:
    assert not audible("web", {"shipkeeper.alerts": value}, ())


@pytest.mark.parametrize("value", ["on", "", "false"])
def test_any_other_value_of_the_label_leaves_it_heard(value: str) -> None:
    assert audible("web", {"shipkeeper.alerts": value}, ())


def test_a_glob_that_fits_the_name_silences_it() -> None:
    assert not audible("ci-42", {}, ("db", "ci-*"))
    assert audible("web", {}, ("db", "ci-*"))


def test_a_glob_minds_the_case_as_docker_does() -> None:
    assert audible("Web", {}, ("web",))
