from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.lab.binaries import REPOSITORY

if TYPE_CHECKING:
    from tests.lab.engine import PrivateEngine

FIND_ENGINE = [sys.executable, str(REPOSITORY / "deploy" / "find_engine.py")]
# root may pass any permission; root without these capabilities may not
AS_ONE_WHO_OBEYS_PERMISSIONS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]


def find(docker_host: str, *, through: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DOCKER_HOST": docker_host}
    return subprocess.run(
        [*(through or []), *FIND_ENGINE], env=environment, check=False, capture_output=True, text=True
    )


def test_an_engine_that_answers_is_found(engine: PrivateEngine) -> None:
    found = find(engine.docker_host)
    assert (found.returncode, found.stdout) == (0, f"{engine.docker_host}\n")


def test_an_engine_that_was_asked_for_and_is_not_there_is_told() -> None:
    found = find("unix:///nowhere/docker.sock")
    assert found.returncode == 1
    assert "unix:///nowhere/docker.sock cannot be reached" in found.stderr
    assert "start it, or set or unset DOCKER_HOST" in found.stderr


def test_an_address_of_a_kind_that_we_do_not_watch_is_told() -> None:
    found = find("ssh://somewhere")
    assert found.returncode == 1
    assert "ssh:// is no kind of address that Shipkeeper can watch, unix:// and tcp:// are" in found.stderr
    assert "set or unset DOCKER_HOST" in found.stderr


def test_an_engine_that_this_user_may_not_talk_to_comes_with_the_line_to_type(engine: PrivateEngine) -> None:
    mode = engine.socket.stat().st_mode
    engine.socket.chmod(0)
    try:
        found = find(engine.docker_host, through=AS_ONE_WHO_OBEYS_PERMISSIONS)
    finally:
        engine.socket.chmod(mode)
    assert found.returncode == 1
    assert "sudo usermod -aG docker $USER" in found.stderr
