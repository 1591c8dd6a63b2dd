"""However often a job is interrupted, it ends as if it had never been."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from local_stack import LocalStack, eventually
from stack_jobs import StackJobs, Weights, relative_difference, same_bits

pytestmark = pytest.mark.e2e

#: A quarter of a minute on one core. The dropout makes any step that is done again show.
LONG: dict[str, Any] = {
    "adapter": {"type": "lora", "rank": 8, "dropout": 0.1},
    "batch_size": 32,
    "max_steps": 80,
    "n_epochs": 100,
    "learning_rate": 1e-4,
    "seed": 7,
}


@pytest.fixture(scope="module")
def undisturbed(jobs: StackJobs) -> str:
    """The id of a job that nothing interrupted."""
    job_id = jobs.start("tiny", **LONG)
    jobs.succeed(job_id)
    return job_id


def kill_child(stack: LocalStack) -> bool:
    child = stack.training_child()
    if child is None:
        return False
    child.kill()
    return True


def kill_worker(stack: LocalStack) -> bool:
    """Parent and child at once, as when the machine goes."""
    worker, child = stack.training_worker(), stack.training_child()
    if worker is None:
        return False
    worker.suspend()  # or it would see its child die
    for process in filter(None, (child, worker)):
        process.kill()
    return True


KILLS = (kill_child, kill_child, kill_worker)


def test_ten_kills_at_random_moments(quick: LocalStack, jobs: StackJobs, undisturbed: str) -> None:
    """Seven in the first half of its training, three while it comes back from the kill before."""
    rng = random.Random(20)
    moments = sorted(rng.sample(range(1, LONG["max_steps"] // 2), 7))
    job_id = jobs.start("tiny", **LONG)
    for number, step in enumerate(moments):
        jobs.wait_for_step(job_id, step)
        time.sleep(rng.uniform(0.0, 0.5))
        assert eventually(lambda: rng.choice(KILLS)(quick))
        if number % 2:
            time.sleep(rng.uniform(0.0, 2.5))
            assert eventually(lambda: rng.choice(KILLS)(quick))
    jobs.succeed(job_id)
    assert same_bits(jobs.weights(job_id), jobs.weights(undisturbed))


def test_pauses_leave_no_trace(jobs: StackJobs, undisturbed: str) -> None:
    job_id = jobs.start("tiny", **LONG)
    for _ in range(4):
        step = jobs.step(job_id)
        jobs.wait_for_step(job_id, step + 5)
        assert jobs.client.fine_tuning.jobs.pause(job_id).status == "paused"
        assert jobs.client.fine_tuning.jobs.resume(job_id).status in ("queued", "running")
    jobs.succeed(job_id)
    assert same_bits(jobs.weights(job_id), jobs.weights(undisturbed))


def test_neighbours_that_come_and_go_leave_hardly_a_trace(
    jobs: StackJobs, undisturbed: str
) -> None:
    """What remains is the rounding of sums that are added up in another order."""
    job_id = jobs.start("tiny", **LONG)
    jobs.wait_for_step(job_id, 3)
    ends = jobs.start("tiny", adapter={"type": "paca", "rank": 4}, max_steps=30)
    jobs.wait_for_step(ends, 2)
    cancelled = jobs.start("tiny", adapter={"type": "meft", "num_keys": 64}, n_epochs=1000)
    jobs.wait_for_step(cancelled, 2)
    jobs.client.fine_tuning.jobs.pause(job_id)
    jobs.succeed(ends)
    jobs.client.fine_tuning.jobs.resume(job_id)
    jobs.wait_for_step(job_id, jobs.step(job_id) + 3)
    jobs.client.fine_tuning.jobs.cancel(cancelled)
    fails = jobs.start("tiny", learning_rate=1e30, n_epochs=1000)
    jobs.succeed(job_id)
    assert jobs.get(fails).status == "failed"
    losses = jobs.losses(job_id)
    assert losses == pytest.approx(jobs.losses(undisturbed), rel=1e-5)
    assert len(losses) == LONG["max_steps"]
    ours, theirs = trained_from_zero(jobs, job_id), trained_from_zero(jobs, undisturbed)
    assert relative_difference(theirs, ours) <= 1e-5


def trained_from_zero(jobs: StackJobs, job_id: str) -> Weights:
    """LoRA's B, all of it training's; A would hide a difference behind its first values."""
    return {name: t for name, t in jobs.weights(job_id).items() if "lora_B" in name}
