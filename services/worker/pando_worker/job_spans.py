"""Spans of what a worker does for one job: they are in the job's trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from pando_shared.tracing import Span, begin_span, current_span, span
from pando_worker.host import Host, Tenancy


def job_span(host: Host, job_id: str, name: str) -> AbstractContextManager[Span]:
    """While something is done for a job, on whichever thread."""
    tenancy, worker_id = host.tenancies.get(job_id), host.worker.id
    if tenancy is None:  # it was never seated
        return span(name, job_id=job_id, worker_id=worker_id)
    return span(
        name,
        parent=tenancy.traceparent,
        job_id=job_id,
        tenant=tenancy.tenant,
        worker_id=worker_id,
    )


@contextmanager
def training_spans(host: Host) -> Iterator[None]:
    """One for each job that trains in this round, linked to the round's and the round's to it."""
    around = current_span()
    for job_id, tenancy in host.tenancies.items():
        around.link(tenancy.traceparent)
        tenancy.training = begin_span(
            "train job",
            parent=tenancy.traceparent,
            links=[around.traceparent],
            job_id=job_id,
            tenant=tenancy.tenant,
        )
    try:
        yield
    except Exception as error:
        for tenancy in host.tenancies.values():
            tenancy.training.failed_by(error)
        raise
    finally:
        for tenancy in host.tenancies.values():
            end_training(tenancy)


def end_training(tenancy: Tenancy) -> None:
    """The job trains no more in this round. Nothing happens if it is told twice."""
    progress = tenancy.log.progress
    tenancy.training.set(step=progress.step, trained_tokens=progress.trained_tokens)
    tenancy.training.end()
    tenancy.training = Span()
