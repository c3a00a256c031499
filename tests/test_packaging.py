"""What the installer and the image are made of: the lock, as pip reads it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.lab.binaries import REPOSITORY, promtool
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


@pytest.mark.parametrize("processor", ["x86_64", "aarch64"])
def test_no_package_has_to_be_compiled(processor: str) -> None:
    wanted = set(re.findall(r"(?m)^([\w.-]+)==[^;\n]*\\$", (REPOSITORY / "deploy/requirements.txt").read_text()))
    lock = tomllib.loads((REPOSITORY / "uv.lock").read_text())
    ready = re.compile(rf"-none-any\.whl$|manylinux\w*_{processor}[\w.]*\.whl$")
    ready_made = {
        each["name"] for each in lock["package"] if any(ready.search(w["url"]) for w in each.get("wheels", ()))
    }
    assert len(wanted) > 20
    assert wanted - ready_made == set()


@pytest.mark.parametrize(
    ("schema", "file"),
    [("compose-spec", "deploy/compose/compose.yaml"), ("github-workflows", ".github/workflows/check.yml")],
)
def test_what_other_programs_read_keeps_to_their_schema(schema: str, file: str) -> None:
    check = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", f"vendor.{schema}", file]
    done = subprocess.run(check, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_the_containers_of_the_compose_file_are_given_is_there() -> None:
    folder = REPOSITORY / "deploy/compose"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    mounted = [each.split(":")[0] for service in services.values() for each in service["volumes"]]
    assert [place for place in mounted if place.startswith(".") and not (folder / place).exists()] == []
    done = subprocess.run([promtool(), "check", "config", folder / "prometheus.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
