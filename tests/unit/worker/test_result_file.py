"""The results file: OpenAI's header, one row a step, and the same file when made again."""

from __future__ import annotations

import csv
import io

from factories import make_job

from pando_shared import layout
from pando_shared.records import Event
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_worker.result_file import publish_results

HEADER = (
    "step,train_loss,train_accuracy,train_mean_token_accuracy,"
    "valid_loss,valid_mean_token_accuracy,full_valid_loss,full_valid_mean_token_accuracy"
)


def test_training_and_validation_of_a_step_share_a_row(store: Store, storage: Storage) -> None:
    job = store.create_job(make_job())
    train = {"step": 1, "train_loss": 0.5, "train_mean_token_accuracy": 0.75}
    valid = {"step": 1, "valid_loss": 0.25, "valid_mean_token_accuracy": 1.0}
    later = [Event(2.0, "x", type="metrics", data={**train, "step": n}) for n in range(2, 1500)]
    store.append_events(
        job.id,
        [
            Event(0.0, "Step 1 is near"),
            Event(1.0, "x", type="metrics", data=train),
            Event(1.0, "x", type="metrics", data=valid),
            *later,
        ],
    )
    file_id = publish_results(store, storage, job, 9.0)
    text = storage.read(layout.file_content(file_id)).decode()
    assert text.splitlines()[:3] == [
        HEADER,
        "1,0.5,0.75,0.75,0.25,1.0,0.25,1.0",
        "2,0.5,0.75,0.75,,,,",
    ]
    assert len(list(csv.DictReader(io.StringIO(text)))) == 1499
    record = store.get_file(job.spec.tenant, file_id)
    assert (record.purpose, record.bytes) == ("fine-tune-results", len(text))


def test_making_it_again_replaces_it(store: Store, storage: Storage) -> None:
    job = store.create_job(make_job())
    first, again = (publish_results(store, storage, job, 9.0) for _ in range(2))
    assert first == again
    assert len(store.list_files(job.spec.tenant)) == 1
    assert storage.read(layout.file_content(first)).decode().strip() == HEADER
