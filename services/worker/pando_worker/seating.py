"""How jobs come to be resident on this worker."""

from __future__ import annotations

import logging
from dataclasses import replace

from pando_shared.errors import Conflict, NotFound, PandoError, TrainingFailed
from pando_shared.jobs import Job
from pando_shared.log_context import add_to_log_context, log_context
from pando_shared.records import Event
from pando_shared.rungs import rung_steps
from pando_shared.tracing import span
from pando_shared.workers import Assignment, Round
from pando_worker.engine.device import is_usable
from pando_worker.engine.engine import Engine
from pando_worker.host import Host, Tenancy
from pando_worker.job_data import restore_latest, training_job
from pando_worker.progress_log import ProgressLog
from pando_worker.residency import await_checkpoint, drop, fail, guarding, release

log = logging.getLogger(__name__)


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
    joined = []
    for place in newcomers:
        with log_context(job_id=place.job_id):
            joined.append(_join(host, engine, place))
    return not all(joined)


def _join(host: Host, engine: Engine, place: Assignment) -> bool:
    """Seat one job, or end it if it cannot be. False: storage does not answer now."""
    job_id = place.job_id
    await_checkpoint(host, job_id)
    try:
        job = host.store.get_job(job_id).fenced(place.epoch)
    except (NotFound, Conflict):
        host.keeper.drop(job_id)
        return True
    add_to_log_context(tenant=job.spec.tenant)
    with span("seat job", parent=job.traceparent):
        return _seat(host, engine, place, job)


def _seat(host: Host, engine: Engine, place: Assignment, job: Job) -> bool:
    """See `_join`; the job is ours, and this is where its data and its checkpoint are read."""
    job_id = job.id
    try:
        training = training_job(job, host.storage, host.cache)
        try:
            resident = engine.join(training)
        except OSError as error:
            raise TrainingFailed(
                f"the adapter's rows do not fit into {host.settings.rows_dir}: {error}; free some "
                "of its disk, or lower num_keys",
                code="rows_disk_full",
            ) from error
        restored = restore_latest(resident, host.storage, host.cache)
    except PandoError as error:
        fail(host, job_id, place.epoch, error.code, error.message)
        return True
    except (RuntimeError, MemoryError) as error:
        if not is_usable():
            raise
        log.exception("job %s does not fit", job_id)
        drop(host, job_id)
        host.keeper.hold(job_id, place.epoch)
        message = f"the adapter does not fit into this worker's memory: {error}"
        fail(host, job_id, place.epoch, "out_of_memory", message)
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
        checkpoint_step=restored.step,
    )
    log_of_stay = ProgressLog(progress, _rungs(job, progress.total_steps))
    host.tenancies[job_id] = Tenancy(
        place.epoch,
        log_of_stay,
        now,
        resident.step,
        tenant=job.spec.tenant,
        traceparent=job.traceparent,
    )
    host.metrics.jobs.enter(job_id, job.spec, progress, resident.adapter.device_bytes)
    how = f"resumed from step {restored.step}" if restored.step else "started"
    events = [Event(now, f"Training {how} on {host.worker.id}")]
    if restored.damage is not None:
        events.insert(0, Event(now, f"Done again in part: {restored.damage}", level="warn"))
    host.keeper.report(job_id, events)
    return True


def _rungs(job: Job, total_steps: int) -> tuple[int, ...]:
    """The steps at which a sweep's trial is judged."""
    rule = job.spec.halving
    return () if rule is None else rung_steps(total_steps, rule)
