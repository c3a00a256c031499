"""The reference of the configuration, made from the settings' types and the sample file's words and defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr

from daemon import values
from daemon.config import Settings
from daemon.values import Section

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from daemon.keys import KeyPath

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "configuration.md"
SAMPLE = REPOSITORY / "deploy" / "shipkeeper.toml"

_HEAD = """\
# Configuration

Every key of the configuration, made from the code itself: `GOLDEN=write pytest
tests/daemon/test_configuration_page.py` writes this page anew, a test compares.
[`deploy/shipkeeper.toml`](../deploy/shipkeeper.toml) is the same as a file to copy from.

**Where it comes from.** One TOML file: `--config FILE`, else `$SHIPKEEPER_CONFIG`, else
`/etc/shipkeeper/shipkeeper.toml`. Without a file the defaults hold; nothing has to be set. Unknown keys are errors.
`shipkeeper check-config` names everything that is wrong, and what is on and off.

**The environment** wins over the file. The variable of a key is `SHIPKEEPER_` and its path in capitals, joined by two
underscores, a hyphen as one: `SHIPKEEPER_DOCKER__HOST`, `SHIPKEEPER_ALERTS__RULES__DISK_LOW__FOR`. Numbers, true,
false and lists are written there as JSON.

**Secrets** stand in a file of their own that only its owner may read (`…_file`), or are a systemd credential named by
the key's path (`slack.webhook_url`), which the shipped unit takes from `/etc/credstore/shipkeeper.slack.webhook_url`;
there `check-config` and `doctor` see it, too, as root. A file that others may read is refused.

**Taking a change over.** `systemctl reload shipkeeper`, or SIGHUP. A bad file changes nothing and is named in the
log, in `status` and in `shipkeeper_config_last_reload_successful`. `[state]`, `[control]`, `[docker]`, `[web]
listen`, and `enabled` and `interval` in `[gpu]` need a restart.

