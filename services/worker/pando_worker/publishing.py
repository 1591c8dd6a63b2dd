"""What a job leaves behind in storage and store: checkpoints, exports, its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pando_shared import layout, lifecycle
from pando_shared.clock import Clock
from pando_shared.codec import encode
from pando_shared.ids import new_id
from pando_shared.jobs import Job, JobFailure, JobState, Progress
from pando_shared.records import CheckpointRecord, Event, ModelRecord
from pando_shared.storage import Storage
from pando_shared.store import Change, Store
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.checkpoint import TrainingState, save_checkpoint
from pando_worker.engine.export import Card, export_adapter
from pando_worker.engine.job import ResidentJob
from pando_worker.engine.row_state import Kept
from pando_worker.job_data import prune_checkpoints
from pando_worker.progress_log import ProgressLog
from pando_worker.result_file import publish_results

#: Memory ratios that differ by a smaller share are the same.
_SAME_RATIO = 0.02


def model_name(job: Job, step: int | None = None) -> str:
    """`ft:BASE:TENANT:SUFFIX:ID`, and `:ckpt-step-N` behind it for a checkpoint."""
    short = job.id.partition("-")[2][:8]
    name = f"ft:{job.spec.model}:{job.spec.tenant}:{job.spec.suffix or ''}:{short}"
    return name if step is None else f"{name}:ckpt-step-{step}"


@dataclass(frozen=True, slots=True)
class Publisher:
    """Writes durable things, each only while the job's epoch is still the writer's.

    All methods raise StaleEpoch or NotFound when it is not, and may be called from any thread.
    What is on its way to storage lies in `scratch`: a system's own folder for that may be memory.
    """

    store: Store
    storage: Storage
    clock: Clock
    scratch: Path

    def checkpoint(self, job_id: str, state: TrainingState, epoch: int, progress: Progress) -> Kept:
        """Keep the state of a job that may have trained on meanwhile; returns what later
        checkpoints may build on.

        `progress` is the job's as of the state; what the store knows may be ahead of it.
        """
        name = self._save(job_id, state, epoch)

        def keep(job: Job) -> Job:
            newest = max(job.progress, progress, key=lambda known: known.step)
            return _durable(job.fenced(epoch), newest, state.manifest.step)

        self._write(job_id, keep)
        prune_checkpoints(job_id, self.storage)
        return state.manifest.kept(name)

    def release(self, job_id: str, state: TrainingState, epoch: int, progress: Progress) -> None:
        """Keep the state of a job that leaves, and give its lease back."""
        self._save(job_id, state, epoch)

        def keep(job: Job) -> Job:
            return replace(_durable(job.fenced(epoch), progress, state.manifest.step), lease=None)

        self._write(job_id, keep)
        prune_checkpoints(job_id, self.storage)

    def _save(self, job_id: str, state: TrainingState, epoch: int) -> str:
        """Returns the checkpoint's name."""
        self.store.get_job(job_id).fenced(epoch)
        name = layout.checkpoint_name(state.manifest.step, epoch)
        if state.manifest.step == 0 or state.manifest.since == name:
            return name  # nothing to keep, or nothing that is not kept already
        with self._scratch() as scratch:
            folder = Path(scratch) / "checkpoint"
            save_checkpoint(state, folder)
            self.storage.upload_folder(folder, layout.checkpoint(job_id, name))
        return name

    def give_back(self, job_id: str, epoch: int, reason: str) -> None:
        """Give the lease back without a checkpoint, which storage refuses; says why."""
        said = Event(self.clock.now(), reason, level="warn")
        self.store.update_job(
            job_id, lambda job: Change(replace(job.fenced(epoch), lease=None), (said,))
        )

    def milestone(
        self, base: BaseModel, resident: ResidentJob, epoch: int, log: ProgressLog
    ) -> None:
        """Publish the adapter as it is after an epoch, as a checkpoint the user can try."""
        job = self.store.get_job(resident.job.id).fenced(epoch)
        model = self._export(base, resident, job, log, resident.step)
        metrics = {
            "step": float(resident.step),
            "train_loss": log.progress.train_loss,
            "valid_loss": log.progress.valid_loss,
        }
        record = CheckpointRecord(
            id=new_id("ftckpt"),
            job_id=job.id,
            model=model.name,
            step=resident.step,
            created_at=model.created_at,
            metrics={name: value for name, value in metrics.items() if value is not None},
        )
        said = Event(self.clock.now(), f"Checkpoint created at step {resident.step}")
        self.store.update_job(
            job.id,
            lambda current: Change(current.fenced(epoch), (said,), model, record),
        )

    def finish(self, base: BaseModel, resident: ResidentJob, epoch: int, log: ProgressLog) -> None:
        """Publish the finished adapter; the job has succeeded."""
        job = self.store.get_job(resident.job.id).fenced(epoch)
        model = self._export(base, resident, job, log, None)
        now = self.clock.now()
        results = publish_results(self.store, self.storage, job, resident.step, now)
        events = [Event(now, f"New fine-tuned model created: {model.name}")]
        if resident.stopped_early:
            events.insert(
                0,
                Event(
                    now,
                    f"Stopped early at step {resident.step}: validation loss has not improved "
                    f"for {resident.validations_without_gain} validations",
                ),
            )
        events.append(Event(now, "The job has successfully completed"))

        def succeed(current: Job) -> Change:
            done = replace(
                current.fenced(epoch).to(JobState.SUCCEEDED),
                progress=replace(log.progress, checkpoint_step=current.progress.checkpoint_step),
                fine_tuned_model=model.name,
                # Exports to other tools may have added files of their own already.
                result_files=(results, *(f for f in current.result_files if f != results)),
                finished_at=now,
            )
            return Change(done, tuple(events), model)

        self._write(job.id, succeed)
        self.storage.delete(layout.checkpoints(job.id))

    def fail(self, job_id: str, epoch: int, code: str, message: str) -> None:
        """The job cannot go on; says why."""
        now = self.clock.now()

        def failed(job: Job) -> Change:
            ended = replace(
                job.fenced(epoch).to(JobState.FAILED),
                error=JobFailure(code, message),
                finished_at=now,
            )
            return Change(ended, (Event(now, f"The job failed: {message}", level="error"),))

        self._write(job_id, failed)

    def out_of_memory(self, job_id: str, epoch: int, message: str) -> None:
        """Memory ran out on the job: it is to train alone, from its last checkpoint; says why.

        A job that was paused this very moment stays so.
        """
        now = self.clock.now()
        said = Event(now, f"Queued again, to train alone: {message}", level="warn")

        def requeued(job: Job) -> Change:
            held = job.fenced(epoch)
            if held.state is JobState.RUNNING:
                held = replace(held.to(JobState.QUEUED), queued_at=now)
            left = replace(
                held,
                lease=None,
                epoch=job.epoch + 1,
                out_of_memory=job.out_of_memory + 1,
                placed_at=None,
            )
            return Change(left, (said,))

        self._write(job_id, requeued)

    def measured(
        self, job_id: str, predicted: int, measured: int, memory_ratio: float | None
    ) -> None:
        """Keep the predicted and measured peak of the fullest round the job was part of, and its
        memory ratio where it is another.

        A fact about the past, it may be told of a job that has ended since.
        """

        def keep(job: Job) -> Job:
            if memory_ratio is not None and _differ(memory_ratio, job.memory_ratio):
                job = replace(job, memory_ratio=memory_ratio)
            if measured <= (job.round_measured_bytes or 0):
                return job
            return replace(job, round_predicted_bytes=predicted, round_measured_bytes=measured)

        self.store.update_job(job_id, keep)

    def clear(self) -> None:
        """Remove what a process that was killed had on its way."""
        for folder in self.scratch.glob("pando-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _scratch(self) -> tempfile.TemporaryDirectory[str]:
        self.scratch.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix="pando-", dir=self.scratch)

    def _write(self, job_id: str, change: Callable[[Job], Job | Change]) -> None:
        lifecycle.transition(self.store, self.storage, job_id, change)

    def _export(
        self, base: BaseModel, resident: ResidentJob, job: Job, log: ProgressLog, step: int | None
    ) -> ModelRecord:
        path = layout.export(job.id, step)
        name = model_name(job, step)
        with self._scratch() as scratch:
            folder = Path(scratch) / "export"
            card = Card(name, job.spec.model, _facts(resident, job, log))
            export_adapter(base, resident.adapter, card, folder)
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            self.storage.upload_folder(folder, path)
        record = ModelRecord(
            name=name,
            tenant=job.spec.tenant,
            base_model=job.spec.model,
            job_id=job.id,
            method=job.spec.adapter.type,
            path=path,
            created_at=self.clock.now(),
            bytes=size,
        )
        self.storage.write(layout.model_record(job.id, step), encode(record))
        return record


