"""A request's span: part of its client's trace if it sends a `traceparent`, else of a new one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from starlette.datastructures import Headers
from starlette.types import Scope

from pando_shared.tracing import Span, current_span, is_tracing, span


def request_span(scope: Scope, *, is_probe: bool) -> AbstractContextManager[Span]:
    """Until the answer's last byte. Of what only watches over the API there is none."""
    if is_probe or not is_tracing():
        return nullcontext(Span())
    method = scope["method"]
    parent = Headers(scope=scope).get("traceparent")
    return span(method, kind="server", parent=parent, **{"http.request.method": method})


def note_answer(scope: Scope, status: int) -> None:
    """Name the span by its route's template, and note how it was answered. 0: not at all."""
    answered = current_span()
    route = getattr(scope.get("route"), "path", None)
    if route is not None:
        answered.rename(f"{scope['method']} {route}")
        answered.set(**{"http.route": route})
    if status:
        answered.set(**{"http.response.status_code": status})
    if status >= 500:
        answered.fail(str(status))
