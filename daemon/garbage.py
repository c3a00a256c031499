"""When the interpreter looks for garbage that refers to itself."""

from __future__ import annotations

import gc


def keep_what_is_there() -> None:
    """Look for garbage only in what is made from now on: to look through all the rest would halt a cycle for 60 ms."""
    gc.freeze()
    gc.enable()


def look_through_all() -> None:
    """
    Look through everything once, at a time of our choosing, and keep it apart again.

    What a host of many containers is known by grows after the start. Left to itself the interpreter looks through all
    of that whenever it has grown by a quarter: in the midst of a flood of events, on the thread that tells of them.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
