"""Everything wrong with a configuration, each with its place, its value and the cure, in one text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from daemon.keys import KEYS, names_in
from policies import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic import ValidationError

    from daemon.keys import KeyPath

_SHOWN_CHARACTERS = 60
_WIDEST_PLACE = 60
_HIDDEN = "…"

_NEEDS = {
    "missing": "is missing",
    "string_type": "needs text in quotes",
    "bool_type": "needs true or false, without quotes",
    "int_type": "needs a whole number, without quotes",
    "float_type": "needs a number, without quotes",
    "finite_number": "needs a finite number",
    "tuple_type": 'needs a list, for example ["db-*"]',
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong: its place as it stands in the file, and what to do about it."""

    place: str
    cure: str


def report(file: Path | None, problems: Iterable[Problem]) -> str:
    """Say all problems in one text of several lines."""
    found = list(problems)
    source = f"cannot read the configuration {file}" if file else "cannot use the settings in the environment"
    width = min(max(len(problem.place) for problem in found), _WIDEST_PLACE)
    lines = [f"  {problem.place:<{width}}      {problem.cure}" for problem in found]
    count = words.count(len(found), "problem")
    return "\n".join([source, *lines, f"{count}; these settings are not in force."])


def found_by_validation(error: ValidationError, origins: Mapping[KeyPath, str]) -> Iterator[Problem]:
    """Give a problem for each finding; `origins` names where a value came from when that was not the file."""
    for finding in error.errors(include_url=False):
        if finding["type"] == "places":
            yield from (Problem(place, words.plain(cure)) for place, cure in finding["ctx"]["problems"])
            continue
        path = tuple(part for part in finding["loc"] if isinstance(part, str))
        value = finding["input"]
        if place := _in_a_list_of_tables(finding["loc"]):
            missing = finding["type"] == "missing"
            unknown = finding["type"] == "extra_forbidden"
            shown = "" if missing or unknown else f" = {_shown(value)}"
            yield Problem(place + shown, "no such key" if unknown else _cure(finding))
        elif finding["type"] == "extra_forbidden":
            yield _unknown(path, value)
        elif finding["type"] == "model_type":
            yield Problem(f"{_key(path)} = {_shown(value)}", f"is a table: write {_table(path)} above its keys")
        elif path in KEYS:
            items = "".join(f"[{part}]" for part in finding["loc"] if isinstance(part, int))
            text = _HIDDEN if KEYS[path].secret else _shown(value)
            yield Problem(f"{origins.get(path, _key(path))}{items} = {text}", _cure(finding))
        else:
            yield Problem(_table(path), _cure(finding))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Give the clause "; did you mean …?", or nothing when no known name is close."""
    close = get_close_matches(name, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


def _unknown(path: KeyPath, value: object) -> Problem:
    suggestion = did_you_mean(path[-1], names_in(path[:-1]))
    if isinstance(value, dict):
        return Problem(_table(path), f"no such table{suggestion}")
    # The value stays hidden: it may be a secret behind a mistyped name.
    return Problem(f"{_key(path)} = {_HIDDEN}", f"no such key{suggestion}")


def _cure(finding: Any) -> str:
    if finding["type"] == "value_error":
        return str(finding["ctx"]["error"])
    if finding["type"] == "literal_error":
        return "needs " + str(finding["ctx"]["expected"]).replace("'", '"')
    return _NEEDS.get(finding["type"]) or str(finding["msg"]).replace("Input should be", "needs to be")


def _in_a_list_of_tables(loc: tuple[int | str, ...]) -> str:
    """Give the place of a finding in one of several tables of the same name: `[[alerts.routes]] 2 to`; else nothing."""
    for depth in range(1, len(loc) - 1):
        above = tuple(part for part in loc[:depth] if isinstance(part, str))
        number, key = loc[depth], loc[depth + 1]
        if isinstance(number, int) and isinstance(key, str) and above in KEYS:
            return words.plain(f"[[{'.'.join(above)}]] {number + 1} {key}")
    return ""


def _key(path: KeyPath) -> str:
    name = words.plain(path[-1])
    return f"{_table(path[:-1])} {name}" if path[:-1] else name


def _table(path: KeyPath) -> str:
    return words.plain(f"[{'.'.join(path)}]")


def _shown(value: object) -> str:
    text = words.plain(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
