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
