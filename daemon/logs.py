"""How the log is written: for the journal, a terminal or a machine, and never with a secret in it."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from daemon.secret_texts import Hider
from policies import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from daemon.config import Log

log = logging.getLogger(__name__)

# Libraries that tell at INFO or DEBUG what is theirs alone; slack_sdk would show the webhook's address.
_TALKATIVE = ("apscheduler", "docker", "slack_sdk", "urllib3")

# The priorities of syslog, which the journal reads from a prefix.
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))


def set_up_logging(log: Log, secrets: Sequence[str], environ: Mapping[str, str], stream: TextIO) -> None:
    """Send all logging to `stream`, in the form that suits what `stream` is; replaces an earlier set-up."""
    logging.basicConfig(level=log.level.upper(), handlers=[log_handler(log, secrets, environ, stream)], force=True)
    logging.captureWarnings(capture=True)
    # Python itself would print them as they are, secrets and all, and with no priority for the journal.
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda thrown: _log_uncaught(thrown.exc_type, thrown.exc_value, thrown.exc_traceback)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """Log what nobody caught, unless it is how a person or a thread ends."""
    if error is None or issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    log.critical("an error of Shipkeeper itself; please report it", exc_info=(kind, error, trace))


def log_handler(log: Log, secrets: Sequence[str], environ: Mapping[str, str], stream: TextIO) -> logging.Handler:
    """Give a handler that writes to `stream` and hides the secrets."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(log, environ, stream))
    handler.addFilter(SecretFilter(secrets))
    return handler


def _formatter(log: Log, environ: Mapping[str, str], stream: TextIO) -> logging.Formatter:
    if log.format == "json":
        return JsonFormatter()
    return JournalFormatter() if is_journal(environ, stream) else TextFormatter()


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Tell whether `stream` is the very one that systemd connected to the journal."""
    try:
        opened = os.fstat(stream.fileno())
    except OSError:  # it has no descriptor, or a closed one
        return False
    return environ.get("JOURNAL_STREAM") == f"{opened.st_dev}:{opened.st_ino}"


class SecretFilter(logging.Filter):
    """Replaces known secrets in messages and tracebacks."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._hidden = Hider(secrets)

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record, and let it pass."""
        if not self._hidden:
            return True
        try:
            record.msg, record.args = self._hidden(record.getMessage()), None
        except (TypeError, ValueError):
            # Arguments that do not fit: raised here it would end the caller, and the handler would show them.
            record.msg, record.args = (
                "a log line whose arguments do not fit is left out: %s:%d",
                (record.filename, record.lineno),
            )
        if record.exc_info:
            record.exc_text = self._hidden(logging.Formatter().formatException(record.exc_info))
        return True


class TextFormatter(logging.Formatter):
    """A line with its time, for people at a terminal; what others may have put into names cannot move the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, and a traceback below it."""
        line = f"{_utc(record)} {record.levelname:<7} {record.name}: {words.plain(record.getMessage())}"
        return "\n".join([line, *_traceback(self, record)])


class JournalFormatter(logging.Formatter):
    """A line with the priority in front that the journal takes away; the journal knows the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, and a traceback below it, each line with the priority."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        lines = [f"{record.name}: {words.plain(record.getMessage())}", *_traceback(self, record)]
        return "\n".join(f"<{priority}>{line}" for line in lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the object."""
        fields = {
            "time": _utc(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if traceback := _traceback(self, record):
            fields["traceback"] = "\n".join(traceback)
        return json.dumps(fields)


def _utc(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """Give the lines of a traceback, as the filter left it."""
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    return [words.plain(line) for line in (record.exc_text or "").splitlines()]
