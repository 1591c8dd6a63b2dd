"""How resident jobs are kept, and how they leave this worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pando_shared.errors import Conflict, IllegalTransition, NotFound
from pando_shared.log_context import log_context
from pando_shared.records import Event
from pando_worker.checkpoint_writer import Writing
from pando_worker.engine.checkpoint import snapshot, training_state
from pando_worker.engine.engine import Engine
from pando_worker.engine.row_state import Kept
from pando_worker.host import Host
from pando_worker.job_data import forget_copies
from pando_worker.job_spans import end_training, job_span

log = logging.getLogger(__name__)

#: An adapter that storage did not take is offered again after this long.
_RETRY_SECONDS = 5.0


@contextmanager
def guarding(host: Host, job_id: str) -> Iterator[None]:
    """Do something for one job: lose the job if its lease turns out to be lost; if storage does
    not answer or is full, say so and go on, for the next attempt is never far."""
    with log_context(job_id=job_id):
        try:
            yield
        except (Conflict, NotFound) as error:
            log.info("job %s is no longer ours: %s", job_id, error.message)
            drop(host, job_id)
        except OSError as error:
            log.exception("job %s: storage fails", job_id)
            message = f"Storage fails ({error}); training goes on, and will try again"
            host.keeper.report(job_id, [Event(host.clock.now(), message, level="warn")])


def drop(host: Host, job_id: str) -> None:
    """Forget a job that is no longer ours; nothing is written."""
    tenancy = host.tenancies.pop(job_id, None)
    if tenancy is not None:
        end_training(tenancy)
    host.metrics.jobs.drop(job_id)
    host.keeper.drop(job_id)
    if host.engine is not None and job_id in host.engine.jobs:
        host.engine.leave(job_id)


def checkpoint_due(host: Host, engine: Engine) -> None:
    """Take a snapshot of the job that has been due longest, if any is, and have it written while
    training goes on. While one is in writing, others wait."""
    now = host.clock.now()
    due = [
        (tenancy.checkpointed_at, job_id)
        for job_id, tenancy in host.tenancies.items()
        # Set back, the clock would else put the next one off until it is as late again.
        if not 0 <= now - tenancy.checkpointed_at < host.settings.checkpoint_seconds
        and engine.jobs[job_id].step > tenancy.checkpointed_step
        and not engine.jobs[job_id].finished
    ]
    if not due or not host.writer.idle:
        return
    job_id = min(due)[1]
    tenancy = host.tenancies[job_id]
    with host.metrics.checkpoint_stall.time():
        state = snapshot(engine.jobs[job_id])
    tenancy.checkpointed_at, tenancy.checkpointed_step = now, state.manifest.step
    epoch, progress = tenancy.epoch, tenancy.log.progress

    writing = job_span(host, job_id, "write checkpoint")

    def write() -> Kept:
        with log_context(job_id=job_id), writing, host.metrics.checkpoint_seconds.time():
            host.keeper.flush(job_id)  # steps that will not be done again are told first
            return host.publisher.checkpoint(job_id, state, epoch, progress)

    host.writer.start(job_id, write)


def conclude_checkpoint(host: Host) -> None:
    """Act on how a checkpoint in writing ended, once it has."""
    _conclude(host, host.writer.take_ended())


def await_checkpoint(host: Host, job_id: str) -> None:
    """Let the job's checkpoint in writing end: before a later state of it is kept, and before it
    comes back, so that how a former stay's checkpoint ended is not taken for this one's."""
    _conclude(host, host.writer.wait(job_id))


def _conclude(host: Host, ended: Writing | None) -> None:
    if ended is None:
        return
    if ended.job_id not in host.tenancies:
        why = ended.outcome.exception() or "it is whole"
        log.info("job %s left before its checkpoint was written: %s", ended.job_id, why)
        return
    with guarding(host, ended.job_id):
        kept = ended.outcome.result()
        if host.engine is not None and ended.job_id in host.engine.jobs:
            host.engine.jobs[ended.job_id].kept = kept


def release(host: Host, job_id: str) -> None:
    """Checkpoint a job and give its lease back: paused, preempted, or its base must go.

    If storage fails, the job goes back to its checkpoint before: it must not stay.
    """
    await_checkpoint(host, job_id)
    tenancy = host.tenancies.get(job_id)
    if tenancy is None:
        return  # taken away, as that checkpoint found out
    assert host.engine is not None
    end_training(tenancy)
    state = training_state(host.engine.jobs[job_id])
    with guarding(host, job_id), job_span(host, job_id, "write checkpoint") as writing:
        host.keeper.flush(job_id)
        try:
            host.publisher.release(job_id, state, tenancy.epoch, tenancy.log.progress)
        except OSError as error:
            writing.failed_by(error)
            log.exception("job %s leaves without a checkpoint", job_id)
            message = f"Storage fails ({error}); training will go on from the last checkpoint"
            host.publisher.give_back(job_id, tenancy.epoch, message)
    drop(host, job_id)


def finish(host: Host, engine: Engine, job_id: str) -> None:
    """Publish a finished job's adapter; it leaves. If storage fails, it stays to try again."""
    tenancy = host.tenancies[job_id]
    if 0 < tenancy.finish_at - host.clock.now() <= _RETRY_SECONDS:
        return
    tenancy.finish_at = host.clock.now() + _RETRY_SECONDS
    end_training(tenancy)
    await_checkpoint(host, job_id)
    if job_id not in host.tenancies:
        return
    with guarding(host, job_id), job_span(host, job_id, "export adapter"):
        host.keeper.flush(job_id)
        try:
            host.publisher.finish(engine.base, engine.jobs[job_id], tenancy.epoch, tenancy.log)
        except IllegalTransition:  # paused this very moment; it finishes when it is resumed
            release(host, job_id)
            return
        drop(host, job_id)
        forget_copies(job_id, host.cache)


def fail(host: Host, job_id: str, epoch: int, code: str, message: str) -> None:
    """End a job that cannot go on; its neighbours stay."""
    with log_context(job_id=job_id):
        log.warning("job %s fails: %s", job_id, message)
    try:
        await_checkpoint(host, job_id)
        with guarding(host, job_id), job_span(host, job_id, "fail job") as failing:
            failing.fail(code)
            host.keeper.flush(job_id)
            host.publisher.fail(job_id, epoch, code, message)
    finally:
        drop(host, job_id)
    forget_copies(job_id, host.cache)


def requeue(host: Host, job_id: str, message: str) -> None:
    """Memory ran out on a job: it is queued again and leaves; its neighbours stay."""
    with log_context(job_id=job_id):
        log.warning("job %s leaves: %s", job_id, message)
    try:
        await_checkpoint(host, job_id)
        if job_id in host.tenancies:
            with job_span(host, job_id, "requeue job") as requeueing:
                requeueing.fail("out_of_memory")
                host.keeper.flush(job_id)
                host.publisher.out_of_memory(job_id, host.tenancies[job_id].epoch, message)
    finally:
        drop(host, job_id)


def release_all(host: Host) -> None:
    """Before the process ends: every job can continue elsewhere at once."""
    for job_id in list(host.tenancies):
        release(host, job_id)
