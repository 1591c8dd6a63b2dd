"""One round: seat its jobs, run fused steps until its time is over, report."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, replace

from pando_shared.errors import Unavailable
from pando_shared.log_context import log_context
from pando_shared.tracing import span
from pando_shared.workers import Round
from pando_worker import residency
from pando_worker.engine.device import is_out_of_memory, peak_bytes, release_cached, reset_peak
from pando_worker.engine.engine import Engine, JobFailed, StepReport
from pando_worker.engine.job import ResidentJob
from pando_worker.host import Host, expect, fit_memory
from pando_worker.job_spans import job_span, training_spans
from pando_worker.lease_keeper import Verdict
from pando_worker.round_record import RoundRecord
from pando_worker.seating import seat
from pando_worker.utilization import show_utilization

log = logging.getLogger(__name__)

#: A round that yields has trained at least this long, so that yielding cannot eat up the time.
_SHORTEST_SECONDS = 1.0
#: Out of memory even with microbatches this small: a job itself is too large.
_SMALLEST_BUDGET = 256
#: How often a job that is too large is tried again, alone.
_MOST_OUT_OF_MEMORY = 2
#: How long a round rests in which storage kept everybody from going on, or that cannot be ended.
_REST_SECONDS = 1.0


def run_round(host: Host, round_id: str) -> None:
    """Carry out a planned round. A message for a round that is over or another's does nothing."""
    with (
        log_context(worker_id=host.worker.id, round_id=round_id),
        span("run round", kind="consumer"),
    ):
        began = host.clock.now()
        try:
            planned = host.store.begin_round(
                round_id, host.worker.id, host.worker.incarnation, began
            )
        except Unavailable:
            _end(host, round_id)  # it may have begun all the same
            raise
        if planned is None:
            log.info("round %s is not to be run here now", round_id)
        else:
            _run(host, planned, began)


def _run(host: Host, planned: Round, began: float) -> None:
    try:
        kept_out = seat(host, planned)
        if host.engine is not None and host.engine.jobs:
            with training_spans(host):
                _train(host, host.engine, planned)
        jobs = host.engine.jobs.values() if host.engine is not None else ()
        if (kept_out or jobs) and all(job.finished for job in jobs):
            # Storage fails, and nothing else is to do: rounds would chase each other in vain.
            host.keeper.rest(_REST_SECONDS)
    finally:
        ended = host.clock.now()
        host.metrics.round_seconds.inc(max(0.0, ended - began))
        host.metrics.active_adapters.set(len(host.tenancies))
        if not host.tenancies:
            host.waiting_since = None
        _end(host, planned.id)


def _end(host: Host, round_id: str) -> None:
    """Tell that a round is over, however long the store takes to hear it: until then none follows,
    and the jobs here would wait for one that has long been forgotten."""
    while True:
        try:
            host.store.end_round(round_id)
        except Unavailable as error:
            log.warning("round %s cannot be ended; trying again: %s", round_id, error)
            host.keeper.rest(_REST_SECONDS)
            if host.stopping():
                raise
        else:
            return


def _train(host: Host, engine: Engine, planned: Round) -> None:
    engine.shares = planned.shares
    record = RoundRecord(expect(host, engine))
    fit_memory(engine, record.expected, planned.headroom)
    reset_peak(host.device)
    began, jumped_at = host.clock.now(), host.clock.jumped_at
    if host.waiting_since is not None:
        gap = max(0.0, began - host.waiting_since)
        host.metrics.round_gap.observe(gap)
        host.worker = replace(host.worker, round_gap_seconds=gap)
        host.waiting_since = None
    for tenancy in host.tenancies.values():
        tenancy.log.started(began)
    trained = 0
    while True:
        _heed(host, engine)
        if all(job.finished for job in engine.jobs.values()):
            break
        trained += _step(host, engine, record)
        residency.checkpoint_due(host, engine)
        spent = host.clock.now() - began
        if not 0 <= spent < planned.seconds:  # less than nothing: the clock was set back
            break
        if spent >= _SHORTEST_SECONDS and host.should_yield():
            break
    _heed(host, engine)
    host.waiting_since = host.clock.now()
    elapsed = host.waiting_since - began
    peak = peak_bytes(host.device)
    rate = trained / elapsed if elapsed > 0 else 0.0
    if host.clock.jumped_at != jumped_at:  # nobody knows how long it was
        rate, record.seconds = host.worker.tokens_per_second, 0.0
    host.worker = replace(host.worker, peak_bytes=peak, tokens_per_second=rate)
    adapters = sum(job.adapter.device_bytes for job in engine.jobs.values())
    worker = host.worker
    host.metrics.show_memory(worker.budget_bytes, worker.resident_bytes, adapters, peak)
    show_utilization(host.metrics, host.shape, worker, rate)
    ratios = _report(host, engine, record, peak)
    for place in planned.assignments:
        with residency.guarding(host, place.job_id):
            ratio = ratios.get(place.job_id)
            host.publisher.measured(place.job_id, planned.predicted_bytes, peak, ratio)


def _report(host: Host, engine: Engine, record: RoundRecord, peak: int) -> dict[str, float]:
    """Tell the scheduler what the round was like. Returns the jobs' memory ratios as of now."""
    if not record.microbatch_tokens or not record.expected.jobs:
        return {}
    report = record.report(host.worker, engine, peak)
    host.store.push_report(report)
    host.metrics.prediction_error.set(peak / report.predicted_bytes - 1)
    if record.out_of_memory:
        return {}  # what it would have taken is not known
    return record.expected.memory_ratios(engine.recompute, record.microbatch_tokens, peak)


