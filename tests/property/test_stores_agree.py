"""The store in memory and the one in Redis give the same answers to the same calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from factories import EPOCH_START, make_job, make_worker
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis
from redis_process import RedisProcess

from pando_shared.adapters import LoraConfig, PacaConfig
from pando_shared.clock import FakeClock
from pando_shared.errors import PandoError
from pando_shared.forecasts import Forecast, Usage
from pando_shared.jobs import Job, JobState, Lease
from pando_shared.records import ApiKey, CheckpointRecord, Event, FileRecord, ModelRecord
from pando_shared.reports import JobService, RoundReport
from pando_shared.store import Change, NewJob, Store
from pando_shared.store.redis import RedisStore
from pando_shared.store.stub import StubStore
from pando_shared.store.values import CHANGES_KEPT
from pando_shared.stored_bytes import file_thing
from pando_shared.uploads import Upload, UploadPart
from pando_shared.webhooks import EVENT_TYPES, Delivery, WebhookEndpoint
from pando_shared.workers import Assignment, Round, SampleChunk

#: One call, as a function of a store, so that both stores get the same one.
Call = Callable[[Store], Any]

JOBS = ("ftjob-a", "ftjob-b")
TENANTS = ("acme", "other")
LEASE = Lease("w1", "first", EPOCH_START)

job_ids = st.sampled_from(JOBS)
tenants = st.sampled_from(TENANTS)
small = st.integers(0, 4)
times = st.integers(0, 2).map(lambda seconds: EPOCH_START + seconds)
workers = st.sampled_from(["w1", "w2"])
groups = st.sampled_from([None, "sweep-a", "sweep-b"])


def change(job: Job, state: JobState | None, lease: Lease | None, said: int) -> Change:
    moved = job if state is None else job.to(state)
    moved = replace(moved, lease=moved.lease if lease is None else lease, epoch=job.epoch + 1)
    model = ModelRecord(
        f"ft:{job.id}", job.spec.tenant, "tiny", job.id, "lora", "p", EPOCH_START, said
    )
    checkpoint = CheckpointRecord(f"ckpt-{said}", job.id, "m", said, EPOCH_START)
    return Change(
        moved,
        tuple(Event(EPOCH_START, f"said {i}", data={"step": i, "loss": 0.5}) for i in range(said)),
        model if said == 3 else None,
        checkpoint if said else None,
    )


#: The cursor of each reader of a store's feed. Stores number their writes each in its own way.
CURSORS: WeakKeyDictionary[Store, dict[str, int]] = WeakKeyDictionary()


def read_feed(store: Store, reader: str, *, first: bool) -> object:
    """What a reader is told since its last look, or as if it had never looked."""
    cursors = CURSORS.setdefault(store, {})
    changes = store.changed_jobs(None if first else cursors.get(reader))
    assert changes.cursor >= cursors.get(reader, 0)
    cursors[reader] = changes.cursor
    return changes.jobs, changes.gone, changes.whole


def claimed(store: Store, now: float, limit: int) -> object:
    """What is due, but for the ids that each store draws by itself, which also order what fell due
    together. If more than one fell due together, there is no saying which come first."""
    found = store.claim_deliveries(now, 1.0, 1000 if limit else 0)
    return sorted((each.endpoint_id, each.job_id, each.event_type, each.attempts) for each in found)


@st.composite
def writes(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, Call]:
    """A call that changes something, or is refused; one of those named."""
    job_id, tenant, worker_id = draw(job_ids), draw(tenants), draw(workers)
    number, at = draw(small), draw(times)
    state = draw(st.none() | st.sampled_from(JobState))
    lease = draw(st.none() | st.just(LEASE))
    key = draw(st.none() | st.just("key"))
    job = make_job(job_id, tenant=tenant, created_at=at, lease=lease)
    job = replace(job, spec=replace(job.spec, group=draw(groups)))
    file = FileRecord(f"file-{number}", tenant, "a.jsonl", "fine-tune", number, at)
    revoked_at = draw(st.none() | times)
    api_key = ApiKey(f"key-{number}", tenant, "k", f"digest-{number}", "sk", at, revoked_at)
    places = (Assignment(job_id, number),)
    planned = Round(f"round-{number % 2}", worker_id, "first", "tiny", places, 20.0, 9, at)
    events = [Event(at, f"event {i}") for i in range(number)]
    chunk = SampleChunk("text", number)
    marked = draw(st.none() | times)
    service = JobService(job_id, draw(st.sampled_from([LoraConfig(), PacaConfig()])), 9, 2, 4.5)
    report = RoundReport(
        worker_id, "first", "tiny", "cpu", (service,) * number, 0.1, 64, 32, 10, 20, 30
    )
    forecast = Forecast(job_id, at, number or None, key, promised_start=marked)
    upload = Upload(f"upload_{number}", tenant, "a.jsonl", "fine-tune", 5, EPOCH_START)
    ends = tuple(sorted(draw(st.sets(st.sampled_from(EVENT_TYPES)))))
    hook = WebhookEndpoint(f"whep_{number % 2}", tenant, "n", "u", ends, at, at, "whsec_AAAA")
    sent = Delivery(f"evt_{number}", tenant, hook.id, EVENT_TYPES[0], job_id, at, number)
    part = UploadPart(f"part_{number}", number, at)
    choices: dict[str, Call] = {
        "create_job": lambda s: s.create_job(job, key),
        "create_jobs": lambda s: s.create_jobs(
            [NewJob(job, key), NewJob(replace(job, id=f"{job_id}-{number}"))], most_live=4
        ),
        "restore_job": lambda s: s.restore_job(job),
        "update_job": lambda s: s.update_job(job_id, lambda j: change(j, state, lease, number)),
        "leave_job": lambda s: s.update_job(job_id, lambda j: j),
        "append_events": lambda s: s.append_events(job_id, events, number if key else None),
        "trim_events": lambda s: s.trim_events(job_id, number, number + len(worker_id)),
        "restore_behind": lambda s: s.restore_job(job, number),
        "put_file": lambda s: s.put_file(file),
        "create_file": lambda s: s.create_file(file, "key"),
        "create_upload": lambda s: s.create_upload(upload, "key"),
        "hold_bytes": lambda s: s.hold_bytes(
            tenant, file_thing(f"file-{number % 3}"), number, most=6, now=at, until=at + number
        ),
        "release_bytes": lambda s: s.release_bytes(tenant, file_thing(f"file-{number % 3}")),
        "delete_file": lambda s: s.delete_file(tenant, file.id),
        "put_upload": lambda s: s.put_upload(upload),
        "add_part": lambda s: s.update_upload(upload.id, lambda u: u.with_part(part, EPOCH_START)),
        "cancel_upload": lambda s: s.update_upload(upload.id, lambda u: u.cancelled(EPOCH_START)),
        "put_endpoint": lambda s: s.put_endpoint(hook),
        "delete_endpoint": lambda s: s.delete_endpoint(tenant, hook.id),
        "fail_endpoint": lambda s: s.update_endpoint(
            tenant, hook.id, lambda h: h.failed("no", at, gone=bool(number), was_last=True)
        ),
        "put_off": lambda s: s.put_off_delivery(sent, at),
        "drop_delivery": lambda s: s.drop_delivery(sent.id),
        "claim": lambda s: claimed(s, at, number),
        "delete_model": lambda s: s.delete_model(tenant, f"ft:{job_id}"),
        "put_key": lambda s: s.put_key(api_key),
        "put_worker": lambda s: s.put_worker(make_worker(worker_id, peak_bytes=number)),
        "remove_worker": lambda s: s.remove_worker(worker_id),
        "plan_round": lambda s: s.plan_round(planned),
        "begin_round": lambda s: s.begin_round(planned.id, worker_id, "first", at),
        "withdraw_round": lambda s: s.withdraw_round(planned.id),
        "end_round": lambda s: s.end_round(planned.id),
        "push_sample_chunks": lambda s: s.push_sample_chunks(job_id, [chunk] * number),
        "request_sample": lambda s: s.request_sample(worker_id, f"sample-{number}"),
        "sample_done": lambda s: s.sample_done(worker_id, f"sample-{number}"),
        "changed_jobs": lambda s: read_feed(s, worker_id, first=number == 0),
        "set_draining": lambda s: s.set_draining(worker_id, marked),
        "lead": lambda s: s.lead(worker_id, 60.0 + number),
        "step_down": lambda s: s.step_down(worker_id),
        "leader": lambda s: s.leader(),
        "push_report": lambda s: s.push_report(report),
        "take_reports": lambda s: s.take_reports(number),
        "put_learnt": lambda s: s.put_learnt(worker_id, f"[{number}]"),
        "put_usage": lambda s: s.put_usage([Usage(tenant, number / 3, at)] * number),
        "put_forecasts": lambda s: s.put_forecasts([forecast] * number),
        "drop_forecasts": lambda s: s.drop_forecasts([job_id] * number),
    }
    name = draw(st.sampled_from(names))
    return name, choices[name]


#: What meets in one script, so that calls on the same thing are frequent.
FAMILIES = {
    "jobs": ("create_job", "create_jobs", "update_job", "update_job", "update_job", "restore_job"),
    "history": ("create_job", "append_events", "update_job", "delete_model"),
    "archive": (
        *("restore_behind", "create_job", "append_events", "append_events", "update_job"),
        *("trim_events", "trim_events"),
    ),
    "rounds": ("plan_round", "plan_round", "begin_round", "withdraw_round", "end_round"),
    "records": ("put_file", "create_file", "delete_file", "put_key", "put_worker", "remove_worker"),
    "uploads": ("put_upload", "create_upload", "add_part", "add_part", "cancel_upload"),
    "stored": (
        *("put_file", "delete_file", "hold_bytes", "hold_bytes", "release_bytes"),
        *("create_job", "update_job", "update_job", "delete_model", "put_upload", "add_part"),
    ),
    "webhooks": (
        *("put_endpoint", "put_endpoint", "delete_endpoint", "fail_endpoint"),
        *("create_job", "update_job", "update_job", "put_off", "drop_delivery", "claim"),
    ),
    "samples": ("push_sample_chunks", "request_sample", "sample_done"),
    "feed": (
        *("create_job", "update_job", "update_job", "leave_job", "restore_job"),
        "changed_jobs",
    ),
    "leader": ("lead", "lead", "step_down", "leader", "set_draining"),
    "reports": ("push_report", "push_report", "take_reports", "put_learnt", "put_usage"),
    "forecasts": ("put_forecasts", "put_forecasts", "drop_forecasts"),
}


def everything(store: Store) -> dict[str, object]:
    """All that the reading calls can tell."""
    seen: dict[str, object] = {
        "jobs": store.get_jobs([*JOBS, "ftjob-none"]),
        "ended with events": store.ended_with_events(),
        "told": store.told([*JOBS, "ftjob-none"]),
        "leased": store.leased_jobs(),
        "counts": store.count_jobs(),
        "live": store.jobs_in(JobState.QUEUED, JobState.RUNNING, JobState.PAUSED),
        "keys": store.list_keys(),
        "found": [store.find_key(f"digest-{number}") for number in range(5)],
        "workers": store.list_workers(),
        "rounds": store.rounds(),
        "rounds of each": [store.rounds_of(worker) for worker in ("w1", "w2")],
        "live of each": [store.count_live(tenant) for tenant in TENANTS],
        "fed": read_feed(store, "w1", first=False),
        "draining": store.draining(),
        "leader": store.leader(),
        "learnt": store.learnt(),
        "usage": store.usage(),
        "forecasts": store.forecasts([*JOBS, "ftjob-none"]),
        "all forecasts": store.all_forecasts(),
        "reports": store.take_reports(),
        "deliveries": store.count_deliveries(),
        "due": claimed(store, EPOCH_START + 1e6, 1000),
        "waiting": [store.samples_waiting(worker) for worker in ("w1", "w2")],
    }
    for tenant in TENANTS:
        for after in (None, *JOBS):
            for limit in (0, 1, 9):
                seen[f"page {tenant} {after} {limit}"] = outcome(
                    store,
                    lambda s, t=tenant, a=after, n=limit: s.list_jobs(t, after=a, limit=n),
                )
        for group in ("sweep-a", "sweep-b"):
            seen[f"group {tenant} {group}"] = store.jobs_of_group(tenant, group)
        seen[f"endpoints {tenant}"] = store.list_endpoints(tenant)
        seen[f"made {tenant}"] = store.job_created_with(tenant, "key")
        seen[f"file made {tenant}"] = store.file_created_with(tenant, "key")
        seen[f"upload made {tenant}"] = store.upload_created_with(tenant, "key")
        for later in (0, 2, 5):
            stored = store.stored_bytes(tenant, EPOCH_START + later)
            seen[f"stored {tenant} {later}"] = stored
        seen[f"files {tenant}"] = store.list_files(tenant)
        seen[f"models {tenant}"] = store.list_models(tenant)
        seen[f"file {tenant}"] = outcome(store, lambda s, t=tenant: s.get_file(t, "file-1"))
        seen[f"model {tenant}"] = outcome(store, lambda s, t=tenant: s.get_model(t, "ft:ftjob-a"))
    for number in range(5):
        seen[f"upload {number}"] = outcome(store, lambda s, n=number: s.get_upload(f"upload_{n}"))
    for job in JOBS:
        seen[f"job {job}"] = outcome(store, lambda s, j=job: s.get_job(j))
        seen[f"checkpoints {job}"] = store.checkpoints(job)
        seen[f"chunks {job}"] = [store.sample_chunks(job, start) for start in range(3)]
        seen[f"events {job}"] = [store.events(job, start=start, limit=2) for start in range(4)]
        seen[f"stored {job}"] = store.events_stored(job)
        seen[f"older {job}"] = [
            store.events_before(job, seq=seq, limit=2) for seq in (None, 0, 1, 2, 3, 9)
        ]
    return seen


def outcome(store: Store, call: Call) -> object:
    try:
        return call(store)
    except PandoError as error:
        return type(error)


@pytest.mark.parametrize("family", FAMILIES)
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.large_base_example,
    ],
)
@given(data=st.data())
def test_both_stores_answer_alike(
    redis_process: RedisProcess, family: str, data: st.DataObject
) -> None:
    clock = FakeClock()
    with Redis.from_url(redis_process.url) as client:
        client.flushall()
    kept = data.draw(st.sampled_from([1, CHANGES_KEPT]), "jobs that the feed remembers")
    stub = StubStore(clock, changes_kept=kept)
    redis = RedisStore(redis_process.url, clock, changes_kept=kept)
    try:
        for name, call in data.draw(st.lists(writes(FAMILIES[family]), min_size=15, max_size=40)):
            assert outcome(redis, call) == outcome(stub, call), name
        assert everything(redis) == everything(stub)
    finally:
        redis.close()
