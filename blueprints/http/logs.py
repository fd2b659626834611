"""Logging: structlog's events and everybody else's records, as JSON lines or as text, to stdout and files."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO

import structlog
from flask import Flask
from structlog.tracebacks import ExceptionDictTransformer

MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5
# Local variables may hold passwords: a traceback shows lines, never values.
TRACEBACKS = structlog.processors.ExceptionRenderer(
    ExceptionDictTransformer(show_locals=False, max_frames=20)
)


def init_app(app: Flask, stream: TextIO) -> None:
    """Send every log line of the process to `stream` and where the settings say; a second app changes nothing twice."""
    as_json = app.config["LOG_FORMAT"] == "json"
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
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
    formatter = structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if getattr(handler, "portico", False)]:
        root.removeHandler(handler)
        handler.close()
    for handler in _handlers(stream, app.config["LOG_DIR"]):
        handler.setFormatter(formatter)
        handler.portico = True  # type: ignore[attr-defined]  # so that the next app replaces it
        root.addHandler(handler)
    root.setLevel(app.config["LOG_LEVEL"])
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the porch logs requests
    logging.getLogger("alembic").setLevel(logging.WARNING)


def _handlers(stream: TextIO, directory: str) -> list[logging.Handler]:
    handlers: list[logging.Handler] = [logging.StreamHandler(stream)]
    if directory:
        path = Path(directory)
        path.mkdir(parents=True, exist_ok=True)
        everything = RotatingFileHandler(
            path / "flask_app.log", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"
        )
        faults = RotatingFileHandler(
            path / "error.log", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8"
        )
        faults.setLevel(logging.ERROR)
        handlers += [everything, faults]
    return handlers


def _console(*, colors: bool) -> Any:
    return structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
    )
