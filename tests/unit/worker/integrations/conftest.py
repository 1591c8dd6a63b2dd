"""A job that has told of two steps, the second of them validated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from curve_jobs import JobWith, told
from factories import make_job

from pando_shared import lifecycle
from pando_shared.clock import FakeClock
from pando_shared.integrations import Integration
from pando_shared.jobs import Job, JobState, Progress
from pando_shared.records import Event
from pando_shared.settings import Settings
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_worker.integrations.context import ExportContext


@pytest.fixture
def context(store: Store, storage: Storage, clock: FakeClock) -> ExportContext:
    return ExportContext(store, storage, clock, Settings())


@pytest.fixture
def job_with(store: Store) -> JobWith:
    def make(integration: Integration) -> Job:
        plain = make_job(state=JobState.RUNNING, progress=Progress(step=2))
        spec = replace(plain.spec, integrations=(integration,))
        job = store.create_job(replace(plain, spec=spec))
        events = [told(1, train_loss=0.5), told(2, train_loss=0.25), told(2, valid_loss=0.75)]
        store.append_events(job.id, [Event(99.0, "Training started"), *events])
        return job

    return make


@pytest.fixture
def end(store: Store, storage: Storage) -> Callable[[Job], Job]:
    """Have a job succeed at the step it has come to."""

    def succeed(job: Job) -> Job:
        return lifecycle.transition(
            store,
            storage,
            job.id,
            lambda job: replace(job.to(JobState.SUCCEEDED), finished_at=200.0),
        )

    return succeed
