"""What containers leave behind in the watch's memory: nothing for ever."""

from __future__ import annotations

import gc
from collections import deque
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from tests.daemon.watchpost import HOUR, MINUTE, SECOND, WatchPost, framed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.scripted_engine import ScriptedContainer, ScriptedEngine

LIVES = 40
NOT_OURS = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""Through these the walk would leave the watch, and go through the whole interpreter."""


def strings(post: WatchPost) -> Iterator[str]:
    """Yield every text that the watch can reach, but for what stands for the engine."""
    ahead: deque[object] = deque([post])
    met = {id(ahead), id(post.engine)}
    while ahead:
        each = ahead.popleft()
        if id(each) in met or isinstance(each, NOT_OURS):
            continue
        met.add(id(each))
        if isinstance(each, str):
            yield each
        ahead.extend(gc.get_referents(each))
        if isinstance(each, dict):
            ahead.extend(each)  # the collector leaves texts out where they are keys: they hold nothing


def remembered(post: WatchPost, containers: list[ScriptedContainer]) -> set[str]:
    """Give the names of those of whose id the watch still knows."""
    known = "\n".join(set(strings(post)))
    return {container.name for container in containers if container.id in known}


def live(post: WatchPost, number: int) -> ScriptedContainer:
    """Let a container be made, and end in one of four ways."""
    now = post.clock.now()
    container = post.engine.add(f"job-{number}", created_at=now, started_at=now, health="healthy" if number % 2 else "")
    post.engine.logs[container.id] = framed(f"step {number}\n")
    for action in ("create", "start"):
        post.emit(action, container)
    if number % 3:
        post.cycle()
    match number % 4:
        case 0:
            post.die(container, 0)
        case 1:
            post.die(container, 3)
        case 2:
            post.emit("oom", container)
            post.die(container, 137)
        case _:
            post.stop(container)
    return container


def test_of_containers_that_are_gone_for_long_nothing_is_remembered_but_in_the_store(
    engine: ScriptedEngine, tmp_path: Path
) -> None:
    post = WatchPost(engine, tmp_path)
    try:
        gone = [live(post, number) for number in range(LIVES)]
        post.cycles(3, SECOND)
        assert remembered(post, gone) == {container.name for container in gone}, "the walk finds what is there"
        for container in gone:
            post.remove(container)
        post.cycles(8, 10 * MINUTE)
        post.cycles(3, HOUR)
        assert len(post.stored_deaths()) == LIVES
        assert remembered(post, gone) == set()
    finally:
        post.close()
