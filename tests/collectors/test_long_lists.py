"""Of a list that is too long only its beginning is read."""

from __future__ import annotations

import json

import pytest

from collectors.long_lists import beginning

ODD = [{"Path": f'/{{"Path":"{number}"}},{{', "Kind": 1} for number in range(100)]


@pytest.mark.parametrize("text", [json.dumps(ODD), json.dumps(ODD, separators=(",", ":")), json.dumps(ODD, indent=1)])
@pytest.mark.parametrize("size", [1, 7, 64])
def test_of_a_long_list_the_first_whole_objects_are_read(text: str, size: int) -> None:
    if text.startswith("[\n"):
        text = text.replace("{\n  ", "{")
    chunks = [text.encode()[start : start + size] for start in range(0, len(text), size)]
    assert json.loads(beginning(chunks)) == ODD
    for limit in range(200, 300):
        asked = iter(chunks)
        found = json.loads(beginning(asked, limit))
        assert found == ODD[: len(found)]
        assert found
        assert next(asked, None) is not None, "the rest was not read"


def test_what_is_no_list_is_read_as_it_is() -> None:
    assert beginning([b"nu", b"ll"]) == b"null"
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(beginning([b"x" * 300], 200))
