"""Installing, upgrading and removing the service on a host with a real systemd and a real engine."""

from __future__ import annotations

import json
import os
import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.binaries import REPOSITORY, Suite
from tests.lab.checkout import of_before, of_today
from tests.lab.engine import PrivateEngine
from tests.lab.slack import SERVER_ERROR
from tests.lab.systemd import SHARED, Guest
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.slack import FakeSlack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

PATIENCE = 120.0
UNIT = "shipkeeper.service"
OURS = ("/opt/shipkeeper", "/usr/local/bin/shipkeeper", f"/etc/systemd/system/{UNIT}", "/etc/shipkeeper")
CONFIGURATION = """\
[alerts]
group_wait = "0s"
[alerts.rules.container-crashed]
for = "0s"
[[alerts.routes]]
to = ["slack"]  # leads nowhere but for the credential
"""
# A version that changes the store, and then does not get ready.
LATER_SCHEMA = '\nMIGRATIONS = (*MIGRATIONS, ("CREATE TABLE of_tomorrow(x)",))\n'
NEVER_READY = """

def _fail(_self: Notifier, _status: str) -> None:
    raise SystemExit("this version cannot get ready")


Notifier.ready = _fail
"""


class Host:
    """A host with systemd and Docker, and what its owner does there."""

    def __init__(self, guest: Guest, engine: PrivateEngine) -> None:
        self.guest = guest
        self.engine = engine

    def owns(self) -> list[str]:
        """Give what an installation leaves of its files."""
        return [place for place in OURS if self.guest.run("sh", "-c", f"ls -d {place} 2>/dev/null", check=False)]

    def install(self, source: str, *options: str) -> str:
        """Install from this source in the shared folder, and give what was said."""
        return self.guest.run(str(SHARED / source / "deploy/install.sh"), *options)

    def alerts(self) -> list[dict[str, Any]]:
        """Give what fires."""
        told = json.loads(self.guest.run("shipkeeper", "alerts", "list", "--json"))
        return [alert for alert in told if alert["state"] == "firing"]

    def pid(self) -> str:
        """Give the process of the service."""
        return self.guest.show(UNIT, "MainPID")["MainPID"]

    def journal(self) -> str:
        """Give what the service said."""
        self.guest.run("journalctl", "--sync")
        return self.guest.run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager")

    def release(self) -> str:
        """Give the name of the installed version."""
        return self.guest.run("readlink", "/opt/shipkeeper/bin").split("/")[-2]


@contextmanager
def fresh_host(engine: PrivateEngine) -> Iterator[Host]:
    """Give a host that shares this machine's network, with Docker and without us."""
    with Guest(shares_network=True) as guest:
        os.link(engine.socket, guest.shared / "docker.sock")
        guest.shell(
            f"""
            getent group docker || groupadd docker
            chgrp docker {SHARED}/docker.sock
            chmod 660 {SHARED}/docker.sock
            ln -sfn {SHARED}/docker.sock /run/docker.sock
            """
        )
        of_today(guest.shared / "today")
        host = Host(guest, engine)
        assert host.owns() == []
        yield host


@pytest.fixture(scope="module")
def docker() -> Iterator[PrivateEngine]:
    """Give one engine for all hosts, one after the other."""
    with PrivateEngine(Suite.SID) as engine:
        yield engine


