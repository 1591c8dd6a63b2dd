"""The API: whether it answers, is well, is of our version, and takes our key."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from packaging.version import InvalidVersion, Version

from pando_cli.doctor.finding import Finding, fail, ok, skipped, warn

NAME = "API"
#: Seconds to connect, and for each answer.
TIMEOUT_SECONDS = 2.0
#: An API that takes longer to say that it is ready is slow.
SLOW_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """`version` is None where it does not tell one, `unready` where it is ready, `workers` where it
    does not tell them. `key_status` is the HTTP status that our key got; None: we have no key."""

    url: str
    version: str | None
    unready: str | None
    ready_seconds: float
    key_status: int | None
    workers: tuple[dict[str, Any], ...] | None


def read_api(
    url: str, api_key: str | None, transport: httpx.BaseTransport | None = None
) -> ApiFacts | Finding:
    """The facts, or the finding that nothing answers."""
    where = without_credentials(url)
    mend = "Start it (`pando up`), or correct --url; api.log in the home's logs says why it ended."
    try:
        with httpx.Client(
            base_url=url,
            timeout=TIMEOUT_SECONDS,
            transport=transport,
            headers={"User-Agent": "pando-cli"},
        ) as http:
            return _read(http, where, api_key)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return fail(NAME, f"{where!r} is no http:// or https:// URL", "Correct --url or PANDO_URL.")
    except httpx.RequestError as error:
        return fail(NAME, f"{where} does not answer: {error or type(error).__name__}", mend)


def _read(http: httpx.Client, where: str, api_key: str | None) -> ApiFacts | Finding:
    health = http.get("/healthz")
    if health.is_error:
        return fail(
            NAME,
            f"{where}/healthz answers {health.status_code}",
            "Is it a Pando API that listens there, and does a proxy pass all paths on?",
        )
    began = time.monotonic()
    ready = http.get("/readyz")
    seconds = time.monotonic() - began
    status: int | None = None
    workers = None
    if api_key:
        status, workers = _with_key(http, api_key)
    return ApiFacts(
        url=where,
        version=_version(_json(http.get("/openapi.json"))),
        unready=_message(ready) if ready.is_error else None,
        ready_seconds=seconds,
        key_status=status,
        workers=workers,
    )


def _with_key(http: httpx.Client, api_key: str) -> tuple[int, tuple[dict[str, Any], ...] | None]:
    if not (api_key.isascii() and api_key.isprintable()):
        # No header can have it, and the error about that would quote it.
        return 401, None
    answer = http.get("/v1/workers", headers={"Authorization": f"Bearer {api_key}"})
    return answer.status_code, _workers(_json(answer))


def service_state(facts: ApiFacts, own_version: str) -> list[Finding]:
    return [
        ok(NAME, f"answers at {facts.url}"),
        version(facts, own_version),
        health(facts),
        key(facts),
    ]


def version(facts: ApiFacts, own: str) -> Finding:
    name = "API version"
    mend = "Install the same release here and there, and start the stack anew."
    if facts.version is None:
        return warn(name, f"not told; this command is {own}", mend)
    if facts.version == own:
        return ok(name, own)
    found = f"{facts.version}, but this command is {own}"
    return warn(name, found, mend) if _close(facts.version, own) else fail(name, found, mend)


def _close(one: str, other: str) -> bool:
    """Whether they differ in fixes only."""
    try:
        return Version(one).release[:2] == Version(other).release[:2]
    except InvalidVersion:
        return False


def health(facts: ApiFacts) -> Finding:
    name = "API health"
    if facts.unready is not None:
        return fail(name, facts.unready, "Mend Redis or storage, whichever it names.")
    if facts.ready_seconds > SLOW_SECONDS:
        return warn(
            name,
            f"ready, but took {facts.ready_seconds:.1f} s to say so",
            "See what keeps its machine, Redis or storage busy.",
        )
    return ok(name, "ready")


def key(facts: ApiFacts) -> Finding:
    name = "API key"
    make = "Make one on the service's machine (`pando keys create --tenant NAME`)"
    if facts.key_status is None:
        return skipped(name, "none given (--api-key, PANDO_API_KEY), and none in the home for it")
    if facts.key_status in (401, 403):
        return fail(name, "refused", f"{make} and give it as --api-key or PANDO_API_KEY.")
    if facts.key_status >= 400:
        return warn(
            name,
            f"cannot be told: the API answered {facts.key_status}",
            "See api.log in the home's logs.",
        )
    return ok(name, "accepted")


def without_credentials(url: str) -> str:
    try:
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    except ValueError:
        return "the URL"


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json() if answer.is_success else None
    except ValueError:
        return None


def _version(document: Any) -> str | None:
    info = document.get("info") if isinstance(document, dict) else None
    return str(info["version"]) if isinstance(info, dict) and "version" in info else None


def _workers(document: Any) -> tuple[dict[str, Any], ...] | None:
    found = document.get("data") if isinstance(document, dict) else None
    return tuple(found) if isinstance(found, list) else None


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"/readyz answers {answer.status_code}"
