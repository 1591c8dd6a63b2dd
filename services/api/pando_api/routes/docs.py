"""/docs: the API's document as a page to read and to try; it needs nothing from any other host.

Its script is Swagger UI, as the package `fastapi-offline` ships it. A policy names what a browser
may load and run there, so that nothing runs that came into the page with what the API answered.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

from pando_shared.errors import NotFound

router = APIRouter(include_in_schema=False)

_SCRIPT = "swagger-ui-bundle.js"
_STYLE = "swagger-ui.css"
_ICON = "favicon.png"
_FILES = (_SCRIPT, _STYLE, _ICON)

#: `validatorUrl` would send the document to a site of others.
_PARAMETERS = {"validatorUrl": None, "persistAuthorization": False}


@router.get("/docs")
def page() -> HTMLResponse:
    html = _html()
    return HTMLResponse(html, headers={"Content-Security-Policy": _policy(html)})


@router.get("/docs/{name}")
async def asset(name: str, request: Request) -> Response:
    """One of the three files that the page names."""
    if name not in _FILES:
        raise NotFound(f"no file {name!r}; the page at /docs has {', '.join(_FILES)}")
    answer = await _files().get_response(name, request.scope)
    # A browser asks each time whether it is still the same, and loads it once.
    answer.headers["Cache-Control"] = "no-cache"
    return answer


@cache
def _files() -> StaticFiles:
    return StaticFiles(packages=[("fastapi_offline", "static")])


@cache
def _html() -> str:
    """Its addresses are relative, so that a proxy may put the API below any path."""
    answer = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Pando's API",
        swagger_js_url=f"docs/{_SCRIPT}",
        swagger_css_url=f"docs/{_STYLE}",
        swagger_favicon_url=f"docs/{_ICON}",
        swagger_ui_parameters=_PARAMETERS,
    )
    return bytes(answer.body).decode()


@cache
def _policy(html: str) -> str:
    """The one script within the page may run because its hash stands here."""
    (inline,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self'",
            # Swagger UI's style sheet has its pictures within itself.
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
