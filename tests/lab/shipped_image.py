"""Builds the container image that this repository ships, without a registry: on a Debian that is made on the spot."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from tests.lab.binaries import REPOSITORY
from tests.lab.checkout import of_today
from tests.lab.errors import LabError
from tests.lab.systemd import trixie
from tests.lab.wheels import download

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.engine import PrivateEngine

BASE, IMAGE = "base:latest", "shipkeeper:latest"
_WITHOUT_NETWORK = {"BASE": BASE, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/source/deploy/wheels"}


def build_shipped_image(engine: PrivateEngine, folder: Path) -> None:
    """Give an engine both images; `folder` takes what they are made of. Raises `LabError` with the last words."""
    base = folder / "base.tar"
    subprocess.run(["tar", "-cf", str(base), "-C", str(trixie()), "."], check=True)
    source = of_today(folder / "source")
    shutil.copy(REPOSITORY / ".dockerignore", source)
    download(source / "deploy/wheels", "3.13")
    (source / "shipkeeper.toml").write_text("# with a secret, and left out of the image")
    client: Any = engine.api  # half of docker-py's image calls carry no types
    client.import_image_from_file(str(base), repository="base", tag="latest")
    said = list(
        client.build(
            path=str(source),
            dockerfile="deploy/Dockerfile",
            tag=IMAGE,
            buildargs=_WITHOUT_NETWORK,
            network_mode="none",
            decode=True,
        )
    )
    if any("error" in line for line in said):
        raise LabError(f"the image was not built: {said[-5:]}")
