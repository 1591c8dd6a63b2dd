"""A worker whose container may use less memory than it counts on: what the kernel's OOM killer
then does to its jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_cluster import ROOT, ComposeCluster, eventually

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

#: Three hundred more than a worker takes for the base and some small jobs.
LIMIT = "900m"
#: What it believes to have, so that it admits what cannot fit.
BELIEVED_BYTES = 8 << 30
#: Gigabytes of keys, values and moments.
HOG = {"type": "meft", "num_keys": 1 << 18}
PATIENCE_SECONDS = 600.0


def limits_are_enforced(image: str) -> bool:
    hog = ["docker", "run", "--rm", "--memory", "64m", "--memory-swap", "64m", image]
    done = subprocess.run(
        [*hog, "python", "-c", "b'x' * (1 << 28)"], capture_output=True, check=False
    )
    return done.returncode == 137


@pytest.fixture(scope="module")
def cluster(
    images: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ComposeCluster]:
    if not limits_are_enforced(images[-1]):
        pytest.skip("this Docker engine does not enforce limits of memory")
    worker = {
        "mem_limit": LIMIT,
        "memswap_limit": LIMIT,
        "environment": {"PANDO_MEMORY_BYTES": str(BELIEVED_BYTES)},
    }
    override = tmp_path_factory.mktemp("limited") / "limited.yml"
    override.write_text(yaml.safe_dump({"services": {"worker": worker}}))
    files = f"{ROOT / 'docker-compose.yml'}:{override}"
    services = ("redis", "api", "scheduler", "prepare", "worker")
    with ComposeCluster(services, variables={"COMPOSE_FILE": files}).running() as made:
        yield made


def start(cluster: ComposeCluster, adapter: dict[str, Any], steps: int) -> str:
    path = Path(ROOT / "examples" / "demo" / "pirate.jsonl")
    file = cluster.client.files.create(file=path, purpose="fine-tune")
    knobs = {"n_epochs": 100, "batch_size": 4, "max_steps": steps}
    body = {"adapter": adapter, "hyperparameters": knobs}
    return cluster.client.fine_tuning.jobs.create(
        model="tiny", training_file=file.id, extra_body=body
    ).id


def test_the_job_that_takes_too_much_fails_and_says_memory_and_the_others_succeed(
    cluster: ComposeCluster,
) -> None:
    def get(job_id: str) -> Any:
        return cluster.client.fine_tuning.jobs.retrieve(job_id)

    def ended() -> bool:
        return all(get(job).status in ("succeeded", "failed") for job in (hog, *others))

    (container,) = cluster.containers("worker")
    others = [start(cluster, {"type": kind}, 60) for kind in ("lora", "paca")]
    hog = start(cluster, HOG, 20)
    eventually(ended, PATIENCE_SECONDS, lambda: f"not all have ended: {get(hog)}")
    assert [get(job).status for job in others] == ["succeeded", "succeeded"]
    failed = get(hog)
    assert (failed.status, failed.error.code) == ("failed", "worker_lost")
    assert "the kernel killed its process because memory ran out" in failed.error.message
    events = cluster.client.fine_tuning.jobs.list_events(hog, limit=100)
    retried = [event for event in events if "Queued again" in event.message]
    assert len(retried) == 2
    assert cluster.containers("worker") == [container]
    assert cluster.inspect(container)["State"]["Running"]
    log = cluster.compose("logs", "worker")
    assert log.count("the kernel killed the process before this one") >= 3
    after = start(cluster, {"type": "lora"}, 10)
    eventually(lambda: get(after).status == "succeeded", PATIENCE_SECONDS, lambda: str(get(after)))
