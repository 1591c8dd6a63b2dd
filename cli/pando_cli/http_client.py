"""HTTP to the service, with every way it can fail turned into an error that says what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from pando_cli.client_config import ClientConfig
from pando_cli.errors import CliError, KeyRejected, Refused, Unreachable, UsageError

#: Reads may wait for a long sample or a big upload to be digested; connecting may not.
TIMEOUT = httpx.Timeout(120.0, connect=5.0)


class HttpClient:
    """Paths are relative to `<url>/v1/`."""

    def __init__(self, config: ClientConfig, transport: httpx.BaseTransport | None = None):
        self.url = config.url
        self._http = httpx.Client(
            base_url=f"{config.url}/v1/",
            headers={"Authorization": f"Bearer {config.api_key}", "User-Agent": "pando-cli"},
            timeout=TIMEOUT,
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def json(self, method: str, path: str, **request: Any) -> Any:
        """The answer's JSON.

        Raises:
            Unreachable, KeyRejected, Refused.
        """
        with self.streaming(method, path, **request) as response:
            response.read()
        try:
            return response.json()
        except ValueError as error:
            raise Refused(
                f"{self.url} answered {path} with something that is not JSON",
                response.status_code,
                hint="Is it a Pando service that listens there? Check --url.",
            ) from error

    @contextmanager
    def streaming(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """A response whose body has not been read yet; refusals have been raised already.

        Raises:
            UsageError: what is to be sent has no form in JSON.
            Unreachable, KeyRejected, Refused.
        """
        try:
            prepared = self._http.build_request(method, path, **request)
        except ValueError as error:
            raise UsageError(
                f"this cannot be sent as JSON: {error}",
                hint="Numbers must be finite, and text UTF-8.",
            ) from error
        try:
            with closing(self._http.send(prepared, stream=True)) as response:
                if response.is_error:
                    response.read()
                    raise refusal(response, self.url)
                yield response
        except httpx.TransportError as error:
            raise Unreachable(
                f"cannot reach {self.url}: {error or type(error).__name__}",
                hint="Is the stack up? Start it with `pando up`, or give its address with --url.",
            ) from error


def refusal(response: httpx.Response, url: str) -> CliError:
    """The error a response of 400 or more stands for."""
    try:
        body = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        body = None
    fields = body.get("error") if isinstance(body, dict) else None
    if not isinstance(fields, dict):
        fields = {}
    message = str(fields.get("message") or f"{response.status_code} {response.reason_phrase}")
    if response.status_code in (401, 403):
        return KeyRejected(
            f"{url} refused the API key: {message}",
            hint="Make one with `pando keys create` on the service's machine; pass it as --api-key "
            "or PANDO_API_KEY.",
        )
    request_id = response.headers.get("x-request-id")
    return Refused(
        message,
        response.status_code,
        code=fields.get("code") or f"http_{response.status_code}",
        param=fields.get("param"),
        hint=f"(request {request_id})" if response.status_code >= 500 and request_id else None,
    )
