"""Reads the settings from the file, the environment and systemd's credentials."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from daemon.config import Settings
from daemon.errors import ConfigError
from daemon.keys import KEYS, PREFIX, value_at
from daemon.problems import Problem, did_you_mean, found_by_validation, report
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from daemon.keys import Key, KeyPath

DEFAULT_FILE = Path("/etc/shipkeeper/shipkeeper.toml")
FILE_VARIABLE = "SHIPKEEPER_CONFIG"
CREDENTIAL_STORE = "etc/credstore"
"""From where the shipped unit takes its credentials: root sees there what the service is shown."""

_NOT_SETTINGS = frozenset({FILE_VARIABLE, "SHIPKEEPER_CACHE"})
"""Variables with our prefix that are no settings: the file's place, and the cache of the project's own tests."""

_LEADING = frozenset({"control", "state"})
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


def config_file(option: Path | None, environ: Mapping[str, str], default: Path = DEFAULT_FILE) -> Path | None:
    """Give the file to read: the option, else the environment's, else the default if it exists, else none."""
    if option is not None:
        return option
    if named := environ.get(FILE_VARIABLE):
        return Path(named)
    try:
        default.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it may be there: reading it will tell what is in the way
    return default


def load(file: Path | None, environ: Mapping[str, str], store: Path | None = None) -> Settings:
    """
    Read the settings, or raise ConfigError with everything that is wrong with them.

    Of the credentials in `store` those stand in that systemd would show its service, as far as they may be read.
    """
    document = _Document.read(file) if file else _Document({})
    problems = [*document.exposed_secrets(), *_unknown_variables(environ)]
    values = _Values(document.tables, store)
    problems += values.overlay(environ)
    try:
        settings = Settings.model_validate(values.tables)
    except ValidationError as error:
        problems += found_by_validation(error, values.origins)
    if problems:
        raise ConfigError(report(file, problems))
    return settings


def load_for_judging(file: Path | None, environ: Mapping[str, str], root: Path = Path("/")) -> Settings:
    """
    Read the settings as the service would, for somebody who wants to know about them. Raises ConfigError.

    Root is shown the credentials that the unit takes from the store: else a token would be missing that the service
    has. A daemon that is started by hand gets none of them: it is not to write where the service does.
    """
    return load(file, environ, root / CREDENTIAL_STORE if file == DEFAULT_FILE else None)


def load_for_asking(file: Path | None, environ: Mapping[str, str]) -> Settings:
    """
    Read only what leads to a running daemon: the tables `[control]` and `[state]`, the rest as by default.

    Whoever just wrote a mistake into the file wants to ask the daemon what it makes of it. Raises ConfigError for a
    file that cannot be read, and for a mistake in those tables.
    """
    document = _Document.read(file) if file else _Document({})
    asked = {key.variable for key in KEYS.values() if key.path[0] in _LEADING}
    values = _Values({name: table for name, table in document.tables.items() if name in _LEADING})
    problems = list(values.overlay({name: value for name, value in environ.items() if name in asked}))
    try:
        return Settings.model_validate(values.tables)
    except ValidationError as error:
        raise ConfigError(report(file, [*problems, *found_by_validation(error, values.origins)])) from error


@dataclass(frozen=True, slots=True)
class _Document:
    """What stands in the file, and whether others may read it."""

    tables: dict[str, Any]
    file: Path | None = None
    readable_by_others: bool = False

    @classmethod
    def read(cls, file: Path) -> _Document:
        try:
            with file.open("rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode
                return cls(tomllib.load(stream), file, bool(mode & _OTHERS_MAY))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from error
        except (ValueError, RecursionError) as error:  # of endless numbers and depths too, whatever wrote them
            raise ConfigError(f"cannot read the configuration {file}\n  this is not TOML: {error}") from error

    def exposed_secrets(self) -> Iterator[Problem]:
        for key in KEYS.values():
            if self.readable_by_others and key.secret and value_at(self.tables, key.path):
                place = f"[{'.'.join(key.path[:-1])}] {key.path[-1]} = …"
                yield Problem(place, f"others may read this secret: chmod 600 {self.file}, or use {key.path[-1]}_file")


@dataclass(frozen=True, slots=True)
class _Values:
    """The tables of the file with everything that wins over them, and where each of those values came from."""

    tables: dict[str, Any]
    store: Path | None = None
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def overlay(self, environ: Mapping[str, str]) -> Iterator[Problem]:
        """Lay the environment over the tables, then what secrets have elsewhere; yield what cannot be read."""
        for key in KEYS.values():
            if key.variable in environ:
                self._set(key, _from_environment(key, environ[key.variable]), key.variable)
        for key in KEYS.values():
            if key.secret and key.variable not in environ:
                yield from self._read_secret(key, environ)

    def _read_secret(self, key: Key, environ: Mapping[str, str]) -> Iterator[Problem]:
        """Take a secret from its credential, else from the file that `<key>_file` names."""
        credential = self._credential(key, environ)
        named = value_at(self.tables, (*key.path[:-1], f"{key.path[-1]}_file"))
        if credential:
            source = credential
        elif isinstance(named, str) and named.startswith("/"):
            source = Path(named)
        else:
            return
        try:
            self._set(key, source.read_text(encoding="utf-8").strip(), str(source))
            # Its group may: so a daemon gets it that does not own the file. A credential is as systemd made it.
            if source != credential and source.stat().st_mode & stat.S_IRWXO:
                yield Problem(f"{'.'.join(key.path)} from {source}", f"others may read this secret: chmod o= {source}")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "no UTF-8 text, or no name of a file"
            yield Problem(f"{'.'.join(key.path)} from {source}", f"cannot be read: {why}")

    def _credential(self, key: Key, environ: Mapping[str, str]) -> Path | None:
        """Give the file of a secret's credential, if there is one and this user may know of it."""
        name, shown = ".".join(key.path), environ.get("CREDENTIALS_DIRECTORY")
        if shown or not self.store:
            credential = Path(shown or "/nonexistent", name)
            return credential if credential.exists() else None
        stored = self.store / f"shipkeeper.{name}"
        return stored if os.access(stored, os.R_OK) else None

    def _set(self, key: Key, value: object, origin: str) -> None:
        table = self.tables
        for name in key.path[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                return  # the file holds a plain value where a table belongs, which is reported as such
        table[key.path[-1]] = value
        self.origins[key.path] = origin


def _from_environment(key: Key, text: str) -> object:
    """Read numbers, switches and lists as JSON; what is none stays text, so that validation says what is needed."""
    if not key.json_in_environment:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[Problem]:
    known = {key.variable for key in KEYS.values()}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in known | _NOT_SETTINGS:
            yield Problem(words.plain(name), f"no such setting{did_you_mean(name, known)}")
