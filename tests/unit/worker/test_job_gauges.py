"""A job's series are there while it is on the worker, and gone when it leaves."""

from __future__ import annotations

from factories import make_job
from prometheus_client import CollectorRegistry, generate_latest

from pando_shared.jobs import Progress
from pando_worker.job_gauges import JobGauges


def test_a_jobs_series_come_and_go_with_it() -> None:
    registry = CollectorRegistry()
    gauges = JobGauges(registry)
    job = make_job(tenant="acme")
    gauges.enter(job.id, job.spec, Progress(total_steps=10), 4096)
    gauges.update(job.id, Progress(step=3, total_steps=10, train_loss=0.5, valid_loss=0.75))
    text = generate_latest(registry).decode()
    assert f'pando_job_loss{{job_id="{job.id}",split="train"}} 0.5' in text
    assert f'pando_job_loss{{job_id="{job.id}",split="valid"}} 0.75' in text
    assert f'pando_job_step{{job_id="{job.id}"}} 3.0' in text
    assert f'pando_job_adapter_bytes{{job_id="{job.id}"}} 4096.0' in text
    assert f'pando_job_info{{base_model="tiny",job_id="{job.id}",method="lora"' in text
    gauges.drop(job.id)
    gauges.drop(job.id)
    assert job.id not in generate_latest(registry).decode()


def test_a_loss_that_is_not_known_yet_is_no_series() -> None:
    registry = CollectorRegistry()
    gauges = JobGauges(registry)
    job = make_job()
    gauges.enter(job.id, job.spec, Progress(), 1)
    assert "pando_job_loss{" not in generate_latest(registry).decode()
