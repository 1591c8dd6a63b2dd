"""Estimates and refusals by what rounds have taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from api_calls import upload
from factories import make_worker
from starlette.testclient import TestClient

from pando_api.memory_fit import require_fit
from pando_api.site import Site
from pando_shared.adapters import LoraConfig
from pando_shared.calibration import UNLEARNT, Calibration, calibration_key
from pando_shared.catalogue import BaseModel
from pando_shared.clock import FakeClock
from pando_shared.codec import encode
from pando_shared.errors import JobTooLarge
from pando_shared.fleet import footprint_on, needs_on, predict_on
from pando_shared.prediction_errors import PredictionErrors
from pando_shared.speed import SpeedModel, speed_key
from pando_shared.store.stub import StubStore
from pando_shared.workers import Worker

ADAPTER = LoraConfig(rank=64)


def learnt(base: BaseModel, calibration: Calibration) -> Mapping[str, str]:
    return {calibration_key(base.name, "cpu"): encode(calibration).decode()}


def site(worker: Worker, base: BaseModel, calibration: Calibration = UNLEARNT) -> Site:
    return Site((worker,), learnt(base, calibration), start_headroom=0.10)


def test_an_estimate_is_of_what_was_learnt(
    client: TestClient, store: StubStore, clock: FakeClock, base: BaseModel
) -> None:
    worker = make_worker(
        budget_bytes=1 << 34, token_budget=512, tokens_per_second=12.0, heartbeat_at=clock.now()
    )
    store.put_worker(worker)
    body = {"model": "tiny", "training_file": upload(client)["id"], "adapter": {"rank": 64}}
    before = client.post("/v1/fine_tuning/estimate", json=body).json()
    assert before["duration_seconds"] == before["tokens"] / 12.0
    # Twice what is modelled of LoRA; how much jobs differ is no part of what is expected.
    for key, text in learnt(base, Calibration(lora=2.0, sigma=0.2)).items():
        store.put_learnt(key, text)
    # A hundred tokens a second of a step, of which a lone job gets half.
    speed = SpeedModel(100.0, 0.001, alone_share=0.5, errors=PredictionErrors((0.0,), 1))
    store.put_learnt(speed_key("tiny", "cpu"), encode(speed).decode())
    found = client.post("/v1/fine_tuning/estimate", json=body).json()
    assert found["duration_seconds"] == pytest.approx(found["tokens"] / 50.0)
    one, two = (predict_on(worker, base, [ADAPTER] * n).device_bytes for n in (1, 2))
    own = found["predicted_peak_bytes"] - before["predicted_peak_bytes"]
    assert own == two - one
    assert own > 0


def least_bytes(worker: Worker, base: BaseModel) -> int:
    return needs_on(worker, base, footprint_on(worker, base, ADAPTER)).device_bytes


def test_a_job_is_refused_by_what_was_learnt(base: BaseModel) -> None:
    worker = make_worker()
    worker = replace(worker, budget_bytes=round(1.2 * least_bytes(worker, base)))
    require_fit(site(worker, base), base, ADAPTER)
    with pytest.raises(JobTooLarge):
        require_fit(site(worker, base, Calibration(step=100.0)), base, ADAPTER)


def test_what_may_pass_keeps_no_job_out_for_good(base: BaseModel) -> None:
    """Head-room that an accident has raised, and doubt about jobs that nobody measured."""
    worker = make_worker()
    needed = least_bytes(worker, base)
    worker = replace(worker, budget_bytes=round(1.11 * needed))
    doubtful = Calibration(sigma=1.0, errors=PredictionErrors((0.9,) * 30, 30))
    require_fit(site(worker, base, doubtful), base, ADAPTER)
    tighter = replace(worker, budget_bytes=round(1.05 * needed))
    with pytest.raises(JobTooLarge):
        require_fit(site(tighter, base), base, ADAPTER)
    sure = Calibration(errors=PredictionErrors((0.03,) * 30, 30))
    require_fit(site(tighter, base, sure), base, ADAPTER)


def test_each_kind_of_device_has_its_own_head_room(base: BaseModel) -> None:
    """Where one kind is known well, that makes no room on another."""
    known = make_worker("known", budget_bytes=1000)
    unknown = make_worker("unknown", device_kind="other")
    unknown = replace(unknown, budget_bytes=round(1.05 * least_bytes(unknown, base)))
    sure = Calibration(errors=PredictionErrors((0.03,) * 30, 30))
    with pytest.raises(JobTooLarge):
        require_fit(replace(site(known, base, sure), workers=(known, unknown)), base, ADAPTER)
