"""The container image: built from a base that is made on the spot, and run on a real engine."""

from __future__ import annotations

import json
import shutil
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.binaries import Suite
from tests.lab.engine import PrivateEngine
from tests.lab.shipped_image import BASE, IMAGE, build_shipped_image
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SOCKETS_GROUP = 4242


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    """Give an engine that has the image."""
    with PrivateEngine(Suite.SID) as engine:
        build_shipped_image(engine, tmp_path_factory.mktemp("image"))
        yield engine


def sh(engine: PrivateEngine, container: str, script: str) -> str:
    """Run a script in a container and give what it printed."""
    client: Any = engine.api
    started = client.exec_create(container, ["sh", "-c", script])
    return str(client.exec_start(started["Id"]).decode())


def test_it_watches_the_engine_as_nobody_in_particular_and_is_healthy(docker: PrivateEngine) -> None:
    shutil.chown(docker.socket, group=SOCKETS_GROUP)
    docker.socket.chmod(0o660)
    docker.run(["sleep", "1000"], name="neighbour")
    keeper = docker.run(
        (),
        name="keeper",
        config={"image": IMAGE},
        binds=[f"{docker.socket}:/var/run/docker.sock"],
        group_add=[str(SOCKETS_GROUP)],
        read_only=True,
        tmpfs={"/run/shipkeeper": "mode=0750,uid=9817,gid=9817", "/tmp": ""},  # noqa: S108  of the container
        uts_mode="host",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges:true"],
    )

    def health() -> str:
        state = docker.api.inspect_container(keeper)["State"]
        assert state["Running"], docker.api.logs(keeper).decode()
        return str(state["Health"]["Status"])

    wait_until(lambda: health() == "healthy", "the container to be healthy", 180)
    assert sh(docker, keeper, "id -u; id -G").split() == ["9817", "9817", str(SOCKETS_GROUP)]
    status = json.loads(sh(docker, keeper, "shipkeeper status --json"))
    assert status["docker"]["up"]
    assert status["containers"]["running"] == 2
    assert status["host"] == socket.gethostname()
    assert sh(docker, keeper, "ls -A /source 2>&1; ls /opt/shipkeeper/bin | grep pip").startswith("ls:")
    docker.api.stop(keeper, timeout=25)
    assert docker.api.inspect_container(keeper)["State"]["ExitCode"] == 0
    client: Any = docker.api
    megabytes = (client.inspect_image(IMAGE)["Size"] - client.inspect_image(BASE)["Size"]) / 1e6
    print(f"the image adds {megabytes:.0f} MB to its base")
    assert megabytes < 150


def test_without_the_sockets_group_it_says_what_is_missing(docker: PrivateEngine) -> None:
    shutil.chown(docker.socket, group=SOCKETS_GROUP)
    docker.socket.chmod(0o660)
    binds = [f"{docker.socket}:/var/run/docker.sock"]
    keeper = docker.run((), name="stranger", config={"image": IMAGE}, binds=binds)
    wait_until(lambda: "permission denied" in docker.api.logs(keeper).decode().lower(), "the words for it", 60)
    docker.api.stop(keeper, timeout=25)
