"""The writer sends one plain DELETE, and tells apart what can come of it."""

from __future__ import annotations

import socket
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from collectors.engine_calls import EngineCalls
from collectors.engine_http import Endpoint
from collectors.facts import ObjectRef, SubjectKind
from collectors.families import render
from daemon.docker_writer import PATIENCE, AbandonedError, DockerWriter
from daemon.outcome import Answer, Outcome
from tests.fakes.clock import FakeClock
from tests.lab.scripted_engine import ScriptedEngine
from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE = ObjectRef(SubjectKind.IMAGE, "sha256:" + "e" * 64, "eeeeeeeeeeee")
ABSENT = ObjectRef(SubjectKind.CONTAINER, "d" * 64, "gone-job")


class Waiting:
    """A writer whose waiting a test watches, and ends."""

    def __init__(self, host: str) -> None:
        self.clock = FakeClock()
        self.beats = 0
        self.give_up_after = 1_000_000
        self.pass_time = timedelta(0)
        self.calls = EngineCalls()
        self.writer = DockerWriter(
            Endpoint(host=host), self.calls, self.clock, self._beat, lambda: self.beats > self.give_up_after
        )

    def remove(self, ref: ObjectRef, api_version: str = "1.51") -> Answer:
        """Remove."""
        return self.writer.remove(ref, api_version)

    def _beat(self) -> None:
        self.beats += 1
        self.clock.advance(self.pass_time)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ScriptedEngine]:
    with ScriptedEngine(tmp_path / "docker.sock") as scripted:
        scripted.images = [{"Id": IMAGE.id, "RepoTags": None, "Size": 1, "Created": 1_700_000_000}]
        yield scripted


@pytest.fixture
def waiting(engine: ScriptedEngine) -> Waiting:
    return Waiting(engine.host)


def ref(engine: ScriptedEngine, name: str = "old-job", state: str = "exited") -> ObjectRef:
    return ObjectRef(SubjectKind.CONTAINER, engine.add(name, state=state).id, name)


def test_it_neither_forces_nor_takes_volumes_nor_parents_along(engine: ScriptedEngine, waiting: Waiting) -> None:
    job = ref(engine)
    assert waiting.remove(job, "1.44") == waiting.remove(IMAGE, "1.41") == Answer(Outcome.REMOVED)
    assert engine.deleted == [f"/v1.44/containers/{job.id}", f"/v1.41/images/{IMAGE.id}?noprune=1"]
    assert (engine.containers, engine.images) == ({}, [])
    assert set(engine.non_get()) == {("DELETE", f"/containers/{job.id}"), ("DELETE", f"/images/{IMAGE.id}")}


def test_what_is_not_there_is_gone(waiting: Waiting) -> None:
    assert waiting.remove(ABSENT).outcome is Outcome.GONE


def test_what_runs_is_in_use_in_dockers_own_words(engine: ScriptedEngine, waiting: Waiting) -> None:
    answer = waiting.remove(ref(engine, state="running"))
    assert answer.outcome is Outcome.IN_USE
    assert answer.words.endswith("container is running")


def test_a_network_that_somebody_joined_is_in_use_though_docker_says_forbidden(
    engine: ScriptedEngine, waiting: Waiting
) -> None:
    engine.networks = [{"Id": "n" * 64, "Name": "shop", "Containers": {"c" * 64: {}}}]
    answer = waiting.remove(ObjectRef(SubjectKind.NETWORK, "n" * 64, "shop"))
    assert answer.outcome is Outcome.IN_USE
    assert answer.words.endswith("network shop has active endpoints")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.REMOVED),
        (301, Outcome.FAILED),
        (400, Outcome.REFUSED),
        (403, Outcome.REFUSED),
        (404, Outcome.GONE),
        (409, Outcome.IN_USE),
        (500, Outcome.FAILED),
        (503, Outcome.FAILED),
    ],
)
def test_the_status_decides(engine: ScriptedEngine, waiting: Waiting, status: int, outcome: Outcome) -> None:
    engine.statuses["/containers/*"] = status
    answer = waiting.remove(ABSENT)
    assert answer.outcome is outcome
    assert not outcome.is_failure or answer.words == f"{status}: scripted {status}"


