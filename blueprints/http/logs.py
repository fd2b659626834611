"""Logging: structlog's events and everybody else's records, as JSON lines or as text, to stdout and files."""

import io
import json
import logging
import os
import re
import select
import sys
from collections.abc import MutableMapping
from functools import partial
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO, cast

import structlog
from flask import Flask
from structlog.tracebacks import ExceptionDictTransformer

from services import database_log, private
from services.clock import now
from services.origin import origin

#: How long a line waits for a reader who has fallen behind, before it is dropped; those after it don't wait.
PATIENCE_MILLISECONDS = 50
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5
#: The first words of our loggers' names.
OURS = frozenset({"app", "blueprints", "gunicorn", "localdb", "models", "portico", "services"})
LOG_FILES = re.compile(r"(flask_app|error)\.log(\.\d)?", re.ASCII)
# Local variables may hold passwords: a traceback shows lines, never values.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    ExceptionDictTransformer(show_locals=False, max_frames=20)
)


#: The logger of requests.
ACCESS = logging.getLogger("portico.access")


def write_access(line: dict[str, Any]) -> None:
    """One line for a request that was answered. Past structlog's chain, which costs five times as much."""
    if not ACCESS.isEnabledFor(logging.INFO):
        return
    line |= {
        "event": "request",
        "level": "info",
        "logger": ACCESS.name,
        "timestamp": f"{now().isoformat(timespec='microseconds')[:26]}Z",
    }
    if (impersonator := origin().impersonator_id) is not None:
        line["impersonator_id"] = impersonator
    ACCESS.handle(logging.LogRecord(ACCESS.name, logging.INFO, "", 0, line, None, None))


class Lines(structlog.stdlib.ProcessorFormatter):
    """structlog's formatter, but for the lines of requests, which are complete when they come."""

    def __init__(self, *, as_json: bool, chain: list[Any], processors: list[Any]) -> None:
        super().__init__(foreign_pre_chain=chain, processors=processors)
        self._access = json.dumps if as_json else partial(processors[-1], None, "info")

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        if record.name == ACCESS.name and isinstance(record.msg, dict):
            return str(self._access(dict(record.msg)))
        return super().format(record)


def init_app(app: Flask, stream: TextIO) -> None:
    """Send every log line of the process to `stream` and where the settings say; a second app changes nothing twice."""
    as_json = app.config["LOG_FORMAT"] == "json"
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_request,
        _leave_out_rows,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    last += (
        [TRACEBACKS, structlog.processors.JSONRenderer()] if as_json else [_console(colors=stream.isatty())]
    )
    formatter = Lines(as_json=as_json, chain=shared, processors=last)
    root = logging.getLogger()
    # Those of an app before this one.
    for former in [handler for handler in root.handlers if isinstance(handler, StreamLines | FileLines)]:
        root.removeHandler(former)
        former.close()
    for handler in _handlers(stream, app.config["LOG_DIR"]):
        handler.setFormatter(formatter)
        handler.addFilter(_is_ours_or_no_detail)
        root.addHandler(handler)
    root.setLevel(app.config["LOG_LEVEL"])
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the porch logs requests
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _name_request(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request's id in each line written on its way, so that a complaint leads to all of them.

    So is the administrator's who is signed in as somebody else: `user_id` is the person's.
    """
    del logger, method
    here = origin()
    if here.request_id:
        event.setdefault("request_id", here.request_id)
    if here.impersonator_id is not None:
        event.setdefault("impersonator_id", here.impersonator_id)
    return event


def _leave_out_rows(logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A traceback tells what the database refused, and not whose address it was."""
    del logger, method
    told = event.get("exc_info")
    if told is True:
        told = sys.exc_info()
    database_log.leave_out_rows(told[1] if isinstance(told, tuple) else told)
    return event


def _is_ours_or_no_detail(record: logging.LogRecord) -> bool:
    """LOG_LEVEL=DEBUG is for our own lines: in those of libraries are signatures, keys and whole answers."""
    return record.levelno >= logging.INFO or record.name.partition(".")[0] in OURS


class StreamLines(logging.Handler):
    """Lines for a stream whose reader may be slow, gone, or out of space.

    What can't be written is dropped and counted (`/health/detailed` tells): no request waits for its log line longer
    than a moment, and none fails over it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        self.dropped = 0
        self._is_stuck = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line in one piece, past the stream's buffer, or count it."""
        line = f"{self.format(record)}\n"
        try:
            self._write(line)
        except (OSError, ValueError):  # no space, no reader; ValueError is Python's word for a closed stream
            self.dropped += 1
            self._is_stuck = True
        else:
            self._is_stuck = False

    def _write(self, line: str) -> None:
        try:
            descriptor = self.stream.fileno()
        except io.UnsupportedOperation:
            self.stream.write(line)
            return
        rest = memoryview(line.encode("utf-8", "backslashreplace"))
        while rest:
            self._wait_for_room(descriptor)
            rest = rest[os.write(descriptor, rest[: select.PIPE_BUF]) :]

    def _wait_for_room(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if not poll.poll(0 if self._is_stuck else PATIENCE_MILLISECONDS):
            raise BlockingIOError


class FileLines(RotatingFileHandler):
    """Lines for a file; what can't be written is dropped and counted."""

    dropped = 0

    def _open(self) -> TextIOWrapper:
        """Closed to others, whatever the umask: addresses of people are in it."""
        return cast(
            "TextIOWrapper", open(self.baseFilename, self.mode, encoding="utf-8", opener=private.opener)
        )

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Count it: nobody reads what logging would write to stderr."""
        del record
        self.dropped += 1


def _handlers(stream: TextIO, directory: str) -> list[logging.Handler]:
    handlers: list[logging.Handler] = [StreamLines(stream)]
    if directory:
        path = Path(directory)
        private.make_folder(path)
        private.close_folder(path, LOG_FILES)
        everything = FileLines(path / "flask_app.log", maxBytes=MAX_BYTES, backupCount=BACKUPS)
        faults = FileLines(path / "error.log", maxBytes=MAX_BYTES, backupCount=BACKUPS)
        faults.setLevel(logging.ERROR)
        handlers += [everything, faults]
    return handlers


def _console(*, colors: bool) -> Any:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
