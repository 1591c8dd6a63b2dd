"""Jobs on a cluster in containers, as its users start and watch them."""

from __future__ import annotations

import time
from typing import Any

import httpx
from compose_cluster import ROOT, ComposeCluster, eventually

ENDED = ("succeeded", "failed", "cancelled")
#: Longer than any job here takes beside another on two busy cores.
PATIENCE_SECONDS = 300.0


def upload(cluster: ComposeCluster, name: str = "pirate") -> str:
    path = ROOT / "examples" / "demo" / f"{name}.jsonl"
    return cluster.client.files.create(file=path, purpose="fine-tune").id


def start(cluster: ComposeCluster, file: str, adapter: str = "lora", epochs: int = 1) -> str:
    hyperparameters: Any = {"n_epochs": epochs, "batch_size": 8}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    job = cluster.client.fine_tuning.jobs.create(
        model="tiny", training_file=file, method=method, extra_body={"adapter": {"type": adapter}}
    )
    return job.id


def get(cluster: ComposeCluster, job_id: str) -> Any:
    return cluster.client.fine_tuning.jobs.retrieve(job_id)


def succeed(cluster: ComposeCluster, job_id: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (job := get(cluster, job_id)).status != "succeeded":
        assert job.status not in ENDED, f"{job_id} ended as {job.status}: {job.error}"
        assert time.monotonic() < deadline, f"{job_id} is still {job.status}: {job}"
        time.sleep(0.5)
    return job


def wait_for_step(cluster: ComposeCluster, job_id: str, step: int) -> None:
    def reached() -> bool:
        job = get(cluster, job_id)
        assert job.status not in ENDED, f"{job_id} ended before it could be disturbed: {job}"
        return bool(job.progress["step"] >= step)

    eventually(reached, PATIENCE_SECONDS, f"{job_id} did not get to step {step}")


def messages(cluster: ComposeCluster, job_id: str) -> list[str]:
    """What the job's events say, oldest first."""
    events = cluster.client.fine_tuning.jobs.list_events(job_id, limit=100)
    return [event.message for event in events][::-1]


def workers(cluster: ComposeCluster) -> list[str]:
    """Ids of those that are alive."""
    headers = {"Authorization": f"Bearer {cluster.api_key}"}
    found = httpx.get(f"{cluster.url}/v1/workers", headers=headers).json()["data"]
    return [worker["id"] for worker in found if worker["alive"]]
