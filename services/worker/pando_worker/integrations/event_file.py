"""TensorBoard: an event file among the job's result files, written anew each time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pando_shared import layout, lifecycle
from pando_shared.codec import encode
from pando_shared.jobs import Job
from pando_shared.records import FileRecord
from pando_worker.integrations.context import ExportContext
from pando_worker.metric_rows import MetricRow


def event_file_id(job_id: str) -> str:
    """It follows from the job's, so that writing the file again replaces it."""
    return f"file-{job_id.removeprefix('ftjob-')}-tensorboard"


def publish_event_file(job: Job, rows: Sequence[MetricRow], context: ExportContext) -> None:
    """Make the tenant's file, and name it among the job's results if it is not there yet."""
    content = event_file(rows)
    file_id = event_file_id(job.id)
    record = FileRecord(
        file_id,
        job.spec.tenant,
        f"events.out.tfevents.{int(job.created_at)}.{job.id}",  # TensorBoard looks for such names
        "fine-tune-results",
        len(content),
        context.clock.now(),
    )
    context.storage.write(layout.file_content(file_id), content)
    context.storage.write(layout.file_record(file_id), encode(record))
    context.store.put_file(record)
    if file_id not in job.result_files:
        lifecycle.transition(context.store, context.storage, job.id, lambda j: _with(j, file_id))


def event_file(rows: Sequence[MetricRow]) -> bytes:
    """A scalar for each measure of each step, at the time it was told."""
    from tensorboardX import SummaryWriter

    with tempfile.TemporaryDirectory(prefix="pando-") as folder:
        with SummaryWriter(folder) as writer:
            for row in rows:
                for name, value in row.numbers().items():
                    writer.add_scalar(name, value, row.step, row.told_at)
        (file,) = Path(folder).iterdir()
        return file.read_bytes()


def _with(job: Job, file_id: str) -> Job:
    others = tuple(known for known in job.result_files if known != file_id)
    return replace(job, result_files=(*others, file_id))