def test_every_request_is_counted_and_so_is_what_went_wrong(engine: ScriptedEngine, waiting: Waiting) -> None:
    waiting.remove(IMAGE)
    waiting.remove(ABSENT)
    waiting.remove(ref(engine, "busy", state="running"))
    for number, status in enumerate((500, 403)):
        engine.statuses["/containers/*"] = status
        waiting.remove(ref(engine, f"job-{number}"))
    engine.stop()
    waiting.remove(IMAGE)
    page = render(waiting.calls.families()).decode()
    name = "shipkeeper_docker_api"
    assert f'{name}_duration_seconds_count{{endpoint="container_remove"}} 4\n' in page
    assert f'{name}_duration_seconds_count{{endpoint="image_remove"}} 2\n' in page
    assert [line for line in page.splitlines() if line.startswith(f"{name}_errors")] == [
        f'{name}_errors_total{{endpoint="container_remove",kind="forbidden"}} 1',
        f'{name}_errors_total{{endpoint="container_remove",kind="status"}} 1',
        f'{name}_errors_total{{endpoint="image_remove",kind="unanswered"}} 1',
    ]


def test_an_engine_that_is_not_there_does_not_answer(engine: ScriptedEngine, waiting: Waiting) -> None:
    engine.stop()
    answer = waiting.remove(ABSENT)
    assert answer.outcome is Outcome.UNANSWERED
    assert "No such file" in answer.words


def test_a_connection_that_ends_without_an_answer_leaves_it_open(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def hang_up() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(4096)

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert Waiting(f"unix://{path}").remove(ABSENT).outcome is Outcome.UNANSWERED
        thread.join()


def test_it_shows_signs_of_life_while_it_waits(engine: ScriptedEngine, waiting: Waiting) -> None:
    engine.hung_paths.add(f"/images/{IMAGE.id}")
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(waiting.remove(IMAGE)))
    thread.start()
    assert engine.wait(lambda: ("DELETE", f"/images/{IMAGE.id}") in engine.requests)
    before = waiting.beats
    wait_until(lambda: waiting.beats > before + 2, "three signs of life")
    engine.relent()
    thread.join()
    assert answers == [Answer(Outcome.REMOVED)]


def test_after_half_an_hour_it_waits_no_longer(engine: ScriptedEngine, waiting: Waiting) -> None:
    engine.hung_paths.add("/images/*")
    waiting.pass_time = PATIENCE / 2 + timedelta(seconds=1)
    answer = waiting.remove(IMAGE)
    assert answer == Answer(Outcome.UNANSWERED, "TimeoutError: Docker has not answered for 30 min")


def test_it_gives_up_when_it_is_told_to(engine: ScriptedEngine, waiting: Waiting) -> None:
    engine.hung_paths.add("/images/*")
    waiting.give_up_after = 1
    with pytest.raises(AbandonedError):
        waiting.remove(IMAGE)


def test_it_speaks_to_an_engine_over_tcp_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        asked: list[bytes] = []

        def answer() -> None:
            client, _ = listening.accept()
            with client:
                asked.append(client.recv(4096))
                # Chunked, and the connection stays open: as a proxy may answer.
                client.sendall(b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nin use\r\n0\r\n\r\n")
                client.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        said = Waiting(f"tcp://127.0.0.1:{listening.getsockname()[1]}").remove(IMAGE)
        thread.join()
    assert said == Answer(Outcome.IN_USE, "in use")
    assert asked[0].startswith(f"DELETE /v1.51/images/{IMAGE.id}?noprune=1 HTTP/1.1\r\n".encode())