def _heed(host: Host, engine: Engine) -> None:
    """Act on what other threads found out since the last step, and on jobs that are done."""
    residency.conclude_checkpoint(host)
    for job_id, verdict in host.keeper.verdicts().items():
        if job_id not in host.tenancies:
            continue
        if verdict is Verdict.LOST:
            log.info("job %s was taken from this worker", job_id)
            residency.drop(host, job_id)
        else:
            _let_go(host, engine, job_id)
    for job_id, resident in list(engine.jobs.items()):
        if resident.finished:
            residency.finish(host, engine, job_id)


def _let_go(host: Host, engine: Engine, job_id: str) -> None:
    """A job is not to be trained on; one that is at its end need not come back for it."""
    if engine.jobs[job_id].finished:
        residency.finish(host, engine, job_id)
    if job_id in host.tenancies:
        residency.release(host, job_id)


def _step(host: Host, engine: Engine, record: RoundRecord) -> int:
    """One microbatch, and what follows from it. Returns the tokens of finished steps."""
    began = host.clock.now()
    try:
        reports = engine.step()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reports = None
    if reports is None:  # not in the handler: the traceback would keep the tensors alive
        record.ran_out_of_memory(engine.tokens_in_work)
        _survive_out_of_memory(host, engine)
        return 0
    seconds = max(0.0, host.clock.now() - began)
    record.ran(engine.tokens_in_work, seconds)
    host.metrics.step_seconds.observe(seconds)
    host.metrics.last_step.set(host.clock.now())
    trained = 0
    for report in reports:
        if isinstance(report, JobFailed):
            epoch = host.tenancies[report.job_id].epoch
            residency.fail(host, report.job_id, epoch, report.code, report.message)
            continue
        trained += report.tokens
        record.trained(report)
        moved = engine.jobs[report.job_id].take_traffic()
        if moved is not None:
            host.metrics.count_traffic(**asdict(moved))
        method = engine.jobs[report.job_id].job.adapter.type
        host.metrics.trained_tokens.labels(host.worker.base_model, method).inc(report.tokens)
        with residency.guarding(host, report.job_id):
            _after_step(host, engine, report)
    return trained


def _after_step(host: Host, engine: Engine, report: StepReport) -> None:
    """Publish one job's finished step: events, a validation or milestone if due."""
    resident, tenancy = engine.jobs[report.job_id], host.tenancies[report.job_id]
    events = tenancy.log.step(report, host.clock.now())
    due = _due(resident, _validation_stride(resident)) or tenancy.log.at_rung
    if resident.job.valid is not None and due:
        result = engine.validate(report.job_id)
        events.extend(tenancy.log.validated(result, host.clock.now()))
    now = host.clock.now()
    host.metrics.jobs.update(report.job_id, tenancy.log.progress)
    host.keeper.report(
        report.job_id, events, tenancy.log.progress, tenancy.log.estimated_finish(now)
    )
    if _due(resident, _milestone_stride(resident)):
        try:
            with job_span(host, report.job_id, "publish checkpoint"):
                host.keeper.flush(report.job_id)
                host.publisher.milestone(engine.base, resident, tenancy.epoch, tenancy.log)
        except Unavailable as error:
            # Others have finished a step too, which must be told of all the same.
            log.warning("no checkpoint to try of step %d: %s", resident.step, error)


def _survive_out_of_memory(host: Host, engine: Engine) -> None:
    """Try again with half the microbatch; once that is small, the largest adapter must go. It gets
    a worker to itself, and ends if that is not enough either."""
    host.metrics.out_of_memory.inc()
    peak = peak_bytes(host.device)
    for resident in engine.jobs.values():
        resident.abandon_batch()
    release_cached(host.device)
    if engine.token_budget // 2 >= _SMALLEST_BUDGET:
        engine.token_budget //= 2
        log.warning("out of memory; microbatches now hold %d tokens", engine.token_budget)
        return
    largest = max(engine.jobs.values(), key=lambda job: job.adapter.device_bytes)
    job_id = largest.job.id
    with residency.guarding(host, job_id):
        job = host.store.get_job(job_id)
        message = (
            f"out of memory with microbatches of {engine.token_budget} tokens: predicted "
            f"{job.predicted_peak_bytes} bytes, measured {peak}"
        )
        if job.out_of_memory < _MOST_OUT_OF_MEMORY:
            residency.requeue(host, job_id, message)
        else:
            message += "; lower rank, num_keys or max_seq_length"
            residency.fail(host, job_id, host.tenancies[job_id].epoch, "gpu_out_of_memory", message)
    engine.token_budget = engine.full_token_budget


def _validation_stride(resident: ResidentJob) -> int:
    """Validate about ten times in all, and at least once an epoch."""
    plan = resident.job.plan
    return max(1, min(plan.steps_per_epoch, math.ceil(plan.total_steps / 10)))


def _milestone_stride(resident: ResidentJob) -> int:
    """A checkpoint for the user after each epoch, or after every few where there are many."""
    plan = resident.job.plan
    return plan.steps_per_epoch * math.ceil(plan.n_epochs / 10)


def _due(resident: ResidentJob, stride: int) -> bool:
    return resident.step % stride == 0 or resident.step == resident.job.plan.total_steps
