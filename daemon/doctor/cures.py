"""The lines to type that change a host, made to fit it."""

from __future__ import annotations

import json
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from daemon.doctor import settings
from daemon.doctor.facts import Unseen
from daemon.doctor.seen import daemon_settings, flags, settings_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.doctor.facts import Host

EDIT_UNIT: Final = "sudo systemctl edit --full docker.service"
RESTART = "sudo systemctl restart docker   # without live-restore this restarts all containers"
RELOAD = "sudo systemctl reload docker"
_MERGE = (
    "import json,sys; f=sys.argv[1]; d=json.load(open(f)); d.update(json.loads(sys.argv[2])); "
    'open(f,"w").write(json.dumps(d,indent=2)+chr(10))'
)


def change_settings(host: Host, change: Mapping[str, Any]) -> tuple[str, ...]:
    """
    Set keys of the engine, in its file as far as nothing speaks against it.

    With a key that a flag of dockerd sets as well the engine would not start. A file that could not be read, or not be
    understood, is left to a person: nobody knows what would be lost with it.
    """
    by_flag = sorted(change.keys() & flags(host).keys())
    if by_flag:
        told = (f"# a flag of dockerd sets {name} there: let it say {_plain(change[name])}" for name in by_flag)
        others = {name: value for name, value in change.items() if name not in by_flag}
        return (EDIT_UNIT, *told, *(change_settings(host, others) if others else ()))
    file, path = host.daemon_json, settings_path(host)
    if isinstance(file, Unseen) or settings.parse(file.text).error:
        return edit(path, f"add to what stands there: {json.dumps(change)[1:-1]}")
    return write_settings(path, daemon_settings(host), change)


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
