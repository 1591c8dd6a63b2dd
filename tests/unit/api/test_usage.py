"""/v1/usage: what a tenant uses and may use."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_calls import create_job, error_of, upload
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.api_keys import new_api_key
from pando_shared.clock import FakeClock
from pando_shared.forecasts import Usage
from pando_shared.records import ModelRecord
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore

POLICY = """\
[scheduling]
half_life = "1h"
[tenants.acme]
guaranteed = 1
limit = 2.5
max_jobs = 5
requests_per_minute = 60
max_storage = "1 MiB"
"""


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return settings.model_copy(update={"policy_file": path})


def test_everything_is_told_with_its_limit(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    file_id = upload(client, b"x" * 1000)["id"]
    first = create_job(client, training_file=file_id)["id"]
    create_job(client, training_file=file_id, seed=2)
    client.post(f"/v1/fine_tuning/jobs/{first}/cancel")
    store.put_model(ModelRecord("ft:1", "acme", "tiny", first, "lora", "p", 1.0, bytes=24))
    store.put_usage([Usage("acme", 120.0, clock.now()), Usage("globex", 7.0, clock.now())])
    clock.advance(3600)
    assert client.get("/v1/usage").json() == {
        "object": "usage",
        "tenant": "acme",
        "storage": {
            "used": 1024,
            "files": 1000,
            "uploads": 0,
            "adapters": 24,
            "limit": 1024**2,
        },
        "jobs": {"validating_files": 1, "queued": 0, "running": 0, "paused": 0, "limit": 5},
        # This very request was one.
        "requests": {"limit_per_minute": 60, "remaining": 59},
        # A half-life later it counts half.
        "workers": {"recent_seconds": 60.0, "guaranteed": 1.0, "limit": 2.5},
    }


def test_asking_takes_one_request_like_any_other(client: TestClient) -> None:
    left = [client.get("/v1/usage").json()["requests"]["remaining"] for _ in range(3)]
    assert left == [59, 58, 57]


def test_a_tenant_without_limits_and_without_anything(stranger: TestClient) -> None:
    usage = stranger.get("/v1/usage").json()
    assert usage["storage"] == {"used": 0, "files": 0, "uploads": 0, "adapters": 0, "limit": None}
    assert usage["jobs"]["limit"] is None
    assert usage["requests"] == {"limit_per_minute": None, "remaining": None}
    assert usage["workers"] == {"recent_seconds": None, "guaranteed": 0.0, "limit": None}


def test_an_admin_sees_everybodys(
    app: FastAPI, client: TestClient, stranger: TestClient, store: StubStore, clock: FakeClock
) -> None:
    upload(stranger, b"x" * 10)
    secret, key = new_api_key("site", "admin", clock.now(), scope="admin")
    store.put_key(key)
    admin = TestClient(app, headers={"Authorization": f"Bearer {secret}"})
    found = admin.get("/v1/usage/tenants").json()["data"]
    used = {usage["tenant"]: usage["storage"]["used"] for usage in found}
    assert used == {"acme": 0, "globex": 10, "site": 0}
    assert error_of(client.get("/v1/usage/tenants"), 403)["code"] == "insufficient_scope"
