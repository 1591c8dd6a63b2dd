from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from fake_service import CONFIG, FakeService, error_response

from pando_cli.doctor.finding import Finding, Status
from pando_cli.doctor.service import (
    ApiFacts,
    health,
    key,
    read_api,
    service_state,
    version,
    without_credentials,
)

FACTS = ApiFacts("http://pando.test", "1.2.3", None, 0.01, 200, ())


@pytest.fixture
def healthy(service: FakeService) -> FakeService:
    service.on("GET", "/healthz", {"status": "ok"})
    service.on("GET", "/readyz", {"status": "ready"})
    service.on("GET", "/openapi.json", {"info": {"title": "Pando", "version": "1.2.3"}})
    service.on("GET", "/workers", {"data": [{"id": "w1"}]})
    return service


def read(service: FakeService, api_key: str | None = CONFIG.api_key) -> ApiFacts:
    found = read_api(CONFIG.url, api_key, service.transport)
    assert isinstance(found, ApiFacts), found
    return found


def test_one_that_is_as_it_should_be(healthy: FakeService) -> None:
    facts = read(healthy)
    assert facts.workers == ({"id": "w1"},)
    assert {finding.status for finding in service_state(facts, "1.2.3")} == {Status.OK}


def test_the_key_goes_only_where_it_is_wanted(healthy: FakeService) -> None:
    read(healthy)
    with_key = [r.url.path for r in healthy.requests if "authorization" in r.headers]
    assert with_key == ["/v1/workers"]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("1.2.3", Status.OK),
        ("1.2.4", Status.WARN),
        ("1.3.0", Status.FAIL),
        ("odd", Status.FAIL),
        (None, Status.WARN),
    ],
)
def test_version(told: str | None, status: Status) -> None:
    assert version(replace(FACTS, version=told), "1.2.3").status is status


def test_not_ready(healthy: FakeService) -> None:
    healthy.on("GET", "/readyz", error_response(503, "the store does not answer"))
    found = health(read(healthy))
    assert found.status is Status.FAIL
    assert found.found == "the store does not answer"


def test_slow() -> None:
    assert health(replace(FACTS, ready_seconds=1.5)).status is Status.WARN


@pytest.mark.parametrize(
    ("answer", "status"),
    [(200, Status.OK), (401, Status.FAIL), (403, Status.FAIL), (500, Status.WARN)],
)
def test_key(healthy: FakeService, answer: int, status: Status) -> None:
    healthy.on("GET", "/workers", httpx.Response(answer, json={"data": []}))
    assert key(read(healthy)).status is status


def test_no_key(healthy: FakeService) -> None:
    facts = read(healthy, api_key=None)
    assert key(facts).status is Status.SKIPPED
    assert facts.workers is None


@pytest.mark.parametrize("odd", ["sk-pando-ü", "sk-pando-a\nb"])
def test_a_key_that_no_header_can_have(healthy: FakeService, odd: str) -> None:
    found = key(read(healthy, odd))
    assert found.status is Status.FAIL
    assert "sk-pando" not in repr(found)


def failure(service: FakeService, url: str = CONFIG.url) -> Finding:
    found = read_api(url, CONFIG.api_key, service.transport)
    assert isinstance(found, Finding)
    assert found.status is Status.FAIL
    assert found.mend
    return found


def test_nothing_answers(service: FakeService) -> None:
    service.on("GET", "/healthz", httpx.ConnectError("connection refused"))
    assert "connection refused" in failure(service).found


def test_it_stops_answering(healthy: FakeService) -> None:
    healthy.on("GET", "/readyz", httpx.ReadTimeout("timed out"))
    assert "timed out" in failure(healthy).found


def test_something_else_listens(service: FakeService) -> None:
    assert "404" in failure(service).found


def test_answers_that_are_no_json(healthy: FakeService) -> None:
    for path in ("/openapi.json", "/workers"):
        healthy.on("GET", path, httpx.Response(200, text="<html>"))
    facts = read(healthy)
    assert (facts.version, facts.workers) == (None, None)


@pytest.mark.parametrize("url", ["pando.test", "ftp://pando.test", "http://[broken"])
def test_no_url(url: str) -> None:
    found = read_api(url, None)
    assert isinstance(found, Finding)
    assert found.status is Status.FAIL
    assert "--url" in found.mend


def test_a_urls_password_is_not_told(service: FakeService) -> None:
    service.on("GET", "/healthz", httpx.ConnectError("no"))
    assert "geheim" not in repr(failure(service, "http://me:geheim@pando.test"))
    assert without_credentials("http://me:geheim@pando.test:80/x") == "http://pando.test:80/x"
