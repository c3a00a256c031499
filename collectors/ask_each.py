"""Asks an engine the same of each of many objects, several at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from collectors.engine_api import EngineApi

T = TypeVar("T")

_FEW: Final = 2
"""So many are asked for one after the other: a connection of one's own costs something too."""
_CLIENTS: Final = 8


def ask_each(api: EngineApi, ids: Collection[str], ask: Callable[[EngineApi, str], T]) -> dict[str, T]:
    """Give the answers by id. Raises what `ask` raises; of many, each thread has a client of its own."""
    distinct = list(dict.fromkeys(ids))
    if len(distinct) <= _FEW:
        return {id_: ask(api, id_) for id_ in distinct}

    def ask_share(share: list[str]) -> dict[str, T]:
        with closing(api.another()) as client:
            return {id_: ask(client, id_) for id_ in share}

    shares = [distinct[first::_CLIENTS] for first in range(min(_CLIENTS, len(distinct)))]
    with ThreadPoolExecutor(len(shares), thread_name_prefix="inspect") as pool:
        return {id_: answer for part in pool.map(ask_share, shares) for id_, answer in part.items()}
