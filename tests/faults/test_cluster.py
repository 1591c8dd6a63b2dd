"""One fault at a time, on a whole cluster: what its users see meanwhile, and what comes of a job
that trains as it comes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from local_stack import eventually

from chaos import faults
from chaos.cluster import LEASE_SECONDS, Cluster
from chaos.duplicates import sending_twice
from chaos.faults import Make
from chaos.twins import TOLERANCE, difference, trained
from chaos.verdict import wrong_steps
from chaos.workload import RECIPES, Submitted, Tenants

pytestmark = pytest.mark.e2e

RECIPE = "lora-100x8"
JOBS = "/v1/fine_tuning/jobs"


class Caller:
    """A tenant of the cluster."""

    def __init__(self, tenants: Tenants, tenant: str = "acme"):
        self.tenants, self.tenant = tenants, tenant
        self._url, self._headers = tenants.cluster.url, tenants.headers(tenant)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self._url + path, headers=self._headers, timeout=30.0)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(self._url + path, headers=self._headers, timeout=30.0, **body)

    def start(self) -> Submitted:
        made = self.tenants.submit(self.tenant, RECIPE, f"{time.monotonic()}")
        assert made is not None
        return made

    def job(self, job: Submitted) -> dict[str, Any]:
        """Empty while the API does not know it, or does not answer."""
        try:
            answer = self.get(f"{JOBS}/{job.id}")
        except httpx.HTTPError:
            return {}
        return answer.json() if answer.status_code == 200 else {}

    def reaches(self, job: Submitted, step: int, seconds: float = 30.0) -> bool:
        return eventually(lambda: self.job(job).get("progress", {}).get("step", 0) >= step, seconds)

    def succeeds(self, job: Submitted, seconds: float = 60.0) -> bool:
        return eventually(lambda: self.job(job).get("status") == "succeeded", seconds)

    def results(self, job: Submitted) -> str:
        (file_id,) = self.job(job)["result_files"]
        return self.get(f"/v1/files/{file_id}/content").text


@pytest.fixture(scope="module")
def caller(tenants: Tenants) -> Caller:
    return Caller(tenants)


@pytest.fixture(scope="module")
def twin(caller: Caller) -> Submitted:
    """A job of the recipe that nothing disturbed."""
    job = caller.start()
    assert caller.succeeds(job)
    return job


SURVIVED: dict[str, Make] = {
    "redis restarts": faults.restart_redis,
    "redis fails over": faults.fail_over,
    "redis loses everything": faults.flush,
    "a worker is partitioned for longer than its lease": faults.partition,
    "the clock of a worker jumps": faults.skew_clock,
    "all queued messages are lost": faults.lose_messages,
    "rounds arrive twice": faults.repeat_messages,
    "the newest checkpoint is damaged": faults.damage_checkpoint,
}


@pytest.mark.parametrize("make", SURVIVED.values(), ids=SURVIVED)
def test_a_job_ends_as_if_nothing_had_been(
    cluster: Cluster, caller: Caller, twin: Submitted, rng: random.Random, make: Make
) -> None:
    job = caller.start()
    assert caller.reaches(job, 15)
    fault = make(cluster, rng)
    with fault.broken:
        time.sleep(fault.seconds)
    assert caller.succeeds(job)
    events = caller.get(f"{JOBS}/{job.id}/events?limit=100").json()["data"]
    ends = [event for event in events if event["message"].endswith("successfully completed")]
    assert len(ends) == 1
    assert wrong_steps(caller.results(job), RECIPES[RECIPE]["max_steps"]) is None
    apart = difference(trained(cluster.storage, job.id), trained(cluster.storage, twin.id))
    assert apart <= TOLERANCE


def refused_job(caller: Caller) -> httpx.Response:
    body = {**RECIPES[RECIPE], "training_file": caller.tenants.files[caller.tenant]}
    return caller.post(JOBS, json=body)


def refused_file(caller: Caller) -> httpx.Response:
    files = {"file": ("a.jsonl", b'{"text": "one"}\n' * 1000)}
    return caller.post("/v1/files", files=files, data={"purpose": "fine-tune"})


REFUSED: dict[str, tuple[Make, int, str, tuple[Callable[[Caller], httpx.Response], ...]]] = {
    "redis is full": (
        faults.fill_redis,
        503,
        "memory is full; raise its maxmemory",
        (refused_job,),
    ),
    "the disk is full": (faults.fill_disk, 507, "storage is full", (refused_job, refused_file)),
    "the disk is read-only": (
        faults.make_disk_read_only,
        503,
        "Read-only file system",
        (refused_job, refused_file),
    ),
}


@pytest.mark.parametrize(("make", "status", "says", "asks"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_and_training_goes_on(
    cluster: Cluster,
    caller: Caller,
    twin: Submitted,
    rng: random.Random,
    make: Make,
    status: int,
    says: str,
    asks: tuple[Callable[[Caller], httpx.Response], ...],
) -> None:
    if cluster.disk is None and make is not faults.fill_redis:
        pytest.skip("mounting a disk needs root")
    job = caller.start()
    assert caller.reaches(job, 15)
    before = {each["id"] for each in caller.get(f"{JOBS}?limit=1000").json()["data"]}
    with make(cluster, rng).broken:
        for ask in asks:
            answer = ask(caller)
            assert answer.status_code == status, answer.text
            assert says in answer.json()["error"]["message"]
        assert caller.job(job)["status"] in ("running", "queued")
        time.sleep(LEASE_SECONDS + 1)
    assert caller.succeeds(job)
    assert {each["id"] for each in caller.get(f"{JOBS}?limit=1000").json()["data"]} == before
    apart = difference(trained(cluster.storage, job.id), trained(cluster.storage, twin.id))
    assert apart <= TOLERANCE


def test_every_message_twice_from_the_first_to_the_last(
    cluster: Cluster, caller: Caller, twin: Submitted
) -> None:
    with sending_twice(cluster):
        job = caller.start()
        assert caller.succeeds(job)
    apart = difference(trained(cluster.storage, job.id), trained(cluster.storage, twin.id))
    assert apart <= TOLERANCE
