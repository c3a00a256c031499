"""Evidence is written whole or not at all, found by name or id, and bounded in all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.evidence_files import EvidenceFiles

if TYPE_CHECKING:
    from pathlib import Path

PLENTY = 1 << 20


def record(name: str, id_: str = "a" * 64, **more: Any) -> dict[str, Any]:
    return {"id": id_, "name": name, **more}


def noise(size: int) -> str:
    return os.urandom(size // 2).hex()


def test_what_was_kept_is_found_by_its_name_and_the_beginning_of_its_id(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path / "evidence")
    files.keep(record("etl", "ab" * 32, log=["x"]), PLENTY)
    files.keep(record("web", "cd" * 32), PLENTY)
    for name in ("etl", "ab" * 32, "abab"):
        [entry] = files.named(name)
        assert files.read(entry) == record("etl", "ab" * 32, log=["x"])
    assert files.named("ab") == files.named("et") == files.named("") == []


def test_of_several_of_a_name_the_newest_comes_first(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path)
    for id_ in ("a" * 64, "b" * 64, "c" * 64):
        files.keep(record("etl", id_), PLENTY)
    assert [entry.container_id[0] for entry in EvidenceFiles(tmp_path).named("etl")] == ["c", "b", "a"]


def test_the_oldest_makes_room_for_the_newest(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path)
    for number in range(8):
        files.keep(record(f"job-{number}", log=noise(30_000)), 60_000)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 60_000
    assert [entry.name for entry in files.entries()] == ["job-5", "job-6", "job-7"]


def test_one_that_is_larger_than_all_may_be_is_refused_and_costs_the_others_nothing(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path)
    files.keep(record("small"), PLENTY)
    with pytest.raises(OSError, match="more than all evidence may"):
        files.keep(record("large", log=noise(90_000)), 10_000)
    assert [entry.name for entry in files.entries()] == ["small"]


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path / "evidence")
    path = files.keep(record("etl"), PLENTY)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_spoiled_file_costs_itself_only(tmp_path: Path) -> None:
    files = EvidenceFiles(tmp_path)
    bad, torn, good = (files.keep(record("etl", letter * 64), PLENTY) for letter in "abc")
    bad.write_bytes(b"no gzip")
    torn.write_bytes(torn.read_bytes()[:-9])
    (tmp_path / "README").write_text("left here by somebody")
    assert [files.read(entry) is None for entry in files.named("etl")] == [False, True, True]
    assert good.exists()


def test_without_a_folder_there_is_nothing_and_one_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    assert EvidenceFiles(tmp_path / "none").entries() == []
    (tmp_path / "file").touch()
    assert EvidenceFiles(tmp_path / "file").entries() == []
    with pytest.raises(OSError, match="Not a directory"):
        EvidenceFiles(tmp_path / "file" / "evidence").keep(record("etl"), PLENTY)


@given(name=st.text(max_size=300))
def test_any_name_is_a_file_in_the_folder_and_found_again(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("evidence")
    files = EvidenceFiles(folder)
    path = files.keep(record(name.encode(errors="replace").decode()), PLENTY)
    assert path.parent == folder
    assert files.entries()[0].path == path
