"""Everything comes back from storage; nothing that lives is touched."""

from dataclasses import replace

import pytest
from factories import EPOCH_START, make_job
from redis import Redis

from pando_shared import layout, lifecycle
from pando_shared.api_keys import digest, new_api_key
from pando_shared.clock import FakeClock
from pando_shared.codec import decode, encode
from pando_shared.errors import StaleEpoch
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.records import FileRecord, ModelRecord
from pando_shared.recovery import is_lost, recover
from pando_shared.storage import Storage
from pando_shared.store import Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.stub import StubStore

LEASE = Lease("w1", "first", EPOCH_START + 15)


def test_a_flushed_redis_is_rebuilt(redis_url: str, storage: Storage, clock: FakeClock) -> None:
    store = RedisStore(redis_url, clock)
    secret, key = new_api_key("acme", "first", EPOCH_START)
    file = FileRecord("file-1", "acme", "a.jsonl", "fine-tune", 10, EPOCH_START)
    model = ModelRecord("ft:tiny:acme::1", "acme", "tiny", "ftjob-1", "lora", "p", EPOCH_START)
    storage.write(layout.api_key(key.id), encode(key))
    storage.write(layout.file_record(file.id), encode(file))
    storage.write(layout.model_record(model.job_id), encode(model))
    job = make_job()
    lifecycle.submit(store, storage, job)
    with Redis.from_url(redis_url) as client:
        client.flushall()
    assert is_lost(store, storage)
    report = recover(store, storage, clock.now())
    assert (report.jobs, report.requeued, report.files, report.models, report.keys) == (1,) * 5
    assert not is_lost(store, storage)
    assert store.find_key(digest(secret)) == key
    assert store.get_file("acme", file.id) == file
    assert store.get_model("acme", model.name) == model
    assert [job.id for job in store.list_jobs("acme")] == [job.id]
    store.close()


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (JobState.VALIDATING, JobState.VALIDATING),
        (JobState.QUEUED, JobState.QUEUED),
        (JobState.RUNNING, JobState.QUEUED),
        (JobState.PAUSED, JobState.PAUSED),
        (JobState.SUCCEEDED, JobState.SUCCEEDED),
        (JobState.FAILED, JobState.FAILED),
        (JobState.CANCELLED, JobState.CANCELLED),
    ],
)
def test_each_state_comes_back_as_it_can_go_on(
    storage: Storage, clock: FakeClock, state: JobState, expected: JobState
) -> None:
    store = StubStore(clock)
    lease = LEASE if state in (JobState.RUNNING, JobState.PAUSED) else None
    job = make_job(state=state, epoch=4, lease=lease)
    lifecycle.record(store, storage, job)
    recover(store, storage, clock.now())
    back = store.get_job(job.id)
    assert (back.state, back.lease) == (expected, None)
    assert decode(Job, storage.read(layout.job_record(job.id))) == back


def test_a_writer_from_before_is_shut_out(storage: Storage, clock: FakeClock) -> None:
    store = StubStore(clock)
    job = make_job(state=JobState.RUNNING, epoch=4, lease=LEASE)
    lifecycle.record(store, storage, job)
    recover(store, storage, clock.now())
    back = store.get_job(job.id)
    # 5 is what a worker holds whose placement was not recorded any more.
    for epoch in (4, 5):
        with pytest.raises(StaleEpoch):
            back.fenced(epoch)


def test_recovery_leaves_a_live_job_alone_and_can_be_repeated(
    store: Store, storage: Storage, clock: FakeClock
) -> None:
    running = make_job(state=JobState.RUNNING, lease=LEASE)
    lifecycle.submit(store, storage, running)
    live = store.update_job(running.id, lambda job: replace(job, attempts=1))
    lost = make_job(state=JobState.RUNNING, lease=LEASE)
    lifecycle.record(StubStore(), storage, lost)
    assert recover(store, storage, clock.now()).jobs == 1
    after = store.get_job(lost.id)
    assert recover(store, storage, clock.now()).jobs == 0
    assert store.get_job(running.id) == live
    assert store.get_job(lost.id) == after


def test_what_cannot_be_read_is_reported_and_the_rest_recovered(
    storage: Storage, clock: FakeClock
) -> None:
    store, job = StubStore(clock), make_job()
    lifecycle.record(StubStore(), storage, job)
    storage.write(layout.job_record("ftjob-broken"), b"{ half a record")
    storage.write("files/file-none/content", b"an upload that was not completed")
    report = recover(store, storage, clock.now())
    assert report.unreadable == (layout.job_record("ftjob-broken"),)
    assert (report.jobs, report.files) == (1, 0)
    assert store.get_job(job.id).state is JobState.QUEUED
