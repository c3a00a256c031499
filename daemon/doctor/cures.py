"""The lines to type that change a host, made to fit it."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from daemon.doctor import settings
from daemon.doctor.facts import Unseen
from daemon.doctor.seen import by_snap, by_systemd, daemon_settings, flags, is_rootless, remote, settings_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.doctor.facts import Host, SocketFile

EDIT_UNIT: Final = "sudo systemctl edit --full docker.service"
_CONTAINERS: Final = "   # without live-restore this restarts all containers"
_MERGE = (
    "import json,sys; f=sys.argv[1]; d=json.load(open(f)); d.update(json.loads(sys.argv[2])); "
    'open(f,"w").write(json.dumps(d,indent=2)+chr(10))'
)


def change_settings(host: Host, change: Mapping[str, Any]) -> tuple[str, ...]:
    """
    Set keys of the engine, in its file as far as nothing speaks against it.

    With a key that a flag of dockerd sets as well the engine would not start. A file that could not be read, or not be
    understood, is left to a person: nobody knows what would be lost with it. A rootless engine's is its user's own.
    """
    if remote(host):
        return (f"# in the daemon.json of the engine's own host: {json.dumps(change)[1:-1]}",)
    by_flag = sorted(change.keys() & flags(host).keys())
    if by_flag:
        told = (f"# a flag of dockerd sets {name} there: let it say {_plain(change[name])}" for name in by_flag)
        others = {name: value for name, value in change.items() if name not in by_flag}
        return (EDIT_UNIT, *told, *(change_settings(host, others) if others else ()))
    file, path = host.daemon_json, settings_path(host)
    if isinstance(file, Unseen) or settings.parse(file.text).error:
        return edit(path, f"add to what stands there: {json.dumps(change)[1:-1]}")
    lines = write_settings(path, daemon_settings(host), change)
    return tuple(line.replace("sudo ", "") for line in lines) if is_rootless(host) else lines


def socket_for_a_group(host: Host, socket: SocketFile) -> tuple[str, ...]:
    """Let the engine's socket belong to the group docker; whoever came into root's could read what is root's alone."""
    path = host.address.socket_path
    whose = f"# {path} belongs to {socket.owner}:{socket.group} with mode {socket.mode:04o}: no group may use it"
    if not by_systemd(host):
        return (whose,)
    return (whose, "sudo groupadd --force docker", "sudo systemctl restart docker.socket docker.service")


def is_for_a_group(socket: SocketFile) -> bool:
    """Tell whether the engine's socket may be used by a group that is there for that."""
    return socket.group not in {"root", "unknown"} and bool(socket.mode & 0o060)


def restart(host: Host) -> str:
    """Restart the engine by what runs it."""
    if remote(host):
        return "# restart it there"
    if is_rootless(host):
        return f"systemctl --user restart docker{_CONTAINERS}"
    if by_snap(host):
        return f"sudo snap restart docker{_CONTAINERS}"
    return f"sudo systemctl restart docker{_CONTAINERS}" if by_systemd(host) else "# restart it by what started it"


def reload(host: Host) -> str:
    """Let the engine take over what it can without an end."""
    return "sudo systemctl reload docker" if by_systemd(host) else "# send dockerd a SIGHUP: it takes this over at once"


def write_settings(path: str, known: Mapping[str, Any], change: Mapping[str, Any]) -> tuple[str, ...]:
    """
    Set keys of a `daemon.json` whose settings now are `known`; what stands in it besides stays.

    A value that is an object is laid over the one that is there.
    """
    merged = {name: _laid_over(known.get(name), value) for name, value in change.items()}
    if not known:
        return (
            f"sudo mkdir -p {quote(path.rpartition('/')[0] or '/')}",
            f"echo {_shown(merged)} | sudo tee {quote(path)}",
        )
    return (
        f"sudo cp -p {quote(path)} {quote(path + '.before')}",
        f"sudo python3 -c {quote(_MERGE)} {quote(path)} {_shown(merged)}",
    )


def edit(path: str, *what: str) -> tuple[str, ...]:
    """Let a person change a file by hand."""
    return (f"sudoedit {quote(path)}", *(f"# {line}" for line in what))


def move_folder(old: str, new: str) -> tuple[str, ...]:
    """Copy a folder with owners, hard links, extended attributes and holes, and compare; the old one is set aside."""
    source, target = quote(old.rstrip("/") + "/"), quote(new.rstrip("/") + "/")
    return (
        f"sudo findmnt -R {quote(old)}   # has to show nothing mounted below it: stop what still runs",
        "command -v rsync || sudo apt-get install rsync",
        f"sudo mkdir -p {target}",
        f"sudo rsync -aHAXS --numeric-ids {source} {target}",
        f"sudo rsync -aHAXS --numeric-ids --delete --dry-run --itemize-changes {source} {target}   # prints nothing",
        f"sudo mv {quote(old)} {quote(old.rstrip('/') + '.old')}",
    )


def _laid_over(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return old | {name: _laid_over(old.get(name), value) for name, value in new.items()}


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:
    return quote(json.dumps(value))
