"""Jobs in every store."""

import threading
from dataclasses import replace

import pytest
from factories import EPOCH_START, make_job

from pando_shared.errors import IllegalTransition, NotFound, StaleEpoch
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.records import CheckpointRecord, Event, ModelRecord
from pando_shared.store import Change, Store


def test_a_created_job_is_found_in_all_places(store: Store) -> None:
    job = make_job(tenant="acme")
    assert store.create_job(job) == job
    assert store.get_job(job.id) == job
    assert store.get_jobs([job.id, "ftjob-none"]) == [job, None]
    assert store.list_jobs("acme") == [job]
    assert store.list_jobs("other") == []
    assert store.jobs_in(JobState.QUEUED) == [job]
    assert store.count_jobs() == {state: int(state is JobState.QUEUED) for state in JobState}


def test_a_group_is_found_whole_and_for_its_tenant_alone(store: Store) -> None:
    def member(number: int, group: str | None, tenant: str = "acme") -> Job:
        job = make_job(tenant=tenant, created_at=EPOCH_START + number)
        return replace(job, spec=replace(job.spec, group=group))

    third, first, second = (member(number, "sweep-1") for number in (3, 1, 2))
    store.create_job(third)
    store.create_job(first, "key")
    assert store.restore_job(second)
    for other in (member(0, None), member(0, "sweep"), member(0, "sweep-1", "other")):
        store.create_job(other)
    ended = store.update_job(first.id, lambda job: job.to(JobState.CANCELLED))
    assert store.jobs_of_group("acme", "sweep-1") == [ended, second, third]
    assert store.jobs_of_group("acme", "sweep-2") == []
    # A name may hold what others take for separators.
    odd = member(0, '1", "x', 'a["b')
    store.create_job(odd)
    assert store.jobs_of_group('a["b', '1", "x') == [odd]


def test_an_unknown_job_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.get_job("ftjob-none")
    with pytest.raises(NotFound):
        store.update_job("ftjob-none", lambda job: job)
    with pytest.raises(NotFound):
        store.append_events("ftjob-none", [Event(0.0, "hello")])
    assert store.get_jobs([]) == []


def test_an_idempotency_key_returns_the_first_job_of_that_tenant(store: Store) -> None:
    first, second = make_job(), make_job()
    elsewhere = make_job(tenant="other")
    assert store.create_job(first, "key") == first
    assert store.create_job(second, "key") == first
    assert store.create_job(elsewhere, "key") == elsewhere
    assert store.list_jobs("acme") == [first]


def test_creating_a_job_again_keeps_what_it_has_become(store: Store) -> None:
    job = store.create_job(make_job())
    paused = store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    assert store.create_job(job) == paused


def test_restoring_never_overwrites(store: Store) -> None:
    job = make_job()
    assert store.restore_job(job)
    running = store.update_job(job.id, lambda job: job.to(JobState.RUNNING))
    assert not store.restore_job(job)
    assert store.get_job(job.id) == running


def test_an_update_moves_the_job_between_indexes(store: Store) -> None:
    job = store.create_job(make_job())
    lease = Lease("w1", "first", EPOCH_START + 15)
    running = store.update_job(job.id, lambda job: replace(job.to(JobState.RUNNING), lease=lease))
    assert store.jobs_in(JobState.QUEUED) == []
    assert store.jobs_in(JobState.QUEUED, JobState.RUNNING) == [running]
    assert store.leased_jobs() == [running]
    paused = store.update_job(job.id, lambda job: job.to(JobState.PAUSED))
    assert store.leased_jobs() == [paused]
    cancelled = store.update_job(job.id, lambda job: job.to(JobState.CANCELLED))
    assert store.leased_jobs() == []
    assert store.jobs_in(JobState.CANCELLED) == [cancelled]


def test_a_refused_update_writes_nothing(store: Store) -> None:
    job = store.create_job(make_job())

    def refused(job: Job) -> Change:
        return Change(job.to(JobState.SUCCEEDED), events=(Event(0.0, "done"),))

    with pytest.raises(IllegalTransition):
        store.update_job(job.id, refused)
    assert store.get_job(job.id) == job
    assert store.events(job.id) == []


def test_a_change_writes_job_events_model_and_checkpoint(store: Store) -> None:
    job = store.create_job(make_job())
    model = ModelRecord("ft:tiny:acme::1", "acme", "tiny", job.id, "lora", "jobs/x/export", 1.0)
    checkpoint = CheckpointRecord("ckpt-1", job.id, f"{model.name}:ckpt-step-8", 8, 1.0)
    change = Change(job, (Event(1.0, "one"), Event(2.0, "two")), model, checkpoint)
    store.update_job(job.id, lambda _: change)
    assert [(e.seq, e.message) for e in store.events(job.id)] == [(0, "one"), (1, "two")]
    assert store.get_model("acme", model.name) == model
    assert store.checkpoints(job.id) == [checkpoint]