**Notations.** A *duration* is a number with a unit, or several: `"90s"`, `"1h30m"`, `"30d"`. A *size* is one in bytes
with a unit: `"512MiB"`, `"20GiB"`; `"0B"` is none. In a *glob* `*` and `?` match; a *rule* is a glob of names or
conditions as `label=team=ml`.
"""
_WORDS = {
    "Duration": "duration",
    "Size": "size",
    "AbsolutePath": "absolute path",
    "Globs": "list of globs",
    "Rules": "list of rules",
    "Schedule": "five fields of cron",
    "LabelNames": "list of label names",
    "Patterns": "list of regular expressions",
    "EngineAddress": "unix:// or tcp:// address",
    "ListenAddress": "host:port",
    "ApiAddress": "https:// address",
    "BotToken": "secret",
    "SlackChannel": "channel",
    "WebhookAddress": "secret https:// address",
}
_KEY = re.compile(r"# (\w+) = (.*)")
_SHARED_KEY = re.compile(r"#   (\w+(?:, \w+)*)\s{2,}(\S.*)")
_EXAMPLE = "#   "
"""The beginning of a line that is for the sample file alone."""
_UNITS = {"_percent": "percent", "_celsius": "°C"}


@dataclass(slots=True)
class _Sample:
    """What the sample file says: of each table, of each key, and of the keys that many tables share."""

    tables: dict[str, str] = field(default_factory=dict)
    keys: dict[KeyPath, str] = field(default_factory=dict)
    defaults: dict[KeyPath, str] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)


def page() -> str:
    """Give the page as it has to be."""
    sample = _sample()
    found: dict[KeyPath, list[tuple[KeyPath, FieldInfo]]] = {}
    order = list(sample.defaults)
    for path, info in sorted(_fields(Settings(), ()), key=lambda each: order.index(each[0])):
        found.setdefault(path[:-1], []).append((path, info))
    return _HEAD + "".join(_chapter(table, keys, sample) for table, keys in found.items())


def _fields(section: Section, above: KeyPath) -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, info in type(section).model_fields.items():
        value, path = getattr(section, name), (*above, info.alias or name)
        if isinstance(value, Section):
            yield from _fields(value, path)
        else:
            yield path, info


def _sample() -> _Sample:
    """Read the sample file: comments belong to the key below them, or to the one before, with which they share them."""
    sample = _Sample()
    table: KeyPath = ()
    words: list[str] = []
    for line in SAMPLE.read_text().splitlines():
        if found := re.fullmatch(r"\[([\w.-]+)\]", line):
            table, words = tuple(found[1].split(".")), []
        elif found := _KEY.fullmatch(line):
            path = (*table, found[1])
            if words and found[1] == "enabled":
                sample.tables[".".join(table)] = " ".join(words)
            elif words:
                sample.keys[path] = " ".join(words)
            sample.defaults[path], words = found[2], []
        elif found := _SHARED_KEY.fullmatch(line):
            last = found[1]
            sample.shared[last] = found[2]
        elif sample.shared and line.startswith("#      "):
            sample.shared[last] += f" {line[1:].strip()}"
        elif line.startswith(_EXAMPLE):
            continue
        elif line.startswith("# "):
            words.append(line[2:].removesuffix(" For example:"))
        else:
            words = []
    sample.shared = {name: words for names, words in sample.shared.items() for name in names.split(", ")}
    return sample


def _chapter(table: KeyPath, keys: list[tuple[KeyPath, FieldInfo]], sample: _Sample) -> str:
    name = ".".join(table)
    intro = sample.tables.get(name, "")
    rows = [
        f"| `{path[-1]}` | {_type(path[-1], info)} | `{_default(path, sample)}` | {_meaning(path, sample)} |"
        for path, info in keys
    ]
    head = f"## [{name}]" if table else "## At the top"
    return "\n".join(
        [
            "",
            head,
            "",
            *([_escaped(intro), ""] if intro else []),
            "| key | type | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _default(path: KeyPath, sample: _Sample) -> str:
    return sample.defaults[path].replace("|", r"\|")


def _meaning(path: KeyPath, sample: _Sample) -> str:
    return _escaped(_words(path, sample))


def _escaped(words: str) -> str:
    return re.sub(r"([|*<])", r"\\\1", words)


def _words(path: KeyPath, sample: _Sample) -> str:
    if own := sample.keys.get(path):
        return own
    if path[-1] == "enabled":
        return "false switches it off"
    if path[:2] == ("alerts", "rules"):
        return {"for": "how long it must be bad before it is told", "clear": "how long it must be well to be over"}[
            path[-1]
        ]
    if shared := sample.shared.get(path[-1]):
        return shared
    return "as above"


def _type(name: str, info: FieldInfo) -> str:
    """Give the type in words, with what it counts and the limits that it has."""
    unit = next((f", {unit}" for end, unit in _UNITS.items() if name.endswith(end)), "")
    return _kind(info) + unit + _limits(info)


def _kind(info: FieldInfo) -> str:
    kind = info.annotation
    for alias, words in _WORDS.items():
        known = getattr(values, alias)
        if known.__origin__ == kind and set(map(repr, known.__metadata__)) <= set(map(repr, info.metadata)):
            return words
    if get_origin(kind) is Literal:
        return " or ".join(f'`"{choice}"`' for choice in get_args(kind))
    if kind is not None and get_origin(kind) is tuple:
        return "list"
    plain = {bool: "true or false", int: "whole number", float: "number", str: "text", SecretStr: "secret"}
    return plain.get(kind, "text") if isinstance(kind, type) else "text"


def _limits(info: FieldInfo) -> str:
    least = next((limit for limit in info.metadata if isinstance(limit, Ge | Gt)), None)
    most = next((limit.le for limit in info.metadata if isinstance(limit, Le)), None)
    if least is None:
        return ""
    above = f"{least.ge} or more" if isinstance(least, Ge) else f"more than {least.gt}"
    return f", {above}" + (f", at most {most}" if most is not None else "")
