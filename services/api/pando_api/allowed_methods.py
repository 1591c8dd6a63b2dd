"""Which methods a path answers, over all routes that have it."""

from __future__ import annotations

from fastapi import Request
from starlette.routing import Match

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def allowed_methods(request: Request) -> list[str]:
    """Those of `request`'s path, for the header Allow."""
    return [method for method in _METHODS if _answers(request, method)]


def _answers(request: Request, method: str) -> bool:
    return any(
        route.matches({**request.scope, "method": method})[0] is Match.FULL
        for route in request.app.routes
    )
