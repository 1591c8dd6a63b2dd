"""`requests_per_minute`: answers tell what is left, and one request too many waits."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest
from api_calls import error_of
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.clock import FakeClock
from pando_shared.settings import Settings


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    path = tmp_path / "policy.toml"
    path.write_text("[tenants.acme]\nrequests_per_minute = 2\n")
    return settings.model_copy(update={"policy_file": path})


def test_answers_tell_what_is_left(client: TestClient) -> None:
    headers = client.get("/v1/files").headers
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "1"
    assert headers["x-ratelimit-reset-requests"] == "30s"


def test_one_too_many_is_told_when_to_come_back(client: TestClient, clock: FakeClock) -> None:
    assert client.get("/v1/files").status_code == 200
    assert client.get("/v1/files/none").status_code == 404
    answer = client.get("/v1/files")
    assert error_of(answer, 429)["code"] == "rate_limit_exceeded"
    assert answer.headers["retry-after"] == "30"
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    clock.advance(30)
    assert client.get("/v1/files").status_code == 200


def test_nobody_else_is_limited(app: FastAPI, client: TestClient, stranger: TestClient) -> None:
    for _ in range(3):
        client.get("/v1/files")
    answer = stranger.get("/v1/files")
    assert answer.status_code == 200
    assert "x-ratelimit-limit-requests" not in answer.headers
    assert TestClient(app).get("/healthz").status_code == 200


def test_the_stock_client_waits_and_goes_on(
    client: TestClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    monkeypatch.setattr("openai._base_client.time.sleep", wait)
    key = client.headers["authorization"].removeprefix("Bearer ")
    user = openai.OpenAI(base_url="http://testserver/v1", api_key=key, http_client=client)
    for _ in range(3):
        user.files.list()
    assert waits == [30.0]