def _durable(job: Job, progress: Progress, step: int) -> Job:
    """The job with a checkpoint at this step; durable progress clears the lost attempts."""
    advanced = step > job.progress.checkpoint_step
    return replace(
        job,
        progress=replace(progress, checkpoint_step=step),
        attempts=0 if advanced else job.attempts,
        lost_on=() if advanced else job.lost_on,
    )


def _differ(ratio: float, before: float | None) -> bool:
    """By enough to plan anew for."""
    return before is None or abs(ratio - before) > _SAME_RATIO * before


def _facts(resident: ResidentJob, job: Job, log: ProgressLog) -> dict[str, str]:
    """The rows of the model card."""
    plan, progress, data = resident.job.plan, log.progress, job.training_data
    facts = {"job": job.id, "base model": job.spec.model}
    if data is not None:
        facts["training data"] = (
            f"{data.examples:,} examples ({data.format}), {data.tokens:,} tokens, "
            f"{data.target_tokens:,} of them targets"
        )
    facts |= {
        "steps": f"{resident.step} of batch size {plan.batch_size} ({plan.n_epochs} epochs)",
        "learning rate": f"{plan.learning_rate:g}, {plan.config.lr_scheduler}",
        "seed": str(plan.config.seed),
        "trained tokens": f"{progress.trained_tokens:,}",
    }
    for label, loss in (
        ("first training loss", progress.first_loss),
        ("last training loss", progress.train_loss),
        ("validation loss", progress.valid_loss),
    ):
        if loss is not None:
            facts[label] = f"{loss:.4f}"
    return facts
