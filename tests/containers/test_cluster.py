"""The cluster that docker-compose.yml describes, used by the stock client, and broken."""

from __future__ import annotations

import subprocess

import httpx
import pytest
from compose_cluster import ComposeCluster, eventually, run
from compose_jobs import get, messages, start, succeed, upload, wait_for_step, workers

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1500)]

OURS = ("api", "scheduler", "prepare", "worker")


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
            and found.get("prepare") == ["up"]
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
