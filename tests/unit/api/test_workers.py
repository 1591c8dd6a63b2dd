"""/v1/workers: who is alive, and how much each holds."""

from __future__ import annotations

from factories import make_worker
from starlette.testclient import TestClient

from pando_shared.clock import FakeClock
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
