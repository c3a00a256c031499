from __future__ import annotations

import os

from daemon.keys import KEYS
from tests.daemon.configuration_page import PAGE, page


def test_the_page_is_what_the_code_says() -> None:
    if os.environ.get("GOLDEN") == "write":
        PAGE.write_text(page())
    assert PAGE.read_text() == page()


def test_every_key_has_its_row_with_type_default_and_meaning() -> None:
    text = PAGE.read_text()
    for path in KEYS:
        heading = f"\n## [{'.'.join(path[:-1])}]\n" if path[:-1] else "\n## At the top\n"
        chapter = text.partition(heading)[2].partition("\n## ")[0]
        (row,) = (line for line in chapter.splitlines() if line.startswith(f"| `{path[-1]}` |"))
        assert all(cell.strip() for cell in row.strip("|").split("|")), path
