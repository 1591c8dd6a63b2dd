"""What a job is told while it waits, by hand: a base takes 10 GiB, a LoRA job its rank in GiB."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pictures import NOW, POLICY, ByHand, cluster_of, job_view, worker_view

from pando_scheduler.cluster import Cluster
from pando_scheduler.explain import Explainer
from pando_scheduler.picture import JobView, Reservation, WorkerView
from pando_shared.policy import TenantPolicy


def told(cluster: Cluster, job: JobView) -> str:
    """Why the job waits, its place in line aside."""
    return Explainer(cluster, NOW).reason(job, None, None)


def why(job: JobView, *others: WorkerView | JobView, predict: ByHand | None = None) -> str:
    return told(cluster_of(job, *others, predict=predict), job)


def test_there_is_no_worker() -> None:
    assert why(job_view()) == "no worker is alive"


def test_nobody_offers_the_base() -> None:
    workers = [worker_view(f"w{i}", bases=("llama", "qwen")) for i in range(1, 6)]
    assert why(job_view(base_model="rare"), *workers) == (
        "no live worker offers base model 'rare': w1 offers llama, qwen; w2 offers llama, qwen; "
        "w3 offers llama, qwen; 2 more do not either"
    )


def test_every_worker_is_being_drained() -> None:
    workers = [worker_view(f"w{i}", draining=True) for i in (1, 2)]
    other = worker_view("w3", bases=("llama",))
    assert why(job_view(), *workers, other) == (
        "every worker that offers base model 'tiny' is being drained: w1, w2"
    )


def test_the_scheduler_does_not_know_the_base() -> None:
    assert why(job_view(base_model="unknown"), worker_view()) == (
        "base model 'unknown' is not configured at the scheduler"
    )


def test_no_worker_is_large_enough() -> None:
    # 10 + 15 on the larger; of two that are too small the closer one is spoken of.
    small, large = worker_view("w1", gib=12), worker_view("w2", gib=24)
    assert why(job_view(15), small, large) == (
        "needs 25.0 GiB of GPU memory with head-room, the largest worker has 24.0 GiB"
    )


def test_no_host_is_large_enough() -> None:
    # 10 + 1 on the GPU, 2 + 40 on the host.
    roomy = worker_view(host_gib=32)
    assert why(job_view(keys=40), roomy) == (
        "needs 42.0 GiB of host memory with head-room, the largest worker has 32.0 GiB"
    )
    tight = worker_view(gib=8, host_gib=32)
    assert why(job_view(keys=40), tight) == (
        "needs 11.0 GiB of GPU memory and 42.0 GiB of host memory with head-room, the largest "
        "worker has 8.0 GiB and 32.0 GiB"
    )


def test_a_cpu_has_one_memory() -> None:
    assert why(job_view(15), worker_view(device="cpu")) == (
        "needs 25.0 GiB of memory with head-room, the largest worker has 24.0 GiB"
    )


def test_waits_for_memory_beside_others() -> None:
    # 10 + 4 + 5 of 24 are taken.
    others = job_view(4, on="w1"), job_view(5, on="w1")
    assert why(job_view(6), worker_view(), *others) == (
        "needs 6.0 GiB of GPU memory with head-room, beside the 2 jobs in training on worker w1 "
        "there is 5.0 GiB"
    )


def test_waits_for_a_hosts_memory_beside_others() -> None:
    other = job_view(keys=20, on="w1")
    assert why(job_view(keys=12), worker_view(host_gib=32), other) == (
        "needs 12.0 GiB of host memory with head-room, beside the 1 job in training on worker w1 "
        "there is 10.0 GiB"
    )


def test_the_free_worker_is_too_small() -> None:
    small, large = worker_view("w1", gib=12), worker_view("w2", gib=80)
    other = job_view(60, on="w2", base_model="llama")
    assert why(job_view(4), small, large, other) == (
        "needs 14.0 GiB of GPU memory with head-room, the largest free worker has 12.0 GiB"
    )


def test_workers_train_another_base() -> None:
    workers = [worker_view(f"w{i}") for i in (1, 2)]
    others = job_view(on="w1", base_model="llama"), job_view(on="w2", base_model="qwen")
    assert why(job_view(), *workers, *others) == (
        "waits for a worker: on 2 workers that could take it 'llama', 'qwen' is trained now"
    )


def test_workers_are_busy() -> None:
    # 5 · 0.5 = 2.5 times as long, where the class bears 2.
    others = [job_view(on="w1") for _ in range(4)]
    assert why(job_view(), worker_view(), *others) == (
        "each worker is as busy as it can be: 5 jobs on worker w1 would take 2.50 times as long as "
        "each alone, and 2 times is allowed"
    )


def test_a_further_job_adds_nothing() -> None:
    # One job alone keeps the worker busy: two give 2 / 2 - 1 = 0.
    others = [job_view(on="w1")]
    assert why(job_view(), worker_view(), *others, predict=ByHand(alone=1.0)) == (
        "each worker is as busy as it can be: beside the 1 job on worker w1 it would add too little"
    )


def test_the_job_there_must_be_alone() -> None:
    other = job_view(on="w1", alone=True)
    assert why(job_view(), worker_view(), other) == (
        "each worker is as busy as it can be: the job on worker w1 must train alone"
    )


def test_its_tenant_is_at_its_limit() -> None:
    policy = replace(POLICY, tenants={"acme": TenantPolicy(limit=0.5)})
    job = job_view()
    cluster = cluster_of(
        worker_view(), worker_view("w2"), job, job_view(12, on="w1"), policy=policy
    )
    # 12 of the 24 GiB and 0.5 of the tokens.
    assert told(cluster, job) == (
        "its tenant has 0.50 workers, with it 1.00, and may have 0.5 at once"
    )


def test_the_worker_is_reserved_for_another() -> None:
    starved, job = job_view(12, waited=1e5), job_view(1)
    cluster = cluster_of(worker_view(), job_view(5, on="w1"), starved, job)
    cluster.reservations[starved.id] = Reservation(starved.id, "w1", NOW + 100)
    assert told(cluster, job) == (
        "worker w1, which has room for it, is reserved for a job that has waited too long"
    )
    assert starved.id not in told(cluster, job)


def test_it_has_a_reservation_itself() -> None:
    starved = job_view(12, waited=1e5)
    cluster = cluster_of(worker_view(), job_view(5, on="w1"), starved)
    cluster.reservations[starved.id] = Reservation(starved.id, "w1", NOW + 900)
    assert told(cluster, starved) == (
        "worker w1 is reserved for it and is emptied in about 15 min at the latest"
    )
    cluster.reservations[starved.id] = Reservation(starved.id, "w1", NOW - 1)
    assert told(cluster, starved) == "worker w1 is reserved for it and is being emptied"


def test_its_checkpoint_is_being_written() -> None:
    job = job_view(on="w1", running=False)
    assert why(job, worker_view()) == "waits for worker w1 to save its checkpoint"


def test_its_sweep_holds_it() -> None:
    held = "waits for rung 1 of its sweep: 3 of 8 trials are there"
    job = job_view(held=held)
    assert Explainer(cluster_of(worker_view(), job), NOW).reason(job, None, None) == held


def test_it_trains_alone_since_its_worker_was_lost() -> None:
    other = job_view(on="w1")
    assert why(job_view(alone=True, avoids=("w9",)), worker_view(), other) == (
        "must train alone, since worker w9 was lost with it, and no worker with room for it is "
        "empty"
    )


def test_it_trains_alone_since_it_ran_out_of_memory() -> None:
    other = job_view(on="w1")
    assert why(job_view(alone=True, out_of_memory=1), worker_view(), other) == (
        "must train alone, since it ran out of memory beside others, and no worker with room for "
        "it is empty"
    )


def test_it_avoids_the_worker_that_was_lost_with_it() -> None:
    job = job_view(avoids=("w1",))
    busy = [job_view(on="w2") for _ in range(4)]
    assert why(job, worker_view("w1"), worker_view("w2"), *busy) == (
        "avoids worker w1, which was lost with it"
    )
    # The other one is too small for it.
    assert why(job_view(5, avoids=("w1",)), worker_view("w1"), worker_view("w2", gib=12)) == (
        "avoids w1, which was lost with it, and no other worker has room for it"
    )


def test_there_is_room_and_the_scheduler_has_yet_to_look() -> None:
    assert why(job_view(), worker_view()) == "worker w1 has room and takes it next"


@pytest.mark.parametrize(
    ("position", "seconds", "said"),
    [
        (1, None, "first in line"),
        (2, 30.0, "1 job ahead; starts within a minute"),
        (3, 14 * 60.0, "2 jobs ahead; starts in about 15 min"),
        (4, 100 * 60.0, "3 jobs ahead; starts in about 1.5 h"),
        (400, 9 * 3600.0, "390 jobs ahead; starts in about 9 h"),
        (400, 80 * 3600.0, "390 jobs ahead; starts in about 3 days"),
    ],
)
def test_who_is_ahead_and_when_it_starts(position: int, seconds: float | None, said: str) -> None:
    job = job_view(6)
    cluster = cluster_of(worker_view(), job_view(9, on="w1"), job)
    starts_at = None if seconds is None else NOW + seconds
    assert Explainer(cluster, NOW).reason(job, position, starts_at) == (
        "needs 6.0 GiB of GPU memory with head-room, beside the 1 job in training on worker w1 "
        f"there is 5.0 GiB; {said}"
    )


def test_what_waiting_does_not_mend_has_no_place_in_line() -> None:
    job = job_view(15)
    cluster = cluster_of(worker_view(), job)
    assert Explainer(cluster, NOW).reason(job, 3, NOW + 60) == told(cluster, job)


def test_figures_are_told_apart() -> None:
    job = job_view(14)
    worker = worker_view(gib=24)
    almost = ByHand()
    almost.needs = lambda w, b, f: type(ByHand.needs(almost, w, b, f))(
        24 * (1 << 30) + (1 << 24), 0
    )  # type: ignore[method-assign]
    assert why(job, worker, predict=almost) == (
        "needs 24.02 GiB of GPU memory with head-room, the largest worker has 24.00 GiB"
    )
