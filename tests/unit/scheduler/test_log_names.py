"""What the scheduler logs of a decision names the worker, the round and the job it is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from log_lines import Lines, json_log
from scheduling import SchedulerBench

from pando_shared.jobs import Job, JobState


@pytest.fixture
def lines() -> Iterator[Lines]:
    with json_log("scheduler", "pando_scheduler") as found:
        yield found


def test_a_round_is_named_with_its_worker(bench: SchedulerBench, lines: Lines) -> None:
    bench.worker("w1")
    bench.job()
    bench.tick()
    (planned,) = bench.planned()
    (line,) = [line for line in lines() if "round_id" in line]
    assert (line["round_id"], line["worker_id"]) == (planned.id, "w1")
    assert line["message"] == f"round {planned.id} has 1 jobs"


def test_a_lost_job_is_named(bench: SchedulerBench, lines: Lines) -> None:
    bench.worker("w1")
    job = bench.job()
    bench.tick()
    bench.clock.advance(3600)
    bench.tick()
    requeued = [line for line in lines() if line["message"].startswith("Requeue(")]
    assert [line["job_id"] for line in requeued] == [job.id]


def test_a_job_that_was_overtaken_is_named(
    bench: SchedulerBench, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.worker("w1")
    job = bench.job()
    get, cancelled = bench.store.get_job, []

    def cancel_first(job_id: str) -> Job:
        if not cancelled:
            cancelled.append(job_id)
            bench.store.update_job(job_id, lambda job: replace(job.to(JobState.CANCELLED)))
        return get(job_id)

    monkeypatch.setattr(bench.store, "get_job", cancel_first)
    bench.tick()
    (line,) = [line for line in lines() if line["message"].startswith("not placed")]
    assert (line["job_id"], line["worker_id"]) == (job.id, "w1")
