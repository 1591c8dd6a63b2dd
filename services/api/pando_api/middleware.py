"""What surrounds every request: an id, security headers, latency, a cap on the body.

Plain ASGI, because Starlette's BaseHTTPMiddleware buffers and breaks streaming.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pando_api.errors import TooLarge, error_response
from pando_api.metrics import Metrics
from pando_api.request_trace import note_answer, request_span
from pando_shared.log_context import log_context
from pando_shared.tracing import current_span

log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
#: Asked every few seconds by whatever watches over the API; while all is well, nobody reads that.
_PROBES = frozenset({"/healthz", "/readyz", "/metrics", "/metrics/workers"})
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    # An answer is data: shown as a page it may load, run and send nothing.
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestContext:
    """Names, measures, traces and logs a request, and turns an unforeseen error into an answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        is_probe = scope["path"] in _PROBES
        with log_context(request_id=request_id), request_span(scope, is_probe=is_probe):
            await self._answer(request_id, scope, receive, send)

    async def _answer(self, request_id: str, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0
        began = time.perf_counter()

        async def send_decorated(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                # A route that answers by itself, as streams do, would drop them.
                headers.update(scope.get("state", {}).get("headers", {}))
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_decorated)
        except ClientDisconnect:
            log.info("the client went away")
        except Exception as error:
            log.exception("the request failed: %s %s", scope["method"], scope["path"])
            current_span().failed_by(error)
            if status:
                raise
            message = f"something went wrong here; the log has it under request id {request_id}"
            response = error_response(500, message, "server_error", code="internal_error")
            await response(scope, receive, send_decorated)
        finally:
            seconds = time.perf_counter() - began
            self.metrics.observe_request(scope, status, seconds)
            note_answer(scope, status)
            _log_access(scope["method"], scope["path"], status, seconds)


def _log_access(method: str, path: str, status: int, seconds: float) -> None:
    """A request's line, without its query: that may hold anything. Status 0: no answer was sent."""
    well = path in _PROBES and 0 < status < 400
    milliseconds = round(1000 * seconds, 1)
    fields = {"method": method, "path": path, "status": status, "milliseconds": milliseconds}
    log.log(
        logging.DEBUG if well else logging.INFO,
        "%s %s %d in %.1f ms",
        *fields.values(),
        extra={"fields": fields},
    )


class BodyLimit:
    """Refuses a long body: at once where its length is announced, else while it is read."""

    def __init__(self, app: ASGIApp, max_bytes: int, unlimited: Sequence[re.Pattern[str]]):
        """`unlimited` are whole paths that count for themselves."""
        self.app = app
        self.max_bytes = max_bytes
        self.unlimited = unlimited

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or any(path.fullmatch(scope["path"]) for path in self.unlimited):
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced) > self.max_bytes:
            message = f"the body has {announced} bytes; at most {self.max_bytes} are accepted"
            response = error_response(413, message, "invalid_request_error", code=TooLarge.code)
            await response(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            event = await receive()
            received += len(event.get("body", b""))
            if received > self.max_bytes:
                # FastAPI lets only an HTTPException out while it reads a body.
                message = f"the body is longer than the {self.max_bytes} bytes accepted"
                raise HTTPException(413, message)
            return event

        await self.app(scope, receive_counted, send)
