"""What a key's scope allows, and keys made by an admin over HTTP."""

from __future__ import annotations

import pytest
from api_calls import error_of, upload
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.api_keys import new_api_key
from pando_shared.clock import FakeClock
from pando_shared.records import KeyScope
from pando_shared.store.stub import StubStore

ESTIMATE = "/v1/fine_tuning/estimate"


def client_of(
    app: FastAPI,
    store: StubStore,
    now: float,
    scope: KeyScope,
    expires_at: float | None = None,
) -> TestClient:
    secret, key = new_api_key("acme", scope, now, scope=scope, expires_at=expires_at)
    store.put_key(key)
    return TestClient(app, headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def admin(app: FastAPI, store: StubStore, clock: FakeClock) -> TestClient:
    return client_of(app, store, clock.now(), "admin")


@pytest.fixture
def reader(app: FastAPI, store: StubStore, clock: FakeClock) -> TestClient:
    return client_of(app, store, clock.now(), "read-only")


def test_a_read_only_key_changes_nothing_on_any_route(app: FastAPI, reader: TestClient) -> None:
    refused = 0
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            if method == "get" or path == ESTIMATE or path.startswith("/v1/keys"):
                continue
            error = error_of(reader.request(method, path), 403)
            assert error["code"] == "insufficient_scope", path
            assert "scope user" in error["message"]
            refused += 1
    assert refused >= 15


def test_a_read_only_key_reads_and_estimates(client: TestClient, reader: TestClient) -> None:
    file_id = upload(client)["id"]
    assert reader.get(f"/v1/files/{file_id}").status_code == 200
    assert reader.get("/v1/workers").status_code == 200
    body = {"model": "tiny", "training_file": file_id}
    assert reader.post(ESTIMATE, json=body).status_code != 403


def test_an_expired_key_is_refused(app: FastAPI, store: StubStore, clock: FakeClock) -> None:
    client = client_of(app, store, clock.now(), "user", expires_at=clock.now() + 60)
    assert client.get("/v1/files").status_code == 200
    clock.advance(60)
    assert "expired" in error_of(client.get("/v1/files"), 401)["message"]


def test_an_admin_makes_lists_and_revokes_keys(app: FastAPI, admin: TestClient) -> None:
    wish = {"tenant": "globex", "name": "ci", "expires_in_seconds": 3600}
    made = admin.post("/v1/keys", json=wish).json()
    assert made["scope"] == "user"
    assert made["expires_at"] == made["created_at"] + 3600
    theirs = TestClient(app, headers={"Authorization": f"Bearer {made['key']}"})
    assert theirs.get("/v1/files").status_code == 200
    listed = admin.get("/v1/keys")
    assert made["id"] in [key["id"] for key in listed.json()["data"]]
    assert made["key"] not in listed.text
    assert admin.delete(f"/v1/keys/{made['id']}").json()["revoked_at"] is not None
    error_of(theirs.get("/v1/files"), 401)


def test_an_admin_sees_no_other_tenants_files(admin: TestClient, stranger: TestClient) -> None:
    error_of(admin.get(f"/v1/files/{upload(stranger)['id']}"), 404)


@pytest.mark.parametrize("method_path", ["GET /v1/keys", "POST /v1/keys", "DELETE /v1/keys/key-1"])
def test_keys_are_for_admins_alone(
    client: TestClient, reader: TestClient, method_path: str
) -> None:
    for each in (client, reader):
        error = error_of(each.request(*method_path.split()), 403)
        assert error["code"] == "insufficient_scope"
    error = error_of(client.request(*method_path.split()), 403)
    assert "scope admin" in error["message"]


def test_a_key_that_cannot_be_is_refused(admin: TestClient) -> None:
    assert error_of(admin.post("/v1/keys", json={"tenant": "a b"}))["param"] == "tenant"
    error_of(admin.post("/v1/keys", json={"tenant": "a", "scope": "root"}))
    error_of(admin.delete("/v1/keys/key-none"), 404)
