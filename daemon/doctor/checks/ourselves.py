"""Whether Shipkeeper itself can do its work on this host."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from daemon.doctor import cures
from daemon.doctor.facts import Silent, Unseen
from daemon.doctor.finding import Finding, Level, ok, unseen
from daemon.doctor.seen import remote, unit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemon.doctor.facts import Folder, Host

UNIT: Final = "shipkeeper.service"
_OTHERS: Final = 0o007
_RESTART: Final = f"sudo systemctl restart {UNIT}"
_DOCKERS_PROXY: Final = "docker-proxy"
_LOOPBACK: Final = ("127.", "localhost:", "[::1]:")
_TOO_EARLY: Final = 2026
"""The year this was written: no clock that is right shows an earlier one."""


def configuration(host: Host) -> Iterator[Finding]:
    """Judge the configuration file."""
    ours = host.ourselves
    if isinstance(ours.config_problem, Unseen):
        yield unseen(ours.config_problem.why, "sudo shipkeeper doctor")
    elif ours.config_problem:
        first, *more = ours.config_problem.splitlines()
        yield Finding(Level.PROBLEM, first, (*(f"# {line.strip()}" for line in more), "shipkeeper check-config"))
    else:
        yield ok(f"{ours.config_file} is good" if ours.config_file else "there is no configuration: the defaults hold")


def service(host: Host) -> Iterator[Finding]:
    """Judge whether the daemon runs, in the version that is installed."""
    ours, found = host.ourselves, unit(host, UNIT)
    if isinstance(ours.status, Unseen):
        yield unseen(ours.status.why, f"sudo usermod -aG shipkeeper {quote(host.user.name)}   # then log in again")
        return
    log = f"sudo journalctl -u {UNIT} -n 50   # says why"
    if isinstance(ours.status, Silent):
        by_hand = ("# look at its log; then start it again",)
        lines = (log, _RESTART) if found.get("ActiveState") == "active" else by_hand
        yield Finding(Level.PROBLEM, ours.status.why.partition(";")[0], lines)
        return
    if ours.status is not None:
        runs = str(ours.status.get("version", ""))
        if runs == ours.version:
            yield ok(f"the daemon runs, version {runs}")
        else:
            what = f"the daemon that runs is {runs}, installed is {ours.version}"
            yield Finding(Level.WARNING, what, (_RESTART,), "An upgrade is in force after a restart only.")
        return
    if found.get("ActiveState") == "failed":
        cure = (log, f"sudo systemctl reset-failed {UNIT}", _RESTART)
        yield Finding(Level.PROBLEM, f"{UNIT} failed ({found.get('Result', 'no result')})", cure)
    elif found.get("ActiveState") == "active":
        yield Finding(Level.WARNING, f"{UNIT} runs, and does not answer at its control socket", (log, _RESTART))
    elif found:
        enabled = found.get("UnitFileState") == "enabled"
        what = f"{UNIT} is installed and does not run"
        yield Finding(Level.WARNING if enabled else Level.NOTE, what, (f"sudo systemctl enable --now {UNIT}", log))
    else:
        yield Finding(Level.NOTE, "no daemon watches this host", ("shipkeeper run",))


def access(host: Host) -> Iterator[Finding]:
    """Judge whether the user that the service runs as may talk to the engine."""
    ours, found = host.ourselves, unit(host, UNIT)
    if isinstance(host.units, Unseen):
        yield unseen(host.units.why)
        return
    if remote(host) or not found or found.get("User", "root") in {"", "root"}:
        yield ok("the service runs as root, or not on this host")
        return
    if isinstance(host.socket, Unseen) or host.socket is None:
        yield unseen(host.socket.why if isinstance(host.socket, Unseen) else "there is no socket of the engine")
        return
    user, group = found["User"], host.socket.group
    if ours.service_groups is None:
        yield Finding(Level.PROBLEM, f"{UNIT} runs as {user}, and there is no such user", ("sudo systemd-sysusers",))
        return
    groups = ours.service_groups | frozenset(found.get("SupplementaryGroups", "").split())
    if group in groups and host.socket.mode & 0o060:
        yield ok(f"{user} may talk to the engine, by the group {group}")
        return
    if not cures.is_for_a_group(host.socket):
        what = f"{UNIT} runs as {user}, and the engine's socket is for no group that it could be in"
        yield Finding(Level.PROBLEM, what, (*cures.socket_for_a_group(host, host.socket), _RESTART))
        return
    what = f"{UNIT} runs as {user}, who is not in the group {group} that the engine's socket belongs to"
    yield Finding(Level.PROBLEM, what, (f"sudo usermod -aG {quote(group)} {quote(user)}", _RESTART))


def state_directory(host: Host) -> Iterator[Finding]:
    """Judge the folder of what must not be lost."""
    ours = host.ourselves
    degraded = (_status(host).get("store") or {}).get("degraded")
    if degraded:
        what = f"what the daemon knows is in memory only: {degraded}"
        path = quote("/var/lib/shipkeeper" if isinstance(ours.state, Unseen) or not ours.state else ours.state.path)
        yield Finding(Level.PROBLEM, what, (f"df -h {path}; df -i {path}   # is there room", f"sudo ls -ld {path}"))
    if isinstance(ours.state, Unseen):
        yield unseen(ours.state.why)
    elif ours.state is None:
        yield ok("the folder of the state is made at the first start")
    else:
        yield from list(_folder(host, ours.state)) or [ok(f"{ours.state.path} belongs to {ours.state.owner} alone")]


def _folder(host: Host, folder: Folder) -> Iterator[Finding]:
    path, user = quote(folder.path), unit(host, UNIT).get("User", "")
    if folder.mode & _OTHERS:
        what = f"everyone on this host may look into {folder.path} (mode {folder.mode:04o})"
        why = "Evidence of containers that ended lies in it: their logs, their settings."
        yield Finding(Level.WARNING, what, (f"sudo chmod o= {path}",), why)
    if user and folder.owner != user:
        what = f"{folder.path} belongs to {folder.owner}, and {UNIT} runs as {user}"
        yield Finding(Level.PROBLEM, what, (f"sudo chown -R {quote(user)}: {path}", _RESTART))
    elif not user and not folder.writable:
        what = f"{host.user.name} cannot write to {folder.path}, which belongs to {folder.owner}"
        yield Finding(Level.WARNING, what, ("# run Shipkeeper as its owner, or name another folder in [state] dir",))


def sinks(host: Host) -> Iterator[Finding]:
    """Judge whether alerts reach people."""
    ours = host.ourselves
    told = _status(host).get("sinks", [])
    failing = [sink for sink in told if sink["state"] != "ok"]
    for sink in failing:
        what = f"alerts do not reach {sink['name']}: {sink['last_error'] or sink['state']}"
        yield Finding(Level.PROBLEM, what, ("shipkeeper alerts test",))
    if isinstance(ours.config_problem, Unseen) and not told:
        yield unseen("which sinks are configured stands in a file that this user may not read")
    elif {sink["name"] for sink in told} <= {"console"} and not ours.sinks:
        cure = ('# [slack] webhook_url_file = "/etc/shipkeeper/slack-webhook" in the configuration', _RESTART)
        yield Finding(Level.NOTE, "alerts go to the log alone", (*cure, "shipkeeper alerts test"))
    elif not failing:
        yield ok("alerts go to people")


def port(host: Host) -> Iterator[Finding]:
    """Judge whether our port is free for us, and whom it lets look."""
    listen = host.ourselves.listen
    found = [*_taken(host, listen), *_open(host, listen)]
    yield from found or [ok(f"{listen} is for this host, or asks who is there")]


def _taken(host: Host, listen: str) -> Iterator[Finding]:
    holder = host.ourselves.port_holder
    if host.ourselves.status is None and holder is not None and _DOCKERS_PROXY in holder:
        what = f"the port of {listen} is published by a container: by Shipkeeper itself, if it runs in one"
        yield Finding(Level.NOTE, what, (f"docker ps --filter publish={listen.rpartition(':')[2]}",))
    elif host.ourselves.status is None and holder is not None:
        who = f"sudo ss -ltnp 'sport = :{listen.rpartition(':')[2]}'"
        elsewhere = '# or [web] listen = "127.0.0.1:9818" in the configuration'
        what = f"the port of {listen} is taken by {holder or 'a process that only root can see'}"
        yield Finding(Level.PROBLEM, what, (who, elsewhere))


def _open(host: Host, listen: str) -> Iterator[Finding]:
    if not listen.startswith(_LOOPBACK) and not host.ourselves.web_protected:
        what = f"everyone who reaches {listen} may read the metrics, names of containers and images among them"
        cure = ("# docs/web.md tells how: [web] config_file for TLS and passwords; or listen on 127.0.0.1",)
        yield Finding(Level.WARNING, what, cure)


def _status(host: Host) -> Mapping[str, Any]:
    """Give the daemon's answer; an empty one where there is none."""
    status = host.ourselves.status
    return {} if isinstance(status, Unseen | Silent) or status is None else status


def clock(host: Host) -> Iterator[Finding]:
    """Judge this host's clock."""
    seen = host.clock
    if seen.now.year < _TOO_EARLY:
        what = f"the clock shows {seen.now:%Y-%m-%d}"
        yield Finding(Level.PROBLEM, what, ("sudo timedatectl set-ntp true", "timedatectl"))
    elif isinstance(seen.synchronized, Unseen):
        yield unseen(seen.synchronized.why)
    elif not seen.synchronized:
        cure = ("sudo timedatectl set-ntp true   # with systemd-timesyncd or chrony installed", "timedatectl")
        yield Finding(Level.WARNING, "nothing keeps this host's clock right", cure)
    else:
        yield ok("the clock is kept right")
