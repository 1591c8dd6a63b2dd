"""How jobs come to be resident on this worker, and how they leave."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from pando_shared.errors import Conflict, IllegalTransition, NotFound, PandoError
from pando_shared.records import Event
from pando_shared.workers import Assignment, Round
from pando_worker.engine.engine import Engine
from pando_worker.engine.job import ResidentJob
from pando_worker.host import Host, Tenancy
from pando_worker.job_data import forget_copies, restore_latest, training_job
from pando_worker.progress_log import ProgressLog

log = logging.getLogger(__name__)

#: An adapter that storage did not take is offered again after this long.
_RETRY_SECONDS = 5.0


def seat(host: Host, planned: Round) -> bool:
    """Make exactly the round's jobs resident, at their epochs; the others leave by checkpoint.

    Returns whether storage kept a job out, which the next round will try again.
    """
    wanted = {place.job_id: place for place in planned.assignments}
    for job_id, tenancy in list(host.tenancies.items()):
        place = wanted.get(job_id)
        if host.engine is None or job_id not in host.engine.jobs:
            drop(host, job_id)  # it failed while nobody could be told; now it will again
        elif place is None or planned.base_model != host.worker.base_model:
            release(host, job_id)
        elif place.epoch != tenancy.epoch:
            drop(host, job_id)
    newcomers = [place for place in planned.assignments if place.job_id not in host.tenancies]
    if not newcomers:
        return False
    for place in newcomers:
        host.keeper.hold(place.job_id, place.epoch)  # loading a base may outlast their leases
    try:
        engine = host.use_base(planned.base_model)
    except Exception as error:  # whatever is wrong with it, its jobs must hear of it
        log.exception("base model %s cannot be loaded", planned.base_model)
        message = f"the base model {planned.base_model} cannot be loaded: {error}"
        for place in newcomers:
            fail(host, place.job_id, place.epoch, "base_model_unavailable", message)
        return False
    joined = [_join(host, engine, place) for place in newcomers]
    return not all(joined)


def _join(host: Host, engine: Engine, place: Assignment) -> bool:
    """Seat one job, or end it if it cannot be. False: storage does not answer now."""
    job_id = place.job_id
    try:
        job = host.store.get_job(job_id).fenced(place.epoch)
    except (NotFound, Conflict):
        host.keeper.drop(job_id)
        return True
    try:
        resident = engine.join(training_job(job, host.storage, host.cache))
        checkpoint = restore_latest(resident, host.storage, host.cache)
    except PandoError as error:
        fail(host, job_id, place.epoch, error.code, error.message)
        return True
    except OSError as error:
        log.exception("job %s cannot be read from storage", job_id)
        message = f"Storage fails ({error}); will try again"
        with guarding(host, job_id):
            event = Event(host.clock.now(), message, level="warn")
            host.store.append_events(job_id, [event], place.epoch)
        drop(host, job_id)
        return False
    now = host.clock.now()
    progress = replace(
        job.progress,
        step=resident.step,
        total_steps=resident.job.plan.total_steps,
        trained_tokens=resident.trained_tokens,
        checkpoint_step=checkpoint or 0,
    )
    host.tenancies[job_id] = Tenancy(place.epoch, ProgressLog(progress), now)
    how = f"resumed from step {checkpoint}" if checkpoint else "started"
    host.keeper.report(job_id, [Event(now, f"Training {how} on {host.worker.id}")])
    return True


@contextmanager
def guarding(host: Host, job_id: str) -> Iterator[None]:
    """Do something for one job: lose the job if its lease turns out to be lost; if storage does
    not answer or is full, say so and go on, for the next attempt is never far."""
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
    host.tenancies.pop(job_id, None)
    host.keeper.drop(job_id)
    if host.engine is not None and job_id in host.engine.jobs:
        host.engine.leave(job_id)


def checkpoint(host: Host, resident: ResidentJob) -> None:
    """Keep a job's exact state while it stays. Steps that will not be done again are told first."""
    tenancy = host.tenancies[resident.job.id]
    tenancy.checkpointed_at = host.clock.now()
    host.keeper.flush(resident.job.id)
    with host.metrics.checkpoint_seconds.time():
        host.publisher.checkpoint(resident, tenancy.epoch, tenancy.log)


def release(host: Host, job_id: str) -> None:
    """Checkpoint a job and give its lease back: paused, preempted, or its base must go.

    If storage fails, the job goes back to its checkpoint before: it must not stay.
    """
    tenancy = host.tenancies[job_id]
    assert host.engine is not None
    resident = host.engine.jobs[job_id]
    with guarding(host, job_id):
        host.keeper.flush(job_id)
        try:
            host.publisher.checkpoint(resident, tenancy.epoch, tenancy.log, release=True)
        except OSError as error:
            log.exception("job %s leaves without a checkpoint", job_id)
            message = f"Storage fails ({error}); training will go on from the last checkpoint"
            host.publisher.give_back(job_id, tenancy.epoch, message)
    drop(host, job_id)


def finish(host: Host, engine: Engine, job_id: str) -> None:
    """Publish a finished job's adapter; it leaves. If storage fails, it stays to try again."""
    tenancy = host.tenancies[job_id]
    if host.clock.now() < tenancy.finish_at:
        return
    tenancy.finish_at = host.clock.now() + _RETRY_SECONDS
    with guarding(host, job_id):
        host.keeper.flush(job_id)
        try:
            host.publisher.finish(engine.base, engine.jobs[job_id], tenancy.epoch, tenancy.log)
        except IllegalTransition:  # paused this very moment; it finishes when it is resumed
            release(host, job_id)
            return
        drop(host, job_id)
        forget_copies(job_id, host.cache)
        host.metrics.finished.labels("succeeded", "").inc()


def fail(host: Host, job_id: str, epoch: int, code: str, message: str) -> None:
    """End a job that cannot go on; its neighbours stay."""
    log.warning("job %s fails: %s", job_id, message)
    try:
        with guarding(host, job_id):
            host.keeper.flush(job_id)
            host.publisher.fail(job_id, epoch, code, message)
            host.metrics.finished.labels("failed", code).inc()
    finally:
        drop(host, job_id)
    forget_copies(job_id, host.cache)


def release_all(host: Host) -> None:
    """Before the process ends: every job can continue elsewhere at once."""
    for job_id in list(host.tenancies):
        release(host, job_id)
