"""Every failure as OpenAI's `{"error": {message, type, param, code}}`, with the right status.

The stock client retries 408, 409, 429 and 5xx, so nothing that a repetition cannot mend has such a
status: a conflict is a 400, and an answer that took its whole waiting time, or that holds until
a job ends, forbids the retry.
"""

from __future__ import annotations

import errno
import logging
import reprlib
from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from pando_api.allowed_methods import allowed_methods
from pando_api.schemas.errors import ErrorBody, ErrorDetail
from pando_shared.errors import (
    Conflict,
    InsufficientScope,
    InvalidRequest,
    JobQuotaExceeded,
    NotFound,
    PandoError,
    Unauthorized,
    Unavailable,
)

log = logging.getLogger(__name__)

#: A disk, or a tenant's share of it, has no room.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class TooLarge(InvalidRequest):
    """The request's body is longer than allowed."""

    code = "request_too_large"


class Expired(Unavailable):
    """Nothing answered within the time a request may take; asking again at once would not help."""


class RateLimited(PandoError):
    """The tenant asks too often; `headers` say when to ask again."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, headers: Mapping[str, str]):
        super().__init__(message)
        self.headers = headers


class TooManyStreams(RateLimited):
    """The tenant has as many long requests open as it may have."""

    code = "too_many_streams"


class TooManyFailedLogins(RateLimited):
    """Too many wrong keys came from the address that this one comes from."""

    code = "too_many_failed_logins"


class StorageQuotaExceeded(PandoError):
    """The tenant keeps as much in storage as it may; only deleting something helps."""

    code = "storage_quota_exceeded"


_STATUS: tuple[tuple[type[PandoError], int, str], ...] = (
    (TooLarge, 413, "invalid_request_error"),
    (InvalidRequest, 400, "invalid_request_error"),
    (Conflict, 400, "invalid_request_error"),
    (NotFound, 404, "invalid_request_error"),
    (Unauthorized, 401, "authentication_error"),
    (InsufficientScope, 403, "permission_error"),
    (RateLimited, 429, "requests"),
    (JobQuotaExceeded, 429, "invalid_request_error"),
    (StorageQuotaExceeded, 429, "insufficient_quota"),
    (Unavailable, 503, "server_error"),
)


def error_response(
    status: int,
    message: str,
    kind: str,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    detail = _detail(message, kind, param, code)
    return Response(
        to_json(ErrorBody(error=detail)), status, headers, media_type="application/json"
    )


def detail_of(error: PandoError) -> ErrorDetail:
    """The error as an object, for a stream whose status has been sent already."""
    _, kind = _classify(error)
    return _detail(error.message, kind, error.param, error.code)


def _detail(message: str, kind: str, param: str | None, code: str | None) -> ErrorDetail:
    """`param` may be a key of the body, and so anything that JSON can carry."""
    shown = None if param is None else _printable(param)
    return ErrorDetail(message=_printable(message), type=kind, param=shown, code=code)


def install(app: FastAPI) -> None:
    """Answer every exception of the application in this shape."""
    app.add_exception_handler(PandoError, _on_pando_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OSError, _on_storage_error)


def _classify(error: PandoError) -> tuple[int, str]:
    for cls, status, kind in _STATUS:
        if isinstance(error, cls):
            return status, kind
    return 500, "server_error"


def _on_pando_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, PandoError)
    status, kind = _classify(error)
    headers = {}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, RateLimited):
        headers.update(error.headers)
    if isinstance(error, Expired | JobQuotaExceeded | StorageQuotaExceeded):
        headers["x-should-retry"] = "false"
    return error_response(status, error.message, kind, error.param, error.code, headers)


def _on_storage_error(_: Request, error: Exception) -> Response:
    """Storage refuses. A full one is no better for being asked again at once."""
    assert isinstance(error, OSError)
    log.error("storage fails", exc_info=error)
    if error.errno in _FULL:
        message = "the server's storage is full, and nothing was kept; its operator must free some"
        headers = {"x-should-retry": "false"}
        return error_response(507, message, "server_error", code="storage_full", headers=headers)
    reason = error.strerror or type(error).__name__
    message = f"the server's storage does not work now ({reason}); try again later"
    return error_response(503, message, "server_error", code="storage_unavailable")


def _on_validation_error(_: Request, error: Exception) -> Response:
    """One sentence for the first field that is wrong: the client shows only `message`."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    first = found[0]
    where = _field(first["loc"])
    if first["type"] == "json_invalid":
        reason = first.get("ctx", {}).get("error", first["msg"])
        message = f"the body is not valid JSON: {reason}"
    elif not where:
        message = "the body must be a JSON object, sent with 'Content-Type: application/json'"
    else:
        # A field of several types fails once for each; the user may satisfy any of them.
        reasons = dict.fromkeys(item["msg"] for item in found if _field(item["loc"]) == where)
        message = f"{where}: {', or '.join(reasons)}"
        if first["type"] != "missing":
            message += f"; got {reprlib.repr(first['input'])}"
    return error_response(400, message, "invalid_request_error", where or None, InvalidRequest.code)


def _field(loc: Sequence[int | str]) -> str:
    """A pydantic location as a user would write it: without "body" and union branches."""
    if loc[0] == "header":
        return str(loc[1])
    steps = [str(step) for step in loc[1:] if isinstance(step, int) or step.isidentifier()]
    return ".".join(step for step in steps if step not in ("int", "float", "str", "list"))


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    messages = {
        404: f"no route {request.method} {request.url.path}; the routes are listed at /docs",
        405: f"{request.url.path} does not answer {request.method}",
    }
    message = messages.get(error.status_code, str(error.detail))
    kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # The framework names the methods of one route only, and a path may have several.
        headers["Allow"] = ", ".join(allowed_methods(request))
    return error_response(error.status_code, message, kind, headers=headers)


def _printable(text: str) -> str:
    """`text` without lone surrogates, which JSON may carry in and UTF-8 cannot carry out."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
