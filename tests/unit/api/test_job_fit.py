"""A job that no worker could hold is refused when it is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from api_calls import create_job, error_of, upload
from factories import make_worker
from starlette.testclient import TestClient

from pando_shared.adapters import LoraConfig
from pando_shared.calibration import Calibration, calibration_key
from pando_shared.catalogue import BaseModel
from pando_shared.codec import encode
from pando_shared.fleet import predict_on
from pando_shared.store.stub import StubStore

JOBS = "/v1/fine_tuning/jobs"


def refusal(client: TestClient, status: int = 400) -> dict[str, object]:
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    return error_of(client.post(JOBS, json=body), status)


def test_by_what_rounds_have_taught(client: TestClient, store: StubStore, base: BaseModel) -> None:
    worker = make_worker()
    needed = predict_on(worker, base, [LoraConfig()]).device_bytes
    store.put_worker(replace(worker, budget_bytes=round(1.2 * needed)))
    create_job(client)
    learnt = encode(Calibration(step=100.0)).decode()
    store.put_learnt(calibration_key("tiny", "cpu"), learnt)
    assert "the job needs" in str(refusal(client)["message"])


@pytest.mark.parametrize("budget", [0, -(1 << 40)])
def test_a_worker_that_says_nonsense_of_itself_holds_nothing(
    client: TestClient, store: StubStore, budget: int
) -> None:
    liar = make_worker(budget_bytes=budget, token_budget=budget, tokens_per_second=-1.0)
    store.put_worker(replace(liar, host_budget_bytes=budget, device="cuda:0"))
    assert "has 0 bytes" in str(refusal(client)["message"])