def test_pages_are_newest_first_and_stable_where_times_are_equal(store: Store) -> None:
    jobs = [store.create_job(make_job(created_at=EPOCH_START + i // 3)) for i in range(11)]
    expected = sorted(jobs, key=lambda job: (job.created_at, job.id), reverse=True)
    seen: list[Job] = []
    while page := store.list_jobs("acme", after=seen[-1].id if seen else None, limit=4):
        # A job that arrives between two pages shifts nothing.
        store.create_job(make_job(created_at=EPOCH_START + 100))
        seen += page
    assert seen == expected


def test_a_page_behind_another_tenants_job_is_not_found(store: Store) -> None:
    job = store.create_job(make_job(tenant="other"))
    with pytest.raises(NotFound):
        store.list_jobs("acme", after=job.id)
    assert store.list_jobs("other", limit=0) == []


def test_a_tenants_live_jobs_are_counted(store: Store) -> None:
    live = (JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
    for state in JobState:
        store.create_job(make_job(tenant="acme", state=state))
    store.create_job(make_job(tenant="other"))
    assert store.count_live("acme") == dict.fromkeys(live, 1)
    ended = store.create_job(make_job(tenant="other"))
    store.update_job(ended.id, lambda job: job.to(JobState.CANCELLED))
    assert sum(store.count_live("other").values()) == 1


def test_jobs_of_a_state_come_oldest_first(store: Store) -> None:
    late = store.create_job(make_job(created_at=EPOCH_START + 9))
    early = store.create_job(make_job(tenant="other", created_at=EPOCH_START))
    assert store.jobs_in(JobState.QUEUED) == [early, late]
    assert store.jobs_in() == []


def test_events_are_numbered_and_paged_both_ways(store: Store) -> None:
    job = store.create_job(make_job())
    store.append_events(job.id, [Event(float(i), f"e{i}", data={"step": i}) for i in range(7)])

    def seqs(events: list[Event]) -> list[int]:
        return [event.seq for event in events]

    assert seqs(store.events(job.id, start=5)) == [5, 6]
    assert seqs(store.events(job.id, start=2, limit=2)) == [2, 3]
    assert seqs(store.events_before(job.id, limit=3)) == [6, 5, 4]
    assert seqs(store.events_before(job.id, seq=4, limit=3)) == [3, 2, 1]
    assert seqs(store.events_before(job.id, seq=2, limit=3)) == [1, 0]
    assert seqs(store.events_before(job.id, seq=99, limit=1)) == [6]
    assert store.events_before(job.id, seq=0) == []
    assert store.events("ftjob-none") == store.events_before("ftjob-none") == []
    assert store.events(job.id)[3].data == {"step": 3}


def test_events_of_a_stale_writer_are_refused(store: Store) -> None:
    job = store.create_job(make_job(epoch=3))
    store.append_events(job.id, [Event(0.0, "mine")], epoch=3)
    with pytest.raises(StaleEpoch):
        store.append_events(job.id, [Event(0.0, "stale")], epoch=2)
    assert [event.message for event in store.events(job.id)] == ["mine"]


def test_a_checkpoint_written_twice_is_listed_once_and_newest_come_first(store: Store) -> None:
    job = store.create_job(make_job())
    for step, at in ((8, 1.0), (16, 2.0), (16, 2.0)):
        record = CheckpointRecord(f"ckpt-{step}", job.id, f"m:ckpt-step-{step}", step, at)
        store.update_job(job.id, lambda job, record=record: Change(job, checkpoint=record))
    assert [record.step for record in store.checkpoints(job.id)] == [16, 8]


def test_updates_from_many_threads_lose_nothing(store: Store) -> None:
    job = store.create_job(make_job())

    def count_up() -> None:
        for _ in range(20):
            store.update_job(
                job.id,
                lambda job: Change(replace(job, attempts=job.attempts + 1), (Event(0.0, "+"),)),
            )

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get_job(job.id).attempts == 80
    assert len(store.events(job.id)) == 80


def test_a_job_counts_as_recorded_only_as_it_is_now(store: Store) -> None:
    job = store.create_job(make_job())
    running = store.update_job(job.id, lambda job: replace(job.to(JobState.RUNNING), epoch=1))
    assert store.unrecorded() == [job.id]
    queued = store.update_job(job.id, lambda job: replace(job.to(JobState.QUEUED), epoch=2))
    store.recorded(running)  # a writer that was overtaken
    assert store.unrecorded() == [job.id]
    store.recorded(queued)
    assert store.unrecorded() == []
    store.update_job(job.id, lambda job: replace(job, attempts=1))  # of no matter to storage
    assert store.unrecorded() == []
