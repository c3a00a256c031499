"""What the installer and the image are made of: the lock, as pip reads it."""

from __future__ import annotations

import subprocess

import pytest

from tests.lab.binaries import REPOSITORY
from tests.lab.wheels import locked


@pytest.mark.parametrize(
    ("file", "selection"), [("requirements.txt", ["--no-dev"]), ("requirements-build.txt", ["--only-group", "build"])]
)
def test_pip_is_given_what_the_lock_names(file: str, selection: list[str]) -> None:
    assert (REPOSITORY / "deploy" / file).read_text() == locked(*selection), "cure: make requirements"


def test_the_installer_says_what_is_missing_with_the_cure_and_knows_its_options() -> None:
    installer = str(REPOSITORY / "deploy/install.sh")
    done = subprocess.run([installer, "--dry-run", "--python", "/nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "\n  cure: " in done.stderr
    for program in (installer, str(REPOSITORY / "deploy/uninstall.sh")):
        done = subprocess.run([program, "--nonsense"], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "Usage: " in done.stdout