def lines_of_the_readme() -> list[str]:
    """Give what the README lets a person type to install the service."""
    [section] = re.findall(
        r"^## Install it as a service$(.*?)^## ", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    return re.findall(r"(?m)^    (\S.*?)(?: +#.*)?$", section)


def test_the_lines_of_the_readme_lead_from_nothing_to_the_first_alert(docker: PrivateEngine) -> None:
    with fresh_host(docker) as host:
        begun = time.monotonic()
        for line in lines_of_the_readme():
            host.guest.run("sh", "-c", f"cd {SHARED}/today && {line}")
        installed = time.monotonic() - begun
        docker.run(["sh", "-c", "exit 3"], name="first")
        wait_until(lambda: "🟠 first crashed" in host.journal(), "the first alert in the journal", PATIENCE)
        print(f"from nothing: installed after {installed:.0f} s, first alert after {time.monotonic() - begun:.0f} s")
        words = ". /usr/local/share/bash-completion/completions/shipkeeper; complete -p shipkeeper"
        assert "_shipkeeper_completion" in host.guest.run("bash", "-c", words)
        compiled = (
            "find /opt/shipkeeper/releases -name '*.py' | wc -l; find /opt/shipkeeper/releases -name '*.pyc' | wc -l"
        )
        sources, bytecode = map(int, host.guest.shell(compiled).split())
        assert bytecode > 0.9 * sources, "the service may not write bytecode itself"
    docker.clear()


def test_it_can_be_said_beforehand_repeated_and_taken_back(docker: PrivateEngine) -> None:
    with fresh_host(docker) as host:
        said = host.install("today", "--dry-run")
        assert "nothing was changed" in said
        assert host.owns() == []
        assert host.guest.run("getent", "passwd", "shipkeeper", check=False) == ""
        host.install("today")
        host.guest.shell("echo '# mine' >> /etc/shipkeeper/shipkeeper.toml")
        before, files = (
            host.pid(),
            host.guest.shell("find /opt/shipkeeper /etc/shipkeeper /etc/systemd -printf '%p %T@\n'"),
        )
        again = host.install("today")
        assert "built already" in again
        assert "runs this version already" in again
        assert host.pid() == before
        assert host.guest.shell("find /opt/shipkeeper /etc/shipkeeper /etc/systemd -printf '%p %T@\n'") == files
        host.guest.shell("echo 'nonsense = 1' >> /etc/shipkeeper/shipkeeper.toml; touch /srv/lab/today/daemon/new.py")
        refused = host.guest.shell(f"! {SHARED}/today/deploy/install.sh 2>&1")
        assert "nonsense" in refused
        assert host.pid() == before, "nothing is stopped for a version that refuses the configuration"
        uninstall = f"{SHARED}/today/deploy/uninstall.sh"
        assert "nothing was changed" in host.guest.run(uninstall, "--dry-run")
        assert host.pid() == before
        host.guest.run(uninstall)
        assert host.owns() == ["/etc/shipkeeper"]
        assert host.guest.shell("ls /var/lib/shipkeeper/state.db; grep mine /etc/shipkeeper/shipkeeper.toml")
        host.guest.run(uninstall, "--purge")
        assert host.owns() == []
        left = host.guest.shell(
            "find / -xdev -iname '*shipkeeper*' -not -path '/proc/*' -newer /srv/lab/docker.sock 2>/dev/null"
        )
        assert [path for path in left.splitlines() if path.startswith(("/etc", "/opt", "/usr", "/var/lib"))] == []
    docker.clear()


def test_an_upgrade_loses_nothing_and_one_that_fails_is_taken_back(docker: PrivateEngine, slack: FakeSlack) -> None:
    with fresh_host(docker) as host:
        of_before(host.guest.shared / "before")
        broken = of_today(host.guest.shared / "broken")
        append(broken / "daemon/schema.py", LATER_SCHEMA)
        append(broken / "daemon/systemd.py", NEVER_READY)
        slack.fail_always(SERVER_ERROR)
        (host.guest.shared / "shipkeeper.toml").write_text(CONFIGURATION)
        host.guest.shell(
            f"""
            install -D {SHARED}/shipkeeper.toml /etc/shipkeeper/shipkeeper.toml
            echo {slack.webhook_url} | install -D -m 600 /dev/stdin /etc/credstore/shipkeeper.slack.webhook_url
            """
        )
        host.install("before")
        of_old = host.release()
        docker.run(["sh", "-c", "exit 3"], name="failing")
        slack.wait(lambda posts: len(posts) > 0, PATIENCE)
        [before] = [alert for alert in host.alerts() if alert["alert"] == "container-crashed"]

        failed = host.guest.shell(f"! {SHARED}/broken/deploy/install.sh 2>&1")
        assert "this version cannot get ready" in failed
        assert "the version from before is at work again" in failed
        assert host.release() == of_old
        assert [alert for alert in host.alerts() if alert["alert"] == "container-crashed"] == [before]
        assert "of_tomorrow" not in host.guest.shell("strings -a /var/lib/shipkeeper/state.db* || true")

        said = host.install("today")
        assert "the version from before is replaced" in said
        assert host.release() != of_old
        assert host.guest.shell("ls /opt/shipkeeper/releases").split() == [host.release()]
        [after] = [alert for alert in host.alerts() if alert["alert"] == "container-crashed"]
        assert (after["since"], after["count"]) == (before["since"], before["count"])
        assert slack.delivered == []
        slack.heal()
        slack.wait(lambda _: any("failing crashed" in str(payload) for payload in slack.delivered), 10 * PATIENCE)
        assert sum("failing crashed" in str(payload.get("text")) for payload in slack.delivered) == 1
        assert json.loads(host.guest.run("shipkeeper", "autopsy", "failing", "--json"))
    docker.clear()


ASIDE = """
systemctl stop shipkeeper
mkdir -m 700 -p /opt/shipkeeper/previous/state
cd /opt/shipkeeper/previous
readlink ../bin > release
echo /var/lib/shipkeeper > state_folder
cp -p /etc/systemd/system/shipkeeper.service .
cp -p /var/lib/shipkeeper/state.db* state/
touch whole
systemctl start shipkeeper
"""
"""What a run leaves that the power was cut off of, after it had started the version that is there now."""


def test_what_a_version_learnt_after_its_upgrade_was_cut_off_is_kept(docker: PrivateEngine) -> None:
    with fresh_host(docker) as host:
        host.install("today")
        host.guest.shell(ASIDE)
        wait_until(lambda: host.guest.run("shipkeeper", "status", check=False), "the daemon", PATIENCE)
        host.guest.run("shipkeeper", "alerts", "silence", "container=web", "--for", "2h", "--reason", "since then")
        said = host.install("today")
        assert "an earlier run was cut off" in said
        assert "since then" in host.guest.run("shipkeeper", "alerts", "silences")
        assert not host.guest.run("ls", "/opt/shipkeeper/previous", check=False)
    docker.clear()


def append(file: Path, text: str) -> None:
    with file.open("a") as source:
        source.write(text)
