"""The results of a job as OpenAI's CSV: one row a reported step, losses and accuracies."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from pando_shared import layout
from pando_shared.codec import encode
from pando_shared.jobs import Job
from pando_shared.records import Event, FileRecord
from pando_shared.storage import Storage
from pando_shared.store import Store

COLUMNS = (
    "step",
    "train_loss",
    "train_accuracy",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)
#: Columns that OpenAI keeps apart and Pando does not: its validations cover the whole file.
_SAME_AS = {
    "train_accuracy": "train_mean_token_accuracy",
    "full_valid_loss": "valid_loss",
    "full_valid_mean_token_accuracy": "valid_mean_token_accuracy",
}


def publish_results(store: Store, storage: Storage, job: Job, last_step: int, now: float) -> str:
    """Make the tenant's results file from the job's metrics events; returns the file's id.

    The id follows from the job's, so that doing it again replaces the file.
    """
    content = results_csv(_all_events(store, job.id), last_step)
    file_id = f"file-{job.id.removeprefix('ftjob-')}"
    record = FileRecord(
        file_id, job.spec.tenant, "step_metrics.csv", "fine-tune-results", len(content), now
    )
    storage.write(layout.file_content(file_id), content)
    storage.write(layout.file_record(file_id), encode(record))
    store.put_file(record)
    return file_id


def results_csv(events: Iterable[Event], last_step: int) -> bytes:
    """Metrics events of one step, training and validation, become one row.

    A step that was done again counts as it was the last time. One beyond `last_step` was lost with
    its worker, and is not part of the model: done again, the job may have stopped earlier.
    """
    rows: dict[int, dict[str, float | int | str | None]] = {}
    for event in events:
        step = event.data.get("step")
        if event.type == "metrics" and isinstance(step, int) and step <= last_step:
            rows.setdefault(step, {}).update(event.data)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for _, row in sorted(rows.items()):
        writer.writerow([row.get(_SAME_AS.get(column, column), "") for column in COLUMNS])
    return text.getvalue().encode()


def _all_events(store: Store, job_id: str) -> Iterable[Event]:
    start = 0
    while page := store.events(job_id, start=start):
        yield from page
        start = page[-1].seq + 1
