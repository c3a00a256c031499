"""The pages for people: what they point to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from daemon import cli
from daemon.loading import load

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])
DOCS = REPOSITORY / "docs"
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([\w-]*))?\)")


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_within_the_repository_leads_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if target.startswith(("http:", "https:")):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [REPOSITORY / "README.md"]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        targets = [(page.parent / target).resolve() for target, _ in LINK.findall(page.read_text()) if target]
        ahead += [target for target in targets if target.suffix == ".md" and target not in reached]
    decisions = {page for page in PAGES if page.parent.name == "decisions"}
    assert set(PAGES) - decisions <= reached


def test_the_index_names_every_page() -> None:
    named = {(DOCS / target).resolve() for target, _ in LINK.findall((DOCS / "README.md").read_text()) if target}
    assert set(DOCS.glob("*.md")) - {DOCS / "README.md"} <= named


@pytest.mark.parametrize(
    "page", [page for page in PAGES if not page.match("docs/decisions/*")], ids=lambda page: page.name
)
def test_every_command_that_a_page_tells_to_type_exists(page: Path) -> None:
    known = set(typer.main.get_group(cli.app).commands)
    lines = re.findall(
        r"^(?:    |```\n)(?:\S*/)?shipkeeper ([a-z][a-z-]*)|`shipkeeper ([a-z][a-z-]*)", page.read_text(), re.MULTILINE
    )
    assert {one or other for one, other in lines} <= known


def test_every_make_target_that_the_pages_name_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    named = {
        name for page in PAGES for name in re.findall(r"(?:`|^    )make ([a-z-]+)", page.read_text(), re.MULTILINE)
    }
    assert named <= targets


@pytest.mark.parametrize("name", ["quickstart.md"])
def test_every_piece_of_configuration_on_a_page_is_one(tmp_path: Path, name: str) -> None:
    pieces = re.findall(r"^```toml\n(.*?)^```", (DOCS / name).read_text(), re.MULTILINE | re.DOTALL)
    assert pieces
    token, file = tmp_path / "slack-token", tmp_path / "shipkeeper.toml"
    token.touch(mode=0o600)
    token.write_text("xoxb-1-2-three\n")
    for piece in pieces:
        file.write_text(piece.replace("/etc/shipkeeper/slack-token", str(token)))
        load(file, {})


def test_the_configuration_in_the_readme_is_one(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```toml\n(.*?)^```", (REPOSITORY / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    token, file = tmp_path / "slack-token", tmp_path / "shipkeeper.toml"
    token.write_text("xoxb-0000-x\n")
    token.chmod(0o600)
    file.write_text(example.replace("/etc/shipkeeper/slack-token", str(token)))
    settings = load(file, {})
    assert settings.slack.token.get_secret_value() == "xoxb-0000-x"
    assert settings.alerts.ignore == ("ci-*",)
