"""The task as the worker that prepares data runs it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from curve_jobs import told
from factories import make_job

from pando_shared.clock import FakeClock
from pando_shared.integrations import TensorBoard
from pando_shared.jobs import JobState
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store.messages import EXPORT_TASK
from pando_shared.store.redis import RedisStore
from pando_worker.integrations.event_file import event_file_id
from pando_worker.tasks import prepare_app

pytest.importorskip("tensorboardX", reason="the extra pando-worker[tensorboard]")


def test_the_task_works_on_the_services_own_store_and_storage(
    redis_url: str, storage: Storage, clock: FakeClock
) -> None:
    store = RedisStore(redis_url, clock)
    plain = make_job(state=JobState.RUNNING)
    job = store.create_job(replace(plain, spec=replace(plain.spec, integrations=(TensorBoard(),))))
    store.append_events(job.id, [told(1, train_loss=0.5)])
    app = prepare_app(Settings(redis_url=redis_url, storage_url=f"file://{storage.root}"))
    app.tasks[EXPORT_TASK](job.id)
    assert store.get_job(job.id).result_files == (event_file_id(job.id),)
    store.close()
