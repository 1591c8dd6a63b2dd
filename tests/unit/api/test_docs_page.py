"""/docs needs no other host, and lets a browser run what it ships and nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient


class Page(HTMLParser):
    """What a browser would load, and what it would run."""

    def __init__(self, html: str):
        super().__init__()
        self.loaded: list[str] = []
        self.inline: list[str] = []
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.loaded += [value for name in ("src", "href") if (value := given.get(name))]
        self._in_script = tag == "script" and "src" not in given
        assert not [name for name in given if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.inline.append(data)


@pytest.fixture
def browser(app: FastAPI) -> TestClient:
    """Has no key: the page is everybody's."""
    return TestClient(app)


def policy_of(browser: TestClient, path: str) -> dict[str, list[str]]:
    header = browser.get(path).headers["content-security-policy"]
    directives = [directive.split() for directive in header.split(";")]
    return {name: sources for name, *sources in directives}


def test_the_page_names_no_other_host(browser: TestClient) -> None:
    html = browser.get("/docs").text
    assert not re.search(r"(?:https?:)?//[\w.-]+\.\w", html)
    page = Page(html)
    assert len(page.loaded) == 3
    for name in page.loaded:
        assert name.startswith("docs/"), "relative, or a proxy's path would be lost"


def test_every_file_that_the_page_names_is_there(browser: TestClient) -> None:
    page = Page(browser.get("/docs").text)
    kinds = {}
    for name in page.loaded:
        answer = browser.get(f"/{name}")
        assert answer.status_code == 200
        assert answer.headers["x-content-type-options"] == "nosniff"
        kinds[name.rpartition(".")[2]] = answer.headers["content-type"].partition(";")[0]
        again = browser.get(f"/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert kinds == {"js": "text/javascript", "css": "text/css", "png": "image/png"}
    assert "url: 'openapi.json'" in page.inline[0]
    assert browser.get("/openapi.json").status_code == 200


def test_the_policy_allows_the_pages_own_script_and_no_other(browser: TestClient) -> None:
    policy = policy_of(browser, "/docs")
    (script,) = Page(browser.get("/docs").text).inline
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == {
        "default-src": ["'none'"],
        "script-src": ["'self'", f"'sha256-{digest}'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }


@pytest.mark.parametrize(
    "path", ["/v1/models", "/nowhere", "/healthz", "/metrics", "/openapi.json"]
)
def test_any_other_answer_may_load_and_run_nothing(browser: TestClient, path: str) -> None:
    policy = policy_of(browser, path)
    assert set(policy) == {"default-src", "base-uri", "form-action", "frame-ancestors"}
    assert all(sources == ["'none'"] for sources in policy.values())
    assert browser.get(path).headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/redoc", "/docs/redoc.standalone.js", "/docs/../app.py", "/docs/%2e%2e%2fcore.py"]
)
def test_nothing_else_is_served(browser: TestClient, path: str) -> None:
    assert browser.get(path).status_code == 404


def test_the_document_does_not_list_the_page(browser: TestClient) -> None:
    paths = browser.get("/openapi.json").json()["paths"]
    assert not [path for path in paths if path.startswith("/docs")]
