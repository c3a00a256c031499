"""The page of troubleshooting, made of the checks and of what they say of hosts with each fault."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from daemon.doctor.catalogue import CHECKS
from daemon.doctor.finding import Level
from tests.daemon.doctor.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.doctor.catalogue import Check
    from daemon.doctor.finding import Finding
    from tests.daemon.doctor.cases import Case

PAGE = Path(__file__).parents[3] / "docs" / "troubleshooting.md"
_HEAD = """\
# Troubleshooting

    shipkeeper doctor

says what is wrong with a Docker host, why that matters, and which lines to type. It needs neither root nor the daemon:
what it may not look at it calls *not seen*, never well, and as root it sees more. It changes nothing. It ends with 0 if
nothing is wrong, notes aside, with 1 if there is a problem or a warning, with 2 if it was called wrongly.

`--json` is for programs: `{"ok", "findings": [{"check", "status", "what", "why", "cure"}]}`, where `status` is `fail`
for a problem, `warn`, `note`, `skipped` for what was not seen, or `ok`; `cure` holds the lines. `--explain CHECK` says
what one check looks at.

Below stands every check, what matters most first, with what it says of an example host; on yours the names and paths
are your own. This page is made from the checks: `GOLDEN=write pytest tests/daemon/doctor` writes it anew.

"""
_WORDS = {Level.PROBLEM: "Problem", Level.WARNING: "Warning", Level.NOTE: "Note"}


def page() -> str:
    """Give the page as it has to be."""
    contents = "\n".join(f"- [{check.name}](#{check.name}): {check.about}" for check in CHECKS)
    return _HEAD + contents + "\n" + "".join(_section(check) for check in CHECKS)


def _section(check: Check) -> str:
    parts = [f"\n## {check.name}\n\nThis is about {check.about}. {check.why}\n"]
    for case, finding in _examples(check):
        when = f" ({case.when})" if case.when else ""
        parts.append(f"\n**{_WORDS[finding.level]}:** {_escaped(finding.what)}{when}\n")
        if finding.why:
            parts.append(f"{_escaped(finding.why)}\n")
        if finding.cure:
            parts.append("\n" + "".join(f"    {line}\n" for line in finding.cure))
    return "".join(parts)


def _examples(check: Check) -> Iterator[tuple[Case, Finding]]:
    for case in CASES:
        if case.check == check.name and case.level in _WORDS:
            yield case, next(each for each in check.judge(case.host) if case.what in each.what)


def _escaped(text: str) -> str:
    """Keep a text from being read as markup."""
    return "".join(f"\\{char}" if char in "*_[]<>`#" else char for char in text)
