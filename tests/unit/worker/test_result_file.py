"""The results file: OpenAI's header, one row a step, and the same file when made again."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from factories import make_job
from worker_world import TENANT, World

from pando_shared import layout
from pando_shared.jobs import HalvingRule
from pando_shared.records import Event
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_worker.result_file import publish_results, results_csv

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
    file_id = publish_results(store, storage, job, 1499, 9.0)
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
    first, again = (publish_results(store, storage, job, 10, 9.0) for _ in range(2))
    assert first == again
    assert len(store.list_files(job.spec.tenant)) == 1
    assert storage.read(layout.file_content(first)).decode().strip() == HEADER


def test_steps_done_again_count_once_and_lost_ones_not_at_all() -> None:
    """A worker died after step 4; done again from step 2 on, the job stopped early at step 3."""

    def metrics(step: int, **values: float) -> Event:
        return Event(1.0, "x", type="metrics", data={"step": step, **values})

    first = [metrics(n, train_loss=float(n), valid_loss=n + 0.5) for n in (1, 2, 3, 4)]
    again = [metrics(n, train_loss=n + 10.0, valid_loss=n + 10.5) for n in (2, 3)]
    rows = list(csv.DictReader(io.StringIO(results_csv([*first, *again], 3).decode())))
    assert [(row["step"], row["train_loss"], row["full_valid_loss"]) for row in rows] == [
        ("1", "1.0", "1.5"),
        ("2", "12.0", "12.5"),
        ("3", "13.0", "13.5"),
    ]


@pytest.mark.parametrize("trial", [False, True], ids=["job", "trial of a sweep"])
def test_a_job_whose_worker_was_killed_has_each_step_once(world: World, trial: bool) -> None:
    rule = HalvingRule(2, 2) if trial else None
    job_id = world.submit(valid=True, halving=rule, n_epochs=100)
    world.round(job_id, seconds=125)
    world.host.keeper.flush(job_id)  # it told of steps that its checkpoint does not hold
    world.start_worker()
    world.place(job_id)
    world.round(job_id)
    assert any(text.startswith("Training resumed") for text in world.messages(job_id))
    (file_id,) = world.job(job_id).result_files
    record = world.store.get_file(TENANT, file_id)
    assert (record.purpose, record.filename) == ("fine-tune-results", "step_metrics.csv")
    text = world.storage.read(layout.file_content(file_id)).decode()
    assert text.splitlines()[0] == HEADER
    rows = list(csv.DictReader(io.StringIO(text)))
    steps = world.job(job_id).progress.step
    assert [int(row["step"]) for row in rows] == [*range(1, steps + 1)]
    assert all(float(row["train_loss"]) > 0 for row in rows)
    told = {
        event.data["step"]: event.data["valid_loss"]
        for event in world.store.events(job_id)
        if "valid_loss" in event.data
    }
    valid = {int(row["step"]): float(row["valid_loss"]) for row in rows if row["valid_loss"]}
    assert valid == told
    assert steps in valid


def test_the_results_come_before_files_that_exports_have_added(world: World) -> None:
    job_id = world.submit()
    world.store.update_job(job_id, lambda job: replace(job, result_files=("file-curves",)))
    world.round(job_id)
    results, curves = world.job(job_id).result_files
    assert world.store.get_file(TENANT, results).filename == "step_metrics.csv"
    assert curves == "file-curves"
