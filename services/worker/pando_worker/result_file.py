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
from pando_worker.metric_rows import all_events, metric_rows

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
    content = results_csv(all_events(store, job.id), last_step)
    file_id = f"file-{job.id.removeprefix('ftjob-')}"
    record = FileRecord(
        file_id, job.spec.tenant, "step_metrics.csv", "fine-tune-results", len(content), now
    )
    storage.write(layout.file_content(file_id), content)
    storage.write(layout.file_record(file_id), encode(record))
    store.put_file(record)
    return file_id


def results_csv(events: Iterable[Event], last_step: int) -> bytes:
    """A row a step up to `last_step`, as `metric_rows` has them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in metric_rows(events, last_step):
        writer.writerow([row.data.get(_SAME_AS.get(column, column), "") for column in COLUMNS])
    return text.getvalue().encode()
