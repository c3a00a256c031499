"""Sees to it that a container which ended badly is not removed before its evidence is kept."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from collectors.engine_errors import EngineError
from collectors.facts import Intent, ObjectRef, SubjectKind
from policies import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.evidence_files import EvidenceFiles
    from daemon.examination import Examiner

log = logging.getLogger(__name__)

LOG_LINES: Final = 10_000
KEPT: Final = "evidence kept"


class EvidenceError(Exception):
    """The evidence could not be kept; the text says why."""


class Evidence:
    """
    For the thread that removes.

    `at_most` gives the bytes that all evidence may take, 0 for none. `critical` tells whether a disk is so
    full that evidence may not stand in the way.
    """

    def __init__(
        self,
        files: EvidenceFiles,
        examiner: Examiner,
        at_most: Callable[[], int],
        critical: Callable[[], bool],
    ) -> None:
        self._files = files
        self._examiner = examiner
        self._at_most = at_most
        self._critical = critical

    def secure(self, ref: ObjectRef, beat: Callable[[], None]) -> str:
        """
        Keep the evidence of this object if there is need to, and say that it was; empty where there is no need.

        `beat` is called while it takes. Raises EvidenceError when it cannot be kept, unless a disk is critical:
        then the log says so, and the removal goes on.
        """
        limit = self._at_most()
        if ref.kind is not SubjectKind.CONTAINER or not limit:
            return ""
        try:
            record = self._examiner.examine(ref.id, LOG_LINES, beat)
            if record is None or not ended_badly(record):
                return ""
            self._files.keep(record, limit)
        except (EngineError, OSError) as error:
            if not self._critical():
                raise EvidenceError(str(error)) from error
            log.warning("no evidence of %s is kept, for a disk is critical: %s", words.plain(ref.name), error)
            return ""
        return KEPT


def ended_badly(record: Mapping[str, Any]) -> bool:
    """Tell whether somebody may ask why it ended: not after a clean exit, nor after an end that somebody wanted."""
    state = record["inspect"].get("State") or {}
    if state.get("OOMKilled") or state.get("Error"):
        return True
    code = state.get("ExitCode")
    # Only of this very end: what somebody wanted the last time says nothing of the next one.
    wanted = [each for each in record["deaths"][-1:] if each["intent"] != Intent.NONE and each["exit_code"] == code]
    return bool(code) and not wanted
