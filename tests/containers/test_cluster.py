"""The cluster that docker-compose.yml describes, used by the stock client, and broken."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from compose_cluster import ROOT, ComposeCluster, eventually, run

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

OURS = ("api", "scheduler", "prepare", "worker")
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


def test_the_stock_client_trains_all_methods_and_talks_to_what_comes_of_it(
    cluster: ComposeCluster,
) -> None:
    file = upload(cluster)
    jobs = [start(cluster, file, adapter) for adapter in ("lora", "paca", "meft")]
    for job_id in jobs:
        job = succeed(cluster, job_id)
        answer = cluster.client.chat.completions.create(
            model=job.fine_tuned_model,
            messages=[{"role": "user", "content": "Where does a bee live?"}],
        )
        assert answer.choices[0].message.content
        (result,) = job.result_files
        assert b"train_loss" in cluster.client.files.content(result).content


@pytest.mark.parametrize("service", OURS)
def test_nothing_of_ours_is_root_or_can_change_its_image(
    cluster: ComposeCluster, service: str
) -> None:
    assert cluster.inside(service, "id", "-u").strip() == "10001"
    status = cluster.inside(service, "cat", "/proc/self/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(facts["CapEff"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    (container,) = cluster.containers(service)
    written = subprocess.run(
        ["docker", "exec", "--user", "0", container, "touch", "/usr/x"], capture_output=True
    )
    assert b"Read-only file system" in written.stderr


def test_every_service_says_that_it_is_well(cluster: ComposeCluster) -> None:
    def all_well() -> bool:
        ids = [each for service in cluster.services for each in cluster.containers(service)]
        found = [cluster.inspect(container) for container in ids]
        states.update({each["Name"]: each["State"]["Health"]["Status"] for each in found})
        return set(states.values()) == {"healthy"}

    states: dict[str, str] = {}
    eventually(all_well, 180, lambda: f"some do not get healthy: {states}")


def test_more_workers_share_the_work_and_prometheus_finds_them(cluster: ComposeCluster) -> None:
    cluster.up("--scale", "worker=2")
    eventually(lambda: len(workers(cluster)) == 2, 120, "the second worker did not come")
    first, second = workers(cluster)
    file = upload(cluster, "owl")
    for drained, trains in ((first, second), (second, first)):
        cluster.inside("api", "pando", "drain", drained)
        job_id = start(cluster, file)
        succeed(cluster, job_id)
        assert f"Training started on {trains}" in messages(cluster, job_id)
        cluster.inside("api", "pando", "drain", drained, "--undo")

    def targets() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        answer = httpx.get(f"{cluster.prometheus}/api/v1/targets?state=active").json()
        for target in answer["data"]["activeTargets"]:
            found.setdefault(target["labels"]["job"], []).append(target["health"])
        return found

    def all_up() -> bool:
        found = targets()
        return (
            found.get("api") == ["up"]
            and found.get("scheduler") == ["up"]
            and found.get("worker") == ["up", "up"]
        )

    eventually(all_up, 90, lambda: f"Prometheus does not read everyone: {targets()}")
    cluster.up("--scale", "worker=1")


@pytest.mark.parametrize("service", ["redis", "api", "scheduler", "worker"])
def test_a_job_outlives_the_crash_of(cluster: ComposeCluster, service: str) -> None:
    job_id = start(cluster, upload(cluster), epochs=6)
    wait_for_step(cluster, job_id, 10)
    cluster.crash(service)
    eventually(cluster.ready, 60, "the API did not come back")
    job = succeed(cluster, job_id)
    assert job.progress["step"] == job.progress["total_steps"]


def test_a_worker_that_is_stopped_leaves_its_job_where_it_was(cluster: ComposeCluster) -> None:
    job_id = start(cluster, upload(cluster), epochs=8)
    wait_for_step(cluster, job_id, 20)
    (container,) = cluster.containers("worker")
    cluster.compose("stop", "worker")
    assert cluster.inspect(container)["State"]["ExitCode"] == 0
    assert get(cluster, job_id).status == "queued"
    cluster.compose("start", "worker")
    succeed(cluster, job_id)
    resumed = [said for said in messages(cluster, job_id) if "Training resumed" in said]
    assert resumed
    assert int(resumed[0].split("from step ")[1].split()[0]) >= 20


def test_everything_is_there_again_after_down_and_up(cluster: ComposeCluster) -> None:
    file = upload(cluster, "butler")
    done = succeed(cluster, start(cluster, file))
    halfway = start(cluster, file, epochs=8)
    wait_for_step(cluster, halfway, 10)
    cluster.compose("down")
    cluster.up()
    client = cluster.client  # of the same key
    assert client.files.retrieve(file).filename == "butler.jsonl"
    assert client.fine_tuning.jobs.retrieve(done.id).status == "succeeded"
    assert client.models.retrieve(done.fine_tuned_model).id == done.fine_tuned_model
    said = client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "Who is there?"}]
    )
    assert said.choices[0].message.content
    succeed(cluster, halfway)


def test_the_files_for_development_and_other_machines_are_well_formed(
    cluster: ComposeCluster,
) -> None:
    base = ("-f", "docker-compose.yml")
    for extra in ("dev", "hub"):
        cluster.compose(*base, "-f", f"deploy/docker-compose.{extra}.yml", "config", "--quiet")
    cluster.variables["PANDO_REDIS_URL"] = "redis://:x@first:6379/0"
    cluster.compose("-f", "deploy/docker-compose.worker.yml", "config", "--quiet")


def test_a_worker_of_another_machine_joins_by_one_command(cluster: ComposeCluster) -> None:
    """Of another network here: it reaches Redis by the address that the hub's file opens."""
    port = cluster.variables.setdefault("PANDO_REDIS_PORT", "16399")
    hub = ("-f", "docker-compose.yml", "-f", "deploy/docker-compose.hub.yml")
    cluster.variables["PANDO_REDIS_BIND"] = "127.0.0.1"
    cluster.compose(*hub, "up", "--detach", "redis")
    password = cluster.variables["PANDO_REDIS_PASSWORD"]
    storage = f"{cluster.project}_storage"
    far = ComposeCluster(
        ("worker",),
        variables={
            "PANDO_REDIS_URL": f"redis://:{password}@127.0.0.1:{port}/0",
            "PANDO_METRICS_PORT": "19177",
            "PANDO_STORAGE_DIR": run(
                ["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", storage]
            ).strip(),
        },
    )
    join = ("-f", "deploy/docker-compose.worker.yml")
    before = set(workers(cluster))
    try:
        far.compose(*join, "up", "--detach", "worker")
        eventually(lambda: set(workers(cluster)) - before, 120, "the far worker did not join")
        (joined,) = set(workers(cluster)) - before
        for here in before:
            cluster.inside("api", "pando", "drain", here)
        job_id = start(cluster, upload(cluster, "json"))
        succeed(cluster, job_id)
        assert f"Training started on {joined}" in messages(cluster, job_id)
    finally:
        far.compose(*join, "down", "--volumes")
        for here in before:
            cluster.inside("api", "pando", "drain", here, "--undo")


