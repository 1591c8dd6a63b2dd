"""`max_jobs`: a tenant's jobs that have not ended are counted when it asks for another."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from api_calls import create_job, error_of, upload
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_shared.clock import FakeClock
from pando_shared.errors import JobQuotaExceeded
from pando_shared.jobs import Job, JobState
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import NewJob
from pando_shared.store.messages import StubMessenger
from pando_shared.store.stub import StubStore

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text("[tenants.acme]\nmax_jobs = 2\n")
    return path


@pytest.fixture
def settings(settings: Settings, policy: Path) -> Settings:
    return settings.model_copy(update={"policy_file": policy})


def post(client: TestClient, file_id: str, seed: int = 0, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"model": "tiny", "training_file": file_id, "seed": seed}
    return client.post(JOBS, json=body, headers=named)


def fill(client: TestClient) -> str:
    """Both places taken, by jobs of one file."""
    file_id = upload(client)["id"]
    for seed in (1, 2):
        assert post(client, file_id, seed).status_code == 200
    return file_id


def test_one_more_is_refused_with_both_figures(
    client: TestClient, storage: Storage, messenger: StubMessenger
) -> None:
    file_id = fill(client)
    answer = post(client, file_id, seed=3)
    error = error_of(answer, 429)
    assert (error["code"], error["type"]) == ("job_quota_exceeded", "invalid_request_error")
    assert error["message"] == (
        "tenant acme has 2 jobs that have not ended and may have 2; wait until one ends or cancel "
        "one, or ask the operator for a higher max_jobs"
    )
    assert answer.headers["x-should-retry"] == "false"
    assert len(client.get(JOBS).json()["data"]) == 2
    assert len(storage.names("jobs")) == len(messenger.prepared) == 2


def test_tenants_without_a_quota_have_none(client: TestClient, stranger: TestClient) -> None:
    fill(client)
    for seed in range(4):
        create_job(stranger, seed=seed)


@pytest.mark.parametrize("state", list(JobState))
def test_only_jobs_that_have_not_ended_count(
    client: TestClient, store: StubStore, state: JobState
) -> None:
    file_id = fill(client)
    job = store.list_jobs("acme")[0]
    store.update_job(job.id, lambda job: replace(job, state=state))
    ended = state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    assert post(client, file_id, seed=3).status_code == (200 if ended else 429)


def test_cancelling_makes_room(client: TestClient) -> None:
    file_id = fill(client)
    first = client.get(JOBS).json()["data"][0]["id"]
    assert client.post(f"{JOBS}/{first}/cancel").status_code == 200
    assert post(client, file_id, seed=3).status_code == 200
    assert post(client, file_id, seed=4).status_code == 429


def test_a_retry_is_not_refused_because_of_the_job_it_made(client: TestClient) -> None:
    file_id = upload(client)["id"]
    create_job(client, training_file=file_id)
    made = post(client, file_id, 1).json()["id"]
    again = post(client, file_id, 1, x_stainless_retry_count="1")
    assert (again.status_code, again.json()["id"]) == (200, made)
    assert post(client, file_id, 2, x_stainless_retry_count="1").status_code == 429


def test_nor_is_a_request_that_repeats_its_key(client: TestClient) -> None:
    file_id = upload(client)["id"]
    create_job(client, training_file=file_id)
    made = post(client, file_id, 1, Idempotency_Key="once").json()["id"]
    again = post(client, file_id, 1, Idempotency_Key="once")
    assert (again.status_code, again.json()["id"]) == (200, made)
    another = post(client, file_id, 1, Idempotency_Key="twice")
    assert error_of(another, 429)["code"] == "job_quota_exceeded"
    reused = post(client, file_id, 2, Idempotency_Key="once")
    assert error_of(reused, 400)["code"] == "idempotency_key_reused"


def test_a_key_that_was_refused_is_free_once_there_is_room(client: TestClient) -> None:
    file_id = fill(client)
    assert post(client, file_id, 3, Idempotency_Key="later").status_code == 429
    first = client.get(JOBS).json()["data"][0]["id"]
    client.post(f"{JOBS}/{first}/cancel")
    assert post(client, file_id, 3, Idempotency_Key="later").status_code == 200


def test_the_quota_follows_the_file(client: TestClient, policy: Path, clock: FakeClock) -> None:
    file_id = fill(client)
    policy.write_text("[tenants.acme]\nmax_jobs = 3\n# for a while\n")
    assert post(client, file_id, seed=3).status_code == 429
    clock.advance(5)
    assert post(client, file_id, seed=3).status_code == 200
    policy.write_text("nonsense")
    for seed in (4, 5):
        clock.advance(5)
        assert error_of(post(client, file_id, seed), 429)["message"].startswith(
            "tenant acme has 3 jobs that have not ended and may have 3"
        )


def test_no_jobs_at_all(client: TestClient, policy: Path) -> None:
    policy.write_text("[default_tenant]\nmax_jobs = 0\n")
    assert post(client, upload(client)["id"]).status_code == 429


def test_several_jobs_need_room_for_all(client: TestClient, app: FastAPI) -> None:
    create_job(client)
    quota = app.state.services.job_quota
    quota.require_room("acme", 1)
    quota.require_room("globex", 100)
    with pytest.raises(JobQuotaExceeded, match=r"has 1 jobs .* may have 2, 3 more were asked for"):
        quota.require_room("acme", 3)


def test_requests_at_once_do_not_all_find_the_last_place(
    client: TestClient, store: StubStore, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have counted, and found room, before one keeps its job."""
    file_id = upload(client)["id"]
    together = threading.Barrier(4)
    keep = store.create_jobs

    def slow(new: Sequence[NewJob], *, most_live: int | None = None) -> list[Job | None]:
        together.wait(timeout=10)
        return keep(new, most_live=most_live)

    monkeypatch.setattr(store, "create_jobs", slow)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda seed: post(client, file_id, seed).status_code, range(4)))
    assert sorted(answers) == [200, 200, 429, 429]
    assert len(store.list_jobs("acme")) == len(storage.names("jobs")) == 2


def test_the_stock_client_does_not_ask_again(client: TestClient) -> None:
    file_id = fill(client)
    asked: list[Any] = []
    client.event_hooks["request"].append(asked.append)
    key = client.headers["Authorization"].removeprefix("Bearer ")
    stock = openai.OpenAI(api_key=key, base_url="http://testserver/v1", http_client=client)
    with pytest.raises(openai.RateLimitError, match="tenant acme has 2 jobs") as caught:
        stock.fine_tuning.jobs.create(model="tiny", training_file=file_id, seed=3)
    assert caught.value.code == "job_quota_exceeded"
    assert len(asked) == 1
