"""The logs of every service: text for people or JSON for machines, on standard error.

One formatter for our and all libraries' loggers, that writes no secrets and no forged lines.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from pando_shared.log_context import named_ids
from pando_shared.log_text import on_one_line, redact
from pando_shared.settings import Settings
from pando_shared.tracing import trace_ids

log = logging.getLogger(__name__)

#: Only these log at DEBUG: libraries' DEBUG is long, and tells requests and their signatures.
_OURS = ("pando_api", "pando_kernels", "pando_scheduler", "pando_shared", "pando_worker")

#: A traceback's entry that Python wrote of code; others hold messages, which may be a user's.
_FRAME = re.compile(r'[ |]*File "')


class PandoFormatter(logging.Formatter):
    """A line of one service. `ids` are the process's own, such as its worker's."""

    def __init__(self, service: str, ids: Mapping[str, str]):
        super().__init__()
        self._service = service
        self._ids = ids

    @abstractmethod
    def format(self, record: logging.LogRecord) -> str: ...

    def _named(self) -> dict[str, str]:
        named = {**self._ids, **named_ids()}
        return {name: redact(value) for name, value in named.items()}


class TextFormatter(PandoFormatter):
    """For people: `time level logger message name=value...`. Lines that begin with a space are of
    the traceback that belongs to the line above."""

    def format(self, record: logging.LogRecord) -> str:
        said = f"{record.levelname} {record.name} {redact(_message(record))}"
        named = "".join(f" {name}={value}" for name, value in self._named().items())
        lines = [on_one_line(f"{self.formatTime(record)} {said}{named}"), *_traceback_lines(record)]
        return "\n".join(lines)


class JsonFormatter(PandoFormatter):
    """For machines: one object a line, in ASCII. A call's `extra={"fields": {...}}` joins it."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        entry: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(_message(record)),
            "service": self._service,
            **self._named(),
            **trace_ids(),
            **{k: redact(v) if isinstance(v, str) else v for k, v in fields.items()},
        }
        exception = "".join(_traceback(record))
        if exception:
            entry["exception"] = redact(exception)
        return json.dumps(entry, default=str)


def make_handler(
    settings: Settings, service: str, worker_id: str | None = None
) -> logging.StreamHandler[TextIO]:
    """Writes a service's lines to standard error, in the form that the settings ask for."""
    ids = {} if worker_id is None else {"worker_id": worker_id}
    form = JsonFormatter if settings.log_format == "json" else TextFormatter
    handler = logging.StreamHandler()
    handler.setFormatter(form(service, ids))
    return handler


def set_up_logging(settings: Settings, service: str, worker_id: str | None = None) -> None:
    """Send all that this process logs through one handler: ours, libraries', warnings, and
    exceptions that nobody caught. Call it once, before anything logs.

    `worker_id`: in a worker, its own; every line of the process then names it.
    """
    root = logging.getLogger()
    root.handlers[:] = [make_handler(settings, service, worker_id)]
    root.setLevel("INFO" if settings.log_level == "DEBUG" else settings.log_level)
    for name in _OURS:
        logging.getLogger(name).setLevel(settings.log_level)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def adopt_libraries_loggers() -> None:
    """Take away the handlers that libraries (torch, transformers) put on their own loggers when
    they were imported, so that what they log comes to ours."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if not isinstance(logger, logging.Logger):
            continue
        own = [handler for handler in logger.handlers if _writes_to_console(handler)]
        for handler in own:
            logger.removeHandler(handler)
        if own:
            logger.propagate = True


def _writes_to_console(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr)


def _message(record: logging.LogRecord) -> str:
    """A call whose arguments do not fit its message still gets its line."""
    try:
        return record.getMessage()
    except Exception as error:
        return f"{record.msg} (its arguments cannot be shown: {type(error).__name__}: {error})"


def _traceback(record: logging.LogRecord) -> Iterator[str]:
    """A record's exception, entry by entry, as Python prints it."""
    if record.exc_info and record.exc_info[0] is not None:
        yield from traceback.TracebackException(*record.exc_info, compact=True).format()


def _traceback_lines(record: logging.LogRecord) -> Iterator[str]:
    for entry in _traceback(record):
        lines = entry.splitlines() if _FRAME.match(entry) else [entry.strip("\n")]
        yield from (f"    {on_one_line(redact(line))}" for line in lines)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    log.critical("the process ends by an error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is None or issubclass(failed.exc_type, SystemExit):
        return
    name = failed.thread.name if failed.thread is not None else "unknown"
    trace = (failed.exc_type, failed.exc_value, failed.exc_traceback)
    log.critical("thread %s ends by an error", name, exc_info=trace)
