"""A job that no worker could hold is refused when it is asked for."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from api_calls import create_job, error_of, upload
from factories import make_worker
from fastapi import FastAPI
from starlette.testclient import TestClient

from pando_api import site
from pando_api.memory_fit import require_fit
from pando_api.site import Site
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, job_size
from pando_scheduler.views import view_worker
from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.admission import fits
from pando_shared.base_format import BaseFormat
from pando_shared.calibration import UNLEARNT, Calibration, calibration_key
from pando_shared.catalogue import BaseModel
from pando_shared.clock import FakeClock
from pando_shared.codec import encode
from pando_shared.errors import JobTooLarge
from pando_shared.fleet import footprint_on, needs_on, predict_on
from pando_shared.prediction_errors import PredictionErrors
from pando_shared.store.stub import StubStore
from pando_shared.workers import Worker

JOBS = "/v1/fine_tuning/jobs"
MEFT = MeftConfig(num_keys=4096, top_k=8)


def refusal(client: TestClient, status: int = 400) -> dict[str, object]:
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    return error_of(client.post(JOBS, json=body), status)


def keep_free(app: FastAPI, headroom: float) -> None:
    services = app.state.services
    settings = services.settings.model_copy(update={"memory_headroom": headroom})
    app.state.services = replace(services, settings=settings)


def is_accepted(site: Site, base: BaseModel, adapter: AdapterConfig) -> bool:
    try:
        require_fit(site, base, adapter)
    except JobTooLarge:
        return False
    return True


def could_be_placed(
    worker: Worker, base: BaseModel, adapter: AdapterConfig, learnt: Calibration, headroom: float
) -> bool:
    """What the scheduler finds of a job alone on an idle worker."""
    predict = LearntPredictor({base.name: base}, headroom)
    predict.learn({(base.name, worker.device_kind): learnt}, {})
    place = view_worker(worker, draining=False)
    job = JobView("any", "any", base.name, 0, 0.0, 0.0, job_size(adapter, 1024.0), 0.0)
    footprint = predict.footprint(job, place)
    assert footprint is not None
    return fits(worker, predict.needs(place, base.name, footprint), headroom=0.0)


def border(enough: Callable[[int], bool]) -> int:
    """The fewest bytes that are enough."""
    return bisect_left(range(1 << 40), True, key=enough)


def sure(headroom: float, **factors: float) -> Calibration:
    """Has seen enough to know what to keep free."""
    return Calibration(errors=PredictionErrors((headroom,) * 30, 30), **factors)


@pytest.mark.parametrize("headroom", [0.05, 0.10, 0.5])
@pytest.mark.parametrize("learnt", [UNLEARNT, sure(0.01), sure(0.04, lora=1.7, meft=0.6, step=3.0)])
@pytest.mark.parametrize("adapter", [LoraConfig(rank=64), PacaConfig(), MEFT])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_whoever_is_accepted_can_be_placed(
    base: BaseModel, device: str, adapter: AdapterConfig, learnt: Calibration, headroom: float
) -> None:
    """At the border of the budget, of the device and of a GPU worker's host."""
    worker = make_worker(device=device, device_kind="kind", base_format=BaseFormat("bfloat16"))
    told = {calibration_key(base.name, "kind"): encode(learnt).decode()}

    def placed(worker: Worker) -> bool:
        return could_be_placed(worker, base, adapter, learnt, headroom)

    def agree(worker: Worker) -> bool:
        return is_accepted(Site((worker,), told, headroom), base, adapter) == placed(worker)

    fewest = border(lambda count: placed(replace(worker, budget_bytes=count)))
    for count in (fewest - 4096, fewest - 1, fewest, fewest + 1, fewest + 4096):
        assert agree(replace(worker, budget_bytes=count))
    worker = replace(worker, budget_bytes=1 << 36)
    fewest = border(lambda count: placed(replace(worker, host_budget_bytes=count)))
    assert (fewest > 0) == (device == "cuda:0")
    for count in (max(0, fewest - 1), fewest, fewest + 1):
        assert agree(replace(worker, host_budget_bytes=count))


def test_it_is_the_operators_headroom_that_is_kept_free(
    client: TestClient, app: FastAPI, store: StubStore, base: BaseModel, clock: FakeClock
) -> None:
    def room(headroom: float) -> Callable[[int], bool]:
        return lambda count: could_be_placed(
            replace(worker, budget_bytes=count), base, LoraConfig(), UNLEARNT, headroom
        )

    worker = make_worker(heartbeat_at=clock.now(), token_budget=16384)
    worker = replace(worker, budget_bytes=border(room(0.5)))
    store.put_worker(replace(worker, budget_bytes=worker.budget_bytes - 1))
    create_job(client)
    keep_free(app, 0.5)
    assert "the job needs" in str(refusal(client)["message"])
    store.put_worker(worker)
    create_job(client)
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    found = client.post("/v1/fine_tuning/estimate", json=body).json()
    strained, relaxed = (
        predict_on(worker, base, [LoraConfig()], headroom=share).device_bytes
        for share in (0.5, 0.1)
    )
    assert found["predicted_peak_bytes"] == strained < relaxed


def test_by_what_rounds_have_taught(client: TestClient, store: StubStore, base: BaseModel) -> None:
    worker = make_worker()
    needed = needs_on(worker, base, footprint_on(worker, base, LoraConfig())).device_bytes
    store.put_worker(replace(worker, budget_bytes=round(1.2 * needed)))
    create_job(client)
    learnt = encode(Calibration(step=100.0)).decode()
    store.put_learnt(calibration_key("tiny", "cpu"), learnt)
    assert "the job needs" in str(refusal(client)["message"])


@pytest.mark.parametrize("path", [JOBS, "/v1/fine_tuning/estimate", "/v1/fine_tuning/sweeps"])
def test_a_request_reads_workers_and_what_was_learnt_once(
    client: TestClient, store: StubStore, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    for number in range(5):
        store.put_worker(make_worker(f"w{number}", budget_bytes=1 << 40))
    body = {"model": "tiny", "training_file": upload(client)["id"]}
    if path.endswith("sweeps"):
        body["grid"] = {"n_epochs": [1, 2, 3]}
    calls: Counter[str] = Counter()
    for owner, name in ((store, "list_workers"), (store, "learnt"), (site, "read_calibration")):
        original = getattr(owner, name)

        def counted(*args: Any, name: str = name, original: Any = original) -> Any:
            calls[name] += 1
            return original(*args)

        monkeypatch.setattr(owner, name, counted)
    assert client.post(path, json=body).status_code == 200
    assert calls == {"list_workers": 1, "learnt": 1, "read_calibration": 1}


@pytest.mark.parametrize("budget", [0, -(1 << 40)])
def test_a_worker_that_says_nonsense_of_itself_holds_nothing(
    client: TestClient, store: StubStore, budget: int
) -> None:
    liar = make_worker(budget_bytes=budget, token_budget=budget, tokens_per_second=-1.0)
    store.put_worker(replace(liar, host_budget_bytes=budget, device="cuda:0"))
    assert "has 0 bytes" in str(refusal(client)["message"])
