"""The store in memory and the one in Redis give the same answers to the same calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from factories import EPOCH_START, make_job, make_worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis_process import RedisProcess

from pando_shared.clock import FakeClock
from pando_shared.errors import PandoError
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.records import ApiKey, CheckpointRecord, Event, FileRecord, ModelRecord
from pando_shared.store import Change, Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.stub import StubStore
from pando_shared.workers import Assignment, Round, SampleChunk

#: One call, as a function of a store, so that both stores get the same one.
Call = Callable[[Store], Any]

job_ids = st.sampled_from(["ftjob-a", "ftjob-b", "ftjob-c"])
tenants = st.sampled_from(["acme", "other"])
small = st.integers(0, 4)
times = st.integers(0, 2).map(lambda seconds: EPOCH_START + seconds)
workers = st.sampled_from(["w1", "w2"])


def change(job: Job, state: JobState | None, lease: Lease | None, said: int) -> Change:
    moved = job if state is None else job.to(state)
    moved = replace(moved, lease=moved.lease if lease is None else lease, epoch=job.epoch + 1)
    model = ModelRecord(f"ft:{job.id}", job.spec.tenant, "tiny", job.id, "lora", "p", EPOCH_START)
    checkpoint = CheckpointRecord(f"ckpt-{said}", job.id, "m", said, EPOCH_START)
    return Change(
        moved,
        tuple(Event(EPOCH_START, f"said {i}", data={"step": i, "loss": 0.5}) for i in range(said)),
        model if said == 3 else None,
        checkpoint if said else None,
    )


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Call]:
    job_id, tenant, worker_id = draw(job_ids), draw(tenants), draw(workers)
    number, at = draw(small), draw(times)
    state = draw(st.none() | st.sampled_from(JobState))
    lease = draw(st.none() | st.just(Lease("w1", "first", EPOCH_START)))
    key = draw(st.none() | st.just("key"))
    job = make_job(job_id, tenant=tenant, created_at=at, lease=lease)
    file = FileRecord(f"file-{number}", tenant, "a.jsonl", "fine-tune", number, at)
    api_key = ApiKey(
        f"key-{number}", tenant, "k", f"digest-{number}", "sk", at, draw(st.none() | times)
    )
    planned = Round(
        f"round-{number}", worker_id, "first", "tiny", (Assignment(job_id, number),), 20.0, 9, at
    )
    events = [Event(at, f"event {i}") for i in range(number)]
    states = draw(st.lists(st.sampled_from(JobState), max_size=3))
    chunk = SampleChunk("text", number)
    choices: dict[str, Call] = {
        "create_job": lambda s: s.create_job(job, key),
        "restore_job": lambda s: s.restore_job(job),
        "get_job": lambda s: s.get_job(job_id),
        "get_jobs": lambda s: s.get_jobs([job_id, "ftjob-none"]),
        "update_job": lambda s: s.update_job(job_id, lambda j: change(j, state, lease, number)),
        "list_jobs": lambda s: s.list_jobs(tenant, after=job_id if number else None, limit=number),
        "jobs_in": lambda s: s.jobs_in(*states),
        "leased_jobs": lambda s: s.leased_jobs(),
        "count_jobs": lambda s: s.count_jobs(),
        "append_events": lambda s: s.append_events(job_id, events, number if key else None),
        "events": lambda s: s.events(job_id, start=number, limit=2),
        "events_before": lambda s: s.events_before(job_id, seq=number if key else None, limit=2),
        "checkpoints": lambda s: s.checkpoints(job_id),
        "put_file": lambda s: s.put_file(file),
        "get_file": lambda s: s.get_file(tenant, file.id),
        "list_files": lambda s: s.list_files(tenant),
        "delete_file": lambda s: s.delete_file(tenant, file.id),
        "get_model": lambda s: s.get_model(tenant, f"ft:{job_id}"),
        "list_models": lambda s: s.list_models(tenant),
        "delete_model": lambda s: s.delete_model(tenant, f"ft:{job_id}"),
        "put_key": lambda s: s.put_key(api_key),
        "find_key": lambda s: s.find_key(f"digest-{number}"),
        "list_keys": lambda s: s.list_keys(),
        "put_worker": lambda s: s.put_worker(make_worker(worker_id, peak_bytes=number)),
        "list_workers": lambda s: s.list_workers(),
        "remove_worker": lambda s: s.remove_worker(worker_id),
        "plan_round": lambda s: s.plan_round(planned),
        "begin_round": lambda s: s.begin_round(planned.id, worker_id, "first", at),
        "withdraw_round": lambda s: s.withdraw_round(planned.id),
        "end_round": lambda s: s.end_round(planned.id),
        "rounds": lambda s: s.rounds(),
        "push_sample_chunks": lambda s: s.push_sample_chunks(job_id, [chunk] * number),
        "sample_chunks": lambda s: s.sample_chunks(job_id, number),
        "request_sample": lambda s: s.request_sample(worker_id, f"sample-{number}"),
        "sample_done": lambda s: s.sample_done(worker_id, f"sample-{number}"),
        "samples_waiting": lambda s: s.samples_waiting(worker_id),
    }
    # Without many jobs and many changes, the reads would all agree on nothing.
    name = draw(st.sampled_from([*choices, *["create_job", "update_job"] * 5]))
    return name, choices[name]


def outcome(store: Store, call: Call) -> object:
    try:
        return call(store)
    except PandoError as error:
        return type(error)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=st.lists(calls(), min_size=1, max_size=40))
def test_both_stores_answer_alike(
    redis_process: RedisProcess, script: list[tuple[str, Call]]
) -> None:
    clock = FakeClock()
    with Redis.from_url(redis_process.url) as client:
        client.flushall()
    stub, redis = StubStore(clock), RedisStore(redis_process.url, clock)
    try:
        for name, call in script:
            assert outcome(redis, call) == outcome(stub, call), name
    finally:
        redis.close()
