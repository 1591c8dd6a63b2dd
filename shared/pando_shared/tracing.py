"""Spans of what a request or a job has done for it, where the operator wants traces.

with span("prepare job", parent=job.traceparent, job_id=job.id):
    ...

Without `trace_setup.start_traces`, all of this does nothing and imports nothing. A place in a trace
is handed on as W3C's `traceparent`: in messages, and in a job's record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

Value = str | int | float | bool
Kind = Literal["internal", "server", "client", "producer", "consumer"]


class Span:
    """One piece of work. This one is of a process without traces: nobody records it.

    Attributes and names are ids, numbers and words of ours: never what a user wrote, nor a secret.
    """

    @property
    def traceparent(self) -> str | None:
        """Where it is, for others to be part of it or linked to it."""
        return None

    def set(self, **attributes: Value) -> None:
        """Note something down about it."""

    def rename(self, name: str) -> None:
        """For a name that is known late."""

    def link(self, traceparent: str | None) -> None:
        """Tie it to a span of another trace, if there is one."""

    def fail(self, error_type: str) -> None:
        """It failed; `error_type` is a code or a class's name."""

    def failed_by(self, error: BaseException) -> None:
        """It failed by this: its type and its frames are noted down. Its message is not, which may
        be of a user's words; the log has it, under the trace's id."""

    def end(self) -> None:
        """It is over. Only for one that `begin_span` began."""


class Tracer:
    """Makes spans. This one makes none."""

    def span(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        links: Iterable[str | None],
        attributes: Mapping[str, Value],
    ) -> AbstractContextManager[Span]:
        """See `span`."""
        return _NO_SPAN

    def begin(
        self,
        name: str,
        kind: Kind,
        parent: str | None,
        links: Iterable[str | None],
        attributes: Mapping[str, Value],
    ) -> Span:
        """See `begin_span`."""
        return Span()

    def continuing(self, traceparent: str | None) -> AbstractContextManager[None]:
        """See `continuing`."""
        return _NOTHING

    def current_span(self) -> Span:
        """See `current_span`."""
        return Span()

    def ids(self) -> Mapping[str, str]:
        """See `trace_ids`."""
        return {}


_NO_SPAN = nullcontext(Span())
_NOTHING = nullcontext()
_tracer = Tracer()


def install(tracer: Tracer | None) -> None:
    """Have all spans of this process made by this one from now on; None: make none."""
    global _tracer
    _tracer = Tracer() if tracer is None else tracer


def is_tracing() -> bool:
    """Whether anybody records spans here."""
    return type(_tracer) is not Tracer


def span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Iterable[str | None] = (),
    **attributes: Value,
) -> AbstractContextManager[Span]:
    """A span for as long as the block runs, which is the current one in it. What logs name there
    (`log_context`) are its attributes too, and an exception that leaves the block fails it.

    `parent`: None for the current span, or for none if there is none.
    """
    return _tracer.span(name, kind, parent, links, attributes)


def begin_span(
    name: str,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Iterable[str | None] = (),
    **attributes: Value,
) -> Span:
    """A span until its `end`, which is not the current one: of several at once."""
    return _tracer.begin(name, kind, parent, links, attributes)


def continuing(traceparent: str | None) -> AbstractContextManager[None]:
    """Spans in the block are part of this one, which another process began."""
    return _tracer.continuing(traceparent)


def current_span() -> Span:
    return _tracer.current_span()


def current_traceparent() -> str | None:
    """Where the current span is; None: there is none."""
    return _tracer.current_span().traceparent


def trace_ids() -> Mapping[str, str]:
    """`trace_id` and `span_id` of the current span, if there is one, as traces are searched by."""
    return _tracer.ids()
