"""The prepare task: a job's data files become token files, and the job becomes ready to queue."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pando_shared import layout, lifecycle
from pando_shared.calibration import read_calibration
from pando_shared.catalogue import BaseModel
from pando_shared.clock import Clock
from pando_shared.errors import (
    IllegalTransition,
    InvalidRequest,
    InvalidTrainingFile,
    NotFound,
    PandoError,
    Unavailable,
)
from pando_shared.fleet import expected_needs, largest, live_workers
from pando_shared.jobs import Job, JobFailure, JobState
from pando_shared.log_context import add_to_log_context, log_context
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Change, Store
from pando_shared.tracing import Span, current_traceparent, span
from pando_shared.training import resolve
from pando_worker.prepare.dataset import Limits, Prepared, prepare_file
from pando_worker.prepare.encode import Encoder
from pando_worker.prepare.metrics import Outcome, PrepareMetrics
from pando_worker.prepare.reports import failure_event, summary_events
from pando_worker.tokenizer import TextTokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PrepareContext:
    """What preparing needs from its surroundings.

    `tokenizer_of` loads (and may cache) a base's tokenizer: `load_tokenizer` on its path.
    """

    store: Store
    storage: Storage
    clock: Clock
    catalogue: Mapping[str, BaseModel]
    tokenizer_of: Callable[[BaseModel], TextTokenizer]
    settings: Settings
    metrics: PrepareMetrics


def prepare_job(job_id: str, context: PrepareContext) -> None:
    """Take a job from validating_files to queued, or to failed if its data is bad.

    Does nothing for a job in any other state, so a message delivered twice does no harm; and
    publishes each token file whole, so one interrupted anywhere can simply be repeated.

    Raises:
        NotFound: no such job.
        OSError, Unavailable: storage or store do not answer. The job stays as it is, to be retried.
    """
    with log_context(job_id=job_id):
        job = context.store.get_job(job_id)
        add_to_log_context(tenant=job.spec.tenant)
        if job.state is JobState.VALIDATING:
            # Asked for again, it belongs to the asking.
            asked_by = current_traceparent() or job.traceparent
            with span("prepare job", kind="consumer", parent=asked_by) as preparing:
                _measured(job, context, preparing)


def _measured(job: Job, context: PrepareContext, preparing: Span) -> None:
    began, outcome = context.clock.now(), Outcome.POSTPONED
    try:
        outcome = _prepare_and_tell(job, context, preparing)
    finally:
        context.metrics.prepared(job.created_at, began, context.clock.now(), outcome)


def _prepare_and_tell(job: Job, context: PrepareContext, preparing: Span) -> Outcome:
    outcome = Outcome.PREPARED
    try:
        change = _prepare(job, context)
    except IllegalTransition:
        return Outcome.GONE  # Cancelled meanwhile.
    except (OSError, Unavailable) as error:
        log.warning("job %s cannot be prepared now: %s", job.id, error)
        raise
    except PandoError as error:
        log.info("job %s fails: %s", job.id, error.message)
        preparing.failed_by(error)
        outcome = Outcome.FAILED
        change = _failing(context, JobFailure(error.code, error.message, error.param))
    try:
        lifecycle.transition(context.store, context.storage, job.id, change)
    except IllegalTransition:
        return Outcome.GONE  # Cancelled, or prepared by a twin of this task.
    return outcome


def _prepare(job: Job, context: PrepareContext) -> Callable[[Job], Change]:
    """Do the work; return the state change that makes it count."""
    spec = job.spec
    base = context.catalogue.get(spec.model)
    if base is None:
        raise InvalidRequest(
            f"no base model {spec.model!r} here (there are: {', '.join(context.catalogue)})",
            param="model",
            code="model_not_found",
        )
    longest_allowed = min(spec.training.max_seq_length or base.max_positions, base.max_positions)
    limits = Limits(longest_allowed, spec.training.overlong, base.vocab_size)
    encoder = Encoder(context.tokenizer_of(base))
    train = _split(job, "train", spec.training_file, encoder, limits, context)
    valid = (
        _split(job, "valid", spec.validation_file, encoder, limits, context)
        if spec.validation_file
        else None
    )
    plan = resolve(spec.training, spec.adapter, train.summary.examples)
    now = context.clock.now()
    workers = live_workers(context.store, context.settings, now)
    worker = largest(workers, spec.model, context.settings)
    learnt = read_calibration(context.store.learnt(), base.name, worker.device_kind)
    needs = expected_needs(  # what it may take beyond is the scheduler's to add
        worker, base, spec.adapter, learnt, context.settings.memory_headroom, train.summary.longest
    )
    events = summary_events(spec.training, base.max_positions, plan, train, valid, now)

    def queue(current: Job) -> Change:
        _require_validating(current)
        ready = replace(
            current.to(JobState.QUEUED),
            queued_at=now,
            training_data=train.summary,
            validation_data=valid.summary if valid else None,
            training=plan.config,
            progress=replace(current.progress, total_steps=plan.total_steps),
            predicted_peak_bytes=needs.device_bytes,
            predicted_host_bytes=needs.host_bytes,
        )
        return Change(ready, events)

    return queue


def _split(
    job: Job, split: str, file_id: str, encoder: Encoder, limits: Limits, context: PrepareContext
) -> Prepared:
    """Prepare one data file and publish its token file."""
    param = "training_file" if split == "train" else "validation_file"

    def still_wanted() -> None:
        _require_validating(context.store.get_job(job.id))

    with tempfile.TemporaryDirectory(prefix="pando-prepare-") as scratch:
        folder = Path(scratch) / split
        try:
            with context.storage.reading(layout.file_content(file_id)) as stream:
                prepared = prepare_file(stream, encoder, limits, folder, still_wanted)
        except InvalidTrainingFile as error:
            raise InvalidTrainingFile(error.message, param=param) from error
        except NotFound as error:
            raise NotFound(f"{param} {file_id} is gone", param=param) from error
        still_wanted()
        context.storage.upload_folder(folder, layout.tokens(job.id, split))
    return prepared


def _failing(context: PrepareContext, failure: JobFailure) -> Callable[[Job], Change]:
    now = context.clock.now()

    def fail(current: Job) -> Change:
        _require_validating(current)
        failed = replace(current.to(JobState.FAILED), error=failure, finished_at=now)
        return Change(failed, (failure_event(failure, now),))

    return fail


def _require_validating(job: Job) -> None:
    if job.state is not JobState.VALIDATING:
        raise IllegalTransition(f"job {job.id} is {job.state.value} and no longer being prepared")
