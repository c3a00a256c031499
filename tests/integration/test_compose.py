"""`deploy/compose` on a real Docker with its bridge and its resolver: what its page says, typed; all but Grafana."""

from __future__ import annotations

import json
import re
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.lab import machine
from tests.lab.binaries import REPOSITORY, Suite, alertmanager, prometheus
from tests.lab.checkout import for_guest
from tests.lab.engine import PrivateEngine
from tests.lab.shipped_image import BASE, IMAGE, build_shipped_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

PATIENCE = timedelta(minutes=30)
MEMORY_MB = 4096
STARTED = ("shipkeeper", "prometheus", "alertmanager")
"""Grafana is in no package of Debian's: its files are read by other tests, no Grafana reads them here."""
RUN = """\
set -e
export HOME=/root PYTHONPATH=$PWD
systemctl start docker
python3 -m tests.lab.guest.composed
"""
PROMETHEUS_IMAGE = f"""\
FROM {BASE}
COPY prometheus /bin/prometheus
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
WORKDIR /prometheus
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
"""
ALERTMANAGER_IMAGE = f"""\
FROM {BASE}
COPY usr /usr
RUN ln -s /usr/bin/prometheus-alertmanager /bin/alertmanager && install -d -o nobody -g nogroup /alertmanager
USER nobody
WORKDIR /alertmanager
VOLUME /alertmanager
ENTRYPOINT ["/bin/alertmanager"]
CMD ["--config.file=/etc/alertmanager/alertmanager.yml", "--storage.path=/alertmanager"]
"""
"""Both are made like those of the Prometheus project, of Debian's programs."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Give what the machine noted."""
    inside, results = tmp_path_factory.mktemp("inside"), tmp_path_factory.mktemp("results")
    for_guest(inside)
    shutil.copytree(REPOSITORY / "deploy", inside / "deploy")
    with PrivateEngine(Suite.SID) as engine:
        build_shipped_image(engine, tmp_path_factory.mktemp("image"))
        save(engine, inside / "images.tar", [BASE, IMAGE, *servers(engine, tmp_path_factory.mktemp("servers"))])
    (inside / "up.sh").write_text(f"{as_the_page_says()} {' '.join(STARTED)}\n")
    (inside / "run.sh").write_text(RUN)
    machine.run(inside, results, PATIENCE, MEMORY_MB)
    return json.loads((results / "note.json").read_text())


def as_the_page_says() -> str:
    """Give the lines that `docs/container.md` says."""
    _, _, section = (REPOSITORY / "docs/container.md").read_text().partition("## With Prometheus")
    return "\n".join(re.findall("^    (.*)", section, re.MULTILINE))


def servers(engine: PrivateEngine, folder: Path) -> Iterator[str]:
    """Make the images that the compose file names."""
    services = yaml.safe_load((REPOSITORY / "deploy/compose/compose.yaml").read_text())["services"]
    shutil.copy(prometheus(), folder / "prometheus")
    shutil.copytree(alertmanager() / "usr", folder / "usr")
    client: Any = engine.api  # half of docker-py's image calls carry no types
    for name, text in (("prometheus", PROMETHEUS_IMAGE), ("alertmanager", ALERTMANAGER_IMAGE)):
        (folder / "Dockerfile").write_text(text)
        said = list(client.build(path=str(folder), tag=services[name]["image"], network_mode="none", decode=True))
        assert not any("error" in line for line in said), said[-5:]
        yield services[name]["image"]


def save(engine: PrivateEngine, file: Path, names: list[str]) -> None:
    """Write images into one file, so that what they have in common is in it once."""
    client: Any = engine.api
    with (
        client._get(client._url("/images/get"), params={"names": names}, stream=True) as answer,
        file.open("wb") as out,
    ):
        answer.raise_for_status()
        shutil.copyfileobj(answer.raw, out)


def test_prometheus_takes_every_rule_and_what_fires_reaches_the_alertmanager(seen: Any) -> None:
    assert len(seen["rules"]) > 40
    assert [rule for rule in seen["rules"] if rule["health"] != "ok"] == []
    [told] = seen["told"]
    assert (told["alertname"], told["instance"]) == ("ShipkeeperDown", "shipkeeper:9817")


def test_pages_are_for_this_host_alone_and_that_of_the_metrics_for_prometheus(seen: Any) -> None:
    ports = dict(line.split(" ", 1) for line in seen["ports"])
    assert set(ports) == set(STARTED)
    assert ports["prometheus"] == "127.0.0.1:9090->9090/tcp"
    assert ports["alertmanager"] == "127.0.0.1:9093->9093/tcp"
    assert ports["shipkeeper"] == "9817/tcp"


def test_shipkeeper_sees_the_host_and_its_docker_from_inside(seen: Any) -> None:
    status = seen["status"]
    assert status["host"] == seen["name of the host"]
    assert status["docker"]["up"]
    assert "data-root" in seen["roles"]
    assert seen["exit code"] == 0
