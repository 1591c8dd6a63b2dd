"""/v1/workers: who is alive, and how much each holds."""

from __future__ import annotations

from dataclasses import replace

from factories import make_worker
from starlette.testclient import TestClient

from pando_shared.calibration import Calibration, calibration_key
from pando_shared.clock import FakeClock
from pando_shared.codec import encode
from pando_shared.prediction_errors import PredictionErrors
from pando_shared.speed import assumed_speed, speed_key
from pando_shared.store.stub import StubStore
from pando_shared.workers import Assignment, Round


def test_workers_are_listed_with_what_they_hold(
    client: TestClient, store: StubStore, clock: FakeClock
) -> None:
    store.put_worker(make_worker("alive", heartbeat_at=clock.now(), tokens_per_second=9.5))
    store.put_worker(make_worker("dead", heartbeat_at=clock.now() - 60))
    seats = (Assignment("ftjob-1", 1), Assignment("ftjob-2", 1))
    for number, held in enumerate((seats, seats[:1])):
        store.plan_round(
            Round(f"r{number}", "alive", "alive-first", "tiny", held, 20.0, 0, clock.now())
        )
    alive, dead = client.get("/v1/workers").json()["data"]
    assert (alive["id"], alive["alive"], alive["jobs"]) == ("alive", True, 2)
    assert (alive["tokens_per_second"], alive["models"]) == (9.5, ["tiny"])
    assert (dead["id"], dead["alive"], dead["jobs"]) == ("dead", False, 0)
    assert "ftjob" not in client.get("/v1/workers").text


def test_a_gpu_worker_says_what_it_may_use_of_its_host(
    client: TestClient, store: StubStore
) -> None:
    store.put_worker(make_worker("cpu"))
    gpu = make_worker("gpu", device="cuda:0", host_budget_bytes=1 << 36, rows_on_disk=True)
    store.put_worker(gpu)
    told = client.get("/v1/workers").json()["data"]
    assert [(w["host_budget_bytes"], w["rows_on_disk"]) for w in told] == [
        (None, False),
        (1 << 36, True),
    ]


def test_a_worker_says_how_good_predictions_are_on_its_base(
    client: TestClient, store: StubStore
) -> None:
    kind = "NVIDIA H100"
    for name, base in (("other", "other"), ("tiny", "tiny"), ("empty", None)):
        store.put_worker(make_worker(name, device_kind=kind, base_model=base))
    store.set_draining("other", 5.0)
    errors = PredictionErrors((0.3, -0.1, 0.2), rounds=7)
    learnt = Calibration(errors=errors)
    store.put_learnt(calibration_key("tiny", kind), encode(learnt).decode())
    speed = replace(assumed_speed("cuda:0"), errors=PredictionErrors((-0.5,), 1))
    store.put_learnt(speed_key("tiny", kind), encode(speed).decode())
    told = {w["id"]: w for w in client.get("/v1/workers").json()["data"]}
    assert told["tiny"]["device_kind"] == kind
    assert told["tiny"]["prediction"] == {
        "rounds": 7,
        "memory_error_p50": 0.2,
        "memory_error_p99": 0.3,
        "headroom": 0.3,  # three rounds do not bring it below where it starts
        "speed_error_p50": 0.5,
    }
    assert told["other"]["prediction"] is None
    assert told["empty"]["prediction"] is None
    assert [told[name]["draining"] for name in ("other", "tiny")] == [True, False]
