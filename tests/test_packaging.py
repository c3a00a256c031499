"""What the installer and the image are made of: the lock, as pip reads it."""

from __future__ import annotations

import pytest

from tests.lab.binaries import REPOSITORY
from tests.lab.wheels import locked


@pytest.mark.parametrize(
    ("file", "selection"), [("requirements.txt", ["--no-dev"]), ("requirements-build.txt", ["--only-group", "build"])]
)
def test_pip_is_given_what_the_lock_names(file: str, selection: list[str]) -> None:
    assert (REPOSITORY / "deploy" / file).read_text() == locked(*selection), "cure: make requirements"
