"""Whom a log line is about, known without each call saying so.

with log_context(job_id=job.id):
    log.info("loading")  # its line names the job
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypedDict, Unpack


class LogIds(TypedDict, total=False):
    """What a log line can name."""

    request_id: str
    tenant: str
    job_id: str
    worker_id: str
    round_id: str


_current: ContextVar[LogIds | None] = ContextVar("pando_log_context", default=None)


@contextmanager
def log_context(**ids: Unpack[LogIds]) -> Iterator[None]:
    """Name these, besides what is named around it, in all log lines until the block ends.

    Tasks and threads of asyncio that are started inside it are; other new threads are not.
    """
    token = _current.set({**(_current.get() or {}), **ids})
    try:
        yield
    finally:
        _current.reset(token)


def add_to_log_context(**ids: Unpack[LogIds]) -> None:
    """Name these until the innermost block ends, also where it was opened by another task or
    thread: a request's tenant is found in one thread and logged in others. No block, no effect."""
    inner = _current.get()
    if inner is not None:
        inner.update(ids)


def named_ids() -> Mapping[str, str]:
    """What lines logged here and now name."""
    return {name: str(value) for name, value in (_current.get() or {}).items()}
