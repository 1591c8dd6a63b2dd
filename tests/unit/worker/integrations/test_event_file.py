"""TensorBoard's event file holds what the job told, and is one of its results."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest
from curve_jobs import JobWith, told

from pando_shared import layout
from pando_shared.codec import decode
from pando_shared.history import move_to_storage
from pando_shared.integrations import TensorBoard
from pando_shared.jobs import Job
from pando_worker.integrations.context import ExportContext
from pando_worker.integrations.event_file import event_file_id
from pando_worker.integrations.export import export_job

pytest.importorskip("tensorboardX", reason="the extra pando-worker[tensorboard]")

Scalar = tuple[str, int, float, float]


def scalars(content: bytes) -> Iterator[Scalar]:
    """Name, step, value and time of each, by TFRecord's framing: length, its sum, data, its sum."""
    from tensorboardX.proto.event_pb2 import Event

    while content:
        (length,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + length])
        for value in event.summary.value:
            yield value.tag, event.step, value.simple_value, event.wall_time
        content = content[16 + length :]


def exported(job: Job, context: ExportContext) -> list[Scalar]:
    export_job(job.id, context)
    return list(scalars(context.storage.read(layout.file_content(event_file_id(job.id)))))


def test_the_file_grows_with_the_job_and_is_there_once(
    context: ExportContext, job_with: JobWith, end: Callable[[Job], Job]
) -> None:
    job = job_with(TensorBoard())
    so_far = [
        ("train_loss", 1, 0.5, 101.0),
        ("train_loss", 2, 0.25, 102.0),
        ("valid_loss", 2, 0.75, 102.0),
    ]
    assert exported(job, context) == so_far
    context.store.append_events(job.id, [told(3, train_loss=0.125)])
    assert exported(job, context) == [*so_far, ("train_loss", 3, 0.125, 103.0)]
    end(job)  # at step 2: the third was lost with its worker
    assert exported(job, context) == so_far

    stored = context.store.get_job(job.id)
    assert stored.result_files == (event_file_id(job.id),)
    assert decode(Job, context.storage.read(layout.job_record(job.id))) == stored
    (record,) = context.store.list_files(job.spec.tenant)
    assert record.purpose == "fine-tune-results"
    assert ".tfevents." in record.filename
    assert record.bytes == context.storage.size(layout.file_content(record.id))


def test_a_late_export_has_the_steps_that_have_moved_to_storage(
    context: ExportContext, job_with: JobWith, end: Callable[[Job], Job]
) -> None:
    job = end(job_with(TensorBoard()))
    whole = exported(job, context)
    move_to_storage(context.store, context.storage, job.id)
    assert context.store.events(job.id) == []
    assert exported(job, context) == whole
