"""Who gets in, and what every answer carries."""

from __future__ import annotations

from dataclasses import replace

import pytest
from api_calls import error_of
from factories import make_worker
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.api_keys import new_api_key
from pando_shared.clock import FakeClock
from pando_shared.errors import Unavailable
from pando_shared.store.stub import StubStore

OPEN_ROUTES = {"/healthz", "/readyz", "/metrics", "/metrics/workers"}


def test_every_route_but_health_wants_a_key(app: FastAPI) -> None:
    anonymous = TestClient(app)
    paths = app.openapi()["paths"]
    assert len(paths) > 15
    for path, operations in paths.items():
        for method in operations:
            answer = anonymous.request(method, path)
            assert (answer.status_code == 401) is (path not in OPEN_ROUTES), path


@pytest.mark.parametrize("header", ["Bearer sk-pando-wrong", "Basic abc", "Bearer", "sk-pando"])
def test_a_wrong_key_is_refused(app: FastAPI, header: str) -> None:
    answer = TestClient(app).get("/v1/models", headers={"Authorization": header})
    assert error_of(answer, 401)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_revoked_key_is_refused(app: FastAPI, store: StubStore) -> None:
    secret, key = new_api_key("acme", "old", 0.0)
    store.put_key(replace(key, revoked_at=1.0))
    answer = TestClient(app).get("/v1/models", headers={"Authorization": f"Bearer {secret}"})
    error_of(answer, 401)


def test_a_request_id_is_given_or_kept(client: TestClient) -> None:
    given = client.get("/healthz").headers["x-request-id"]
    assert given.startswith("req_")
    kept = client.get("/healthz", headers={"x-request-id": "trace-1"})
    assert kept.headers["x-request-id"] == "trace-1"
    forged = client.get("/healthz", headers={"x-request-id": "a b"})
    assert forged.headers["x-request-id"].startswith("req_")


def test_security_headers_are_set_and_other_origins_get_nothing(client: TestClient) -> None:
    answer = client.get("/v1/models", headers={"Origin": "https://elsewhere.example"})
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in answer.headers


def test_unknown_routes_and_methods_have_the_same_shape(client: TestClient) -> None:
    assert "/v1/nothing" in error_of(client.get("/v1/nothing"), 404)["message"]
    refused = client.put("/v1/files")
    error_of(refused, 405)
    assert refused.headers["Allow"] == "GET, POST"
    refused = client.put("/v1/models/org/with-slash")
    assert refused.headers["Allow"] == "GET, DELETE"


def test_a_fault_of_ours_hides_its_details(
    app: FastAPI, client: TestClient, store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(tenant: str) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr(store, "list_models", broken)
    answer = client.get("/v1/models")
    error = error_of(answer, 500)
    assert "secret" not in error["message"]
    assert answer.headers["x-request-id"] in error["message"]


@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b"", b"1e999", b"[" * 100_000],
)
def test_a_body_that_is_no_object_is_a_400(client: TestClient, body: bytes) -> None:
    for path in ("/v1/fine_tuning/jobs", "/v1/completions", "/v1/chat/completions"):
        headers = {"Content-Type": "application/json"}
        error_of(client.post(path, content=body, headers=headers))


def test_a_huge_body_is_refused(client: TestClient) -> None:
    announced = client.post("/v1/completions", content=b"x" * (8 << 20) + b"x")
    error_of(announced, 413)
    chunked = client.post("/v1/completions", content=(b"x" * (1 << 20) for _ in range(9)))
    error_of(chunked, 413)


def test_documentation_lists_the_routes(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200
    routes = client.get("/openapi.json").json()["paths"]
    assert "post" in routes["/v1/files"]


def test_health_metrics_and_readiness_are_open(
    app: FastAPI, client: TestClient, store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    anonymous = TestClient(app)
    assert anonymous.get("/healthz").json() == {"status": "ok"}
    assert anonymous.get("/readyz").json() == {"status": "ready"}
    client.get("/v1/files/file-1")
    text = anonymous.get("/metrics").text
    assert 'route="/v1/files/{file_id}",status="404"' in text
    assert 'pando_jobs{state="queued"} 0.0' in text
    assert "pando_store_up 1.0" in text
    monkeypatch.setattr(store, "ping", lambda: False)
    error_of(anonymous.get("/readyz"), 503)


def test_metrics_outlive_the_store(
    app: FastAPI, store: StubStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise Unavailable("Redis is away")

    monkeypatch.setattr(store, "count_jobs", away)
    text = TestClient(app).get("/metrics").text
    assert "pando_store_up 0.0" in text
    assert "pando_jobs{" not in text


def test_prometheus_finds_the_workers_that_are_alive_and_tell_something(
    app: FastAPI, store: StubStore, clock: FakeClock
) -> None:
    now = clock.now()
    store.put_worker(make_worker("w1", heartbeat_at=now, metrics_address="10.0.0.7:9100"))
    store.put_worker(make_worker("w2", heartbeat_at=now - 1000, metrics_address="10.0.0.8:9100"))
    store.put_worker(make_worker("w3", heartbeat_at=now))
    assert TestClient(app).get("/metrics/workers").json() == [
        {"targets": ["10.0.0.7:9100"], "labels": {"worker": "w1"}}
    ]


def test_documentation_promises_no_422(client: TestClient) -> None:
    for operations in client.get("/openapi.json").json()["paths"].values():
        for operation in operations.values():
            assert "422" not in operation["responses"]


def test_a_form_where_json_is_meant_is_told_so(client: TestClient) -> None:
    answer = client.post("/v1/completions", data={"model": "tiny", "prompt": "x"})
    assert "application/json" in error_of(answer)["message"]
