"""Redis loses everything; storage gives it back: no job is lost, none runs twice."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import openai
import pytest
from local_stack import LocalStack, eventually
from stack_jobs import COMPLETED, StackJobs, same_bits

pytestmark = pytest.mark.e2e

SPEC: dict[str, Any] = {
    "adapter": {"type": "lora", "rank": 4, "dropout": 0.1},
    "batch_size": 32,
    "max_steps": 20,
    "n_epochs": 100,
}


@pytest.fixture(scope="module")
def finished(jobs: StackJobs) -> str:
    """The id of a job of `SPEC` that nothing disturbed."""
    job_id = jobs.start("tiny", **SPEC)
    jobs.succeed(job_id)
    return job_id


def by_itself(stack: LocalStack) -> None:
    """The scheduler notices that Redis has forgotten what it had told."""


def by_command(stack: LocalStack) -> None:
    done = stack.pando("recover", "--json")
    assert done.code == 0, done.out + done.err
    assert done.json["unreadable"] == []


def by_restart_of_the_scheduler(stack: LocalStack) -> None:
    scheduler = stack.service("pando-scheduler")
    assert scheduler is not None
    scheduler.kill()


@pytest.mark.parametrize("recover", [by_itself, by_command, by_restart_of_the_scheduler])
def test_everything_comes_back(
    quick: LocalStack, jobs: StackJobs, finished: str, recover: Callable[[LocalStack], None]
) -> None:
    made = quick.pando("keys", "create", "--tenant", "acme", "--json").json
    theirs = quick.client(made["key"])
    cancelled = jobs.start("tiny", **SPEC)
    jobs.client.fine_tuning.jobs.cancel(cancelled)
    paused = jobs.start("tiny", **SPEC)
    jobs.wait_for_step(paused, 2)
    jobs.client.fine_tuning.jobs.pause(paused)
    running = jobs.start("tiny", **SPEC)
    queued = jobs.start("twin", **SPEC)
    jobs.wait_for_step(running, 2)
    assert jobs.get(queued).status == "queued"
    before = statuses(jobs.client)
    files = [file.id for file in jobs.client.files.list()]

    quick.lose_redis()
    recover(quick)

    assert eventually(lambda: statuses(jobs.client).keys() == before.keys())
    after = statuses(jobs.client)
    still = before.keys() - {running, queued}
    assert {i: after[i] for i in still} == {i: before[i] for i in still}
    assert list(theirs.fine_tuning.jobs.list()) == []  # their key is valid, and shows them no more
    assert [file.id for file in jobs.client.files.list()] == files
    jobs.succeed(running)
    jobs.succeed(queued)
    jobs.client.fine_tuning.jobs.resume(paused)
    jobs.succeed(paused)

    models = [model.id for model in jobs.client.models.list()]
    for job_id in (running, queued, paused):
        assert jobs.messages(job_id).count(COMPLETED) == 1
        assert models.count(str(jobs.get(job_id).fine_tuned_model)) == 1
        assert same_bits(jobs.weights(job_id), jobs.weights(finished))
    assert jobs.get(finished).fine_tuned_model in models
    assert jobs.get(cancelled).status == "cancelled"


def statuses(client: openai.OpenAI) -> dict[str, str]:
    """Of all jobs; of none while the key is not known."""
    with suppress(openai.AuthenticationError):
        return {job.id: job.status for job in client.fine_tuning.jobs.list(limit=100)}
    return {}
