"""Bringing a job's token files and checkpoints from storage to this machine."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from pando_shared import layout
from pando_shared.errors import NotFound, TrainingFailed
from pando_shared.jobs import Job
from pando_shared.storage import Storage
from pando_shared.training import resolve
from pando_worker.engine.checkpoint import CHECKPOINT_DAMAGED, restore_checkpoint
from pando_worker.engine.job import ResidentJob, TrainingJob
from pando_worker.token_file import TokenFile

log = logging.getLogger(__name__)


def training_job(job: Job, storage: Storage, cache: Path) -> TrainingJob:
    """What the engine needs, its data mapped from storage or from a copy of it.

    Raises:
        TrainingFailed: the prepared data is gone or damaged.
        OSError: storage does not answer.
    """
    try:
        train = TokenFile.open(_local(storage, layout.tokens(job.id, "train"), cache))
        valid = None
        if job.spec.validation_file is not None:
            valid = TokenFile.open(_local(storage, layout.tokens(job.id, "valid"), cache))
    except (NotFound, FileNotFoundError, ValueError, EOFError) as error:
        raise TrainingFailed(
            f"the prepared data of job {job.id} is gone or damaged: {error}; submit it again",
            code="data_missing",
        ) from error
    plan = resolve(job.training or job.spec.training, job.spec.adapter, len(train))
    return TrainingJob(job.id, job.spec.adapter, plan, train, valid)


def _local(storage: Storage, path: str, cache: Path) -> Path:
    here = storage.local_path(path)
    if here is not None:
        return here
    copy = cache / path
    if not copy.exists():
        partial = copy.with_name(copy.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        storage.download_folder(path, partial)
        partial.rename(copy)
    return copy


def forget_copies(job_id: str, cache: Path) -> None:
    """Remove what was copied here for a job."""
    shutil.rmtree(cache / layout.job(job_id), ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Restored:
    """Where a job goes on: `step` 0 is the start. `damage` says what was wrong with the newest
    checkpoint, if it was not this one."""

    step: int
    damage: str | None = None


def restore_latest(resident: ResidentJob, storage: Storage, cache: Path) -> Restored:
    """Continue from the newest checkpoint that is whole, or from the start: either way the job
    ends as it would have. The damaged ones are deleted, lest they count as the newest.

    Raises:
        TrainingFailed: a checkpoint is whole, but was written for another configuration.
        OSError: storage does not answer.
    """
    job_id = resident.job.id
    damaged: list[str] = []
    damage: str | None = None
    scratch = cache / layout.checkpoints(job_id)
    for name in reversed(storage.names(layout.checkpoints(job_id))):
        shutil.rmtree(scratch, ignore_errors=True)
        try:
            restore_checkpoint(resident, *_with_earlier(job_id, name, storage, scratch))
        except TrainingFailed as error:
            if error.code != CHECKPOINT_DAMAGED:
                raise
            log.warning("job %s: %s; trying the one before", job_id, error.message)
            damaged.append(name)
            damage = damage or error.message
            continue
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        break
    for name in damaged:
        storage.delete(layout.checkpoint(job_id, name))
    return Restored(resident.step, damage)


def _with_earlier(job_id: str, name: str, storage: Storage, scratch: Path) -> list[Path]:
    """Copies of a checkpoint and of those that it builds on, newest first.

    Raises:
        TrainingFailed: one of them is gone.
    """
    folders: list[Path] = []
    wanted: str | None = name
    while wanted is not None:
        folder = scratch / wanted
        try:
            storage.download_folder(layout.checkpoint(job_id, wanted), folder)
        except NotFound as error:
            raise TrainingFailed(
                f"checkpoint {name} builds on {wanted}, which is gone", code=CHECKPOINT_DAMAGED
            ) from error
        folders.append(folder)
        wanted = _since(storage, layout.checkpoint(job_id, wanted))
    return folders


def prune_checkpoints(job_id: str, storage: Storage, keep: int = 2) -> None:
    """Delete all but the newest checkpoints, and what those build on."""
    at = layout.checkpoints(job_id)
    names = storage.names(at)
    needed = set(names[-keep:])
    for name in reversed(names):
        if name in needed and (since := _since(storage, f"{at}/{name}")) is not None:
            needed.add(since)
    for name in names:
        if name not in needed:
            storage.delete(f"{at}/{name}")


def _since(storage: Storage, path: str) -> str | None:
    """The name of the checkpoint that the one at `path` builds on; of a damaged one, none."""
    try:
        since = json.loads(storage.read(f"{path}/manifest.json"))["since"]
        return None if since is None else str(since)
    except (NotFound, ValueError, KeyError, TypeError):
        return None
