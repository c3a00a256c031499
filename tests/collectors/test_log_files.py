from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collectors.log_files import MOST_FILES, log_bytes
from tests.fakes.cgroup_tree import a_container

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = 4096
WEB = a_container()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make the folder in which Docker keeps what belongs to the container."""
    made = tmp_path / "containers" / WEB.id
    made.mkdir(parents=True)
    (made / "config.v2.json").write_bytes(bytes(10 * BLOCK))
    return made


def measured(folder: Path, log_path: Path | str = "") -> int | None:
    container = a_container(log_path=str(log_path))
    return log_bytes(container, str(folder.parent.parent))


def test_a_json_log_counts_with_its_rotated_files(folder: Path) -> None:
    log = folder / f"{WEB.id}-json.log"
    log.write_bytes(bytes(2 * BLOCK))
    (folder / f"{log.name}.1").write_bytes(bytes(3 * BLOCK))
    (folder / f"{log.name}.2.gz").write_bytes(b"zipped")
    assert measured(folder, log) == 6 * BLOCK


def test_a_local_log_counts_though_docker_does_not_tell_its_path(folder: Path) -> None:
    (folder / "local-logs").mkdir()
    (folder / "local-logs" / "container.log").write_bytes(bytes(BLOCK))
    (folder / "local-logs" / "container.log.1.gz").write_bytes(bytes(2 * BLOCK))
    assert measured(folder) == 3 * BLOCK


def test_the_copy_that_docker_keeps_of_a_log_sent_elsewhere_counts(folder: Path) -> None:
    (folder / "container-cached.log").write_bytes(bytes(BLOCK))
    assert measured(folder) == BLOCK


def test_a_json_log_counts_though_docker_cannot_inspect_its_container(folder: Path) -> None:
    (folder / f"{WEB.id}-json.log").write_bytes(bytes(2 * BLOCK))
    container = a_container(inspected=False)
    assert log_bytes(container, str(folder.parent.parent)) == 2 * BLOCK


def test_a_driver_without_files_takes_nothing(folder: Path) -> None:
    assert measured(folder) == 0


def test_a_hole_in_a_truncated_log_takes_no_space(folder: Path) -> None:
    log = folder / f"{WEB.id}-json.log"
    with log.open("wb") as file:
        file.seek(1 << 30)
        file.write(b"one line")
    assert measured(folder, log) == BLOCK


def test_a_container_that_is_gone_has_no_log(folder: Path) -> None:
    (folder / "config.v2.json").unlink()
    folder.rmdir()
    assert measured(folder) is None


def test_a_data_root_out_of_sight_is_no_empty_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        log_bytes(WEB, str(tmp_path / "elsewhere"))


def test_a_folder_with_endless_files_is_not_read_to_its_end(folder: Path) -> None:
    for number in range(MOST_FILES + 1):
        (folder / f"container-cached.log.{number}").touch()
    with pytest.raises(OSError, match="more than 2000 files"):
        measured(folder)