def test_for_development_the_containers_run_this_checkout(cluster: ComposeCluster) -> None:
    cluster.variables.setdefault("PANDO_REDIS_PORT", "16399")
    development = ("-f", "docker-compose.yml", "-f", "deploy/docker-compose.dev.yml")
    cluster.compose(*development, "up", "--detach", "api")
    eventually(cluster.ready, 60, "the API is not ready")
    where = cluster.inside("api", "python", "-c", "import pando_api; print(pando_api.__file__)")
    assert where.startswith("/src/services/api/")


def test_a_backup_restores_everything_on_an_empty_machine(
    cluster: ComposeCluster, tmp_path: Path
) -> None:
    """By the commands of docs/containers.md."""
    cluster.up()
    file = upload(cluster, "owl")
    done = succeed(cluster, start(cluster, file))
    halfway = start(cluster, file, epochs=8)
    wait_for_step(cluster, halfway, 10)
    (api,) = cluster.containers("api")
    folder = ("--gzip", "--directory", "/var/lib/pando")
    backup = tmp_path / "pando.tar.gz"
    with backup.open("wb") as stream:
        save = ["docker", "exec", api, "tar", "--create", *folder, "storage"]
        # 1: a file changed while it was read, as files of jobs that train do.
        assert subprocess.run(save, stdout=stream, check=False).returncode in (0, 1)
    cluster.compose("down", "--volumes")
    cluster.compose("up", "--detach", "redis", "api")
    eventually(cluster.ready, 60, "the API is not ready")
    (api,) = cluster.containers("api")
    with backup.open("rb") as stream:
        restore = ["docker", "exec", "--interactive", api, "tar", "--extract", *folder]
        subprocess.run(restore, stdin=stream, check=True)
    cluster.inside("api", "pando", "recover")
    cluster.up()
    client = cluster.client  # of the key that was in the backup
    assert client.fine_tuning.jobs.retrieve(done.id).status == "succeeded"
    said = client.completions.create(model=done.fine_tuned_model, prompt="Who", max_tokens=4)
    assert said.choices[0].text
    succeed(cluster, halfway)
