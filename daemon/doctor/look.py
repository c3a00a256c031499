"""One look at a part of the world, in a thread of its own: whatever it meets, it is given up in time."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from daemon.doctor.facts import Unseen

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.doctor.facts import Seen

log = logging.getLogger(__name__)

T = TypeVar("T")


class Look(Generic[T]):
    """A look that has begun; `what` names it where it does not come back within `seconds`."""

    def __init__(self, what: str, seconds: float, look: Callable[[], Seen[T]]) -> None:
        self._what = what
        self._seconds = seconds
        self._ends_at = time.monotonic() + seconds
        self._look = look
        self._seen: Seen[T] = Unseen(f"{what}: no answer within {seconds:.0f} s")
        self._thread = threading.Thread(target=self._run, name=f"look-{what}", daemon=True)
        self._thread.start()

    def seen(self) -> Seen[T]:
        """Give what it saw, or why it saw nothing; waits until its time is over at most."""
        self._thread.join(max(self._ends_at - time.monotonic(), 0))
        return self._seen

    def _run(self) -> None:
        try:
            self._seen = self._look()
        except OSError as error:
            where = f" ({error.filename})" if error.filename else ""
            self._seen = Unseen(f"{self._what}: {(error.strerror or str(error)).lower()}{where}")
        except subprocess.SubprocessError as error:
            self._seen = Unseen(f"{self._what}: {error}")
        except Exception as error:
            # The boundary of a look: whatever is odd about one part of a host, the others are looked at.
            log.debug("looking at %s failed", self._what, exc_info=True)
            self._seen = Unseen(f"{self._what}: {type(error).__name__}: {error}")
