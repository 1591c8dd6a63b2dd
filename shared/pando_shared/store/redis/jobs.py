"""Jobs, their indexes and checkpoints in Redis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from redis import Redis
from redis.client import Pipeline

from pando_shared.codec import decode, encode
from pando_shared.errors import JobQuotaExceeded, NotFound
from pando_shared.forecasts import Forecast
from pando_shared.jobs import Job, JobState
from pando_shared.records import CheckpointRecord
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.store.redis import keys
from pando_shared.store.redis.changes import RedisChanges
from pando_shared.store.redis.client import script, transact
from pando_shared.store.redis.events import RedisEvents
from pando_shared.store.redis.records import RedisRecords
from pando_shared.store.redis.signals import wake
from pando_shared.store.redis.webhooks import RedisWebhooks, write_deliveries
from pando_shared.store.values import IDEMPOTENCY_SECONDS, Change, NewJob
from pando_shared.webhooks import Delivery, deliveries_of


class RedisJobs(RedisRecords, RedisChanges, RedisEvents, RedisWebhooks):
    """The part of `RedisStore` that knows jobs."""

    def __init__(self, redis: Redis, changes_kept: int):
        RedisRecords.__init__(self, redis)
        RedisChanges.__init__(self, redis, changes_kept)
        RedisEvents.__init__(self, redis)
        RedisWebhooks.__init__(self, redis)
        self._page = redis.register_script(script("page"))
        self._members = redis.register_script(script("members"))
        self._count_live = redis.register_script(script("count_live"))
        self._recorded = redis.register_script(script("recorded"))
        self._foreseen_job = redis.register_script(script("foreseen_job"))

    def create_job(self, job: Job, idempotency_key: str | None = None) -> Job:
        return self.create_jobs([NewJob(job, idempotency_key)])[0] or job

    def create_jobs(
        self, new: Sequence[NewJob], *, most_live: int | None = None
    ) -> list[Job | None]:
        if not new:
            return []
        tenant = new[0].job.spec.tenant
        watched = [keys.job(each.job.id) for each in new]
        watched += [_seen(each) for each in new if each.idempotency_key is not None]
        if most_live is not None:
            # Every job that is added to the tenant's changes this key.
            watched.append(keys.jobs_of(tenant))

        def body(pipe: Pipeline) -> list[Job | None]:
            kept = [_made_before(pipe, each) for each in new]
            if any(kept):
                return kept
            if most_live is not None:
                live = sum(self.count_live(tenant).values())
                if live + len(new) > most_live:
                    raise JobQuotaExceeded(tenant, live, most_live, len(new))
            pipe.multi()
            for each in new:
                self._write_new(pipe, each.job)
                if each.idempotency_key is not None:
                    pipe.set(_seen(each), each.job.id, ex=IDEMPOTENCY_SECONDS)
            return [each.job for each in new]

        return transact(self._redis, watched, body)

    def job_created_with(self, tenant: str, idempotency_key: str) -> Job | None:
        earlier: Any = self._redis.get(keys.idempotency(tenant, idempotency_key))
        return self.get_jobs([earlier.decode()])[0] if earlier else None

    def restore_job(self, job: Job, events_stored: int = 0) -> bool:
        def body(pipe: Pipeline) -> bool:
            if pipe.exists(keys.job(job.id)):
                return False
            pipe.multi()
            self._write_new(pipe, job)
            if events_stored:
                pipe.hset(keys.EVENTS_STORED, job.id, str(events_stored))
            return True

        return transact(self._redis, [keys.job(job.id)], body)

    def get_job(self, job_id: str) -> Job:
        text = self._redis.get(keys.job(job_id))
        if text is None:
            raise NotFound(f"no such job: {job_id}")
        return decode(Job, text)

    def get_jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        if not job_ids:
            return []
        texts: Any = self._redis.mget([keys.job(job_id) for job_id in job_ids])
        return [None if text is None else decode(Job, text) for text in texts]

    def foreseen_job(self, job_id: str) -> tuple[Job, Forecast | None]:
        found: Any = self._foreseen_job(keys=[keys.job(job_id), keys.FORECASTS], args=[job_id])
        job, forecast = found
        if job is None:
            raise NotFound(f"no such job: {job_id}")
        return decode(Job, job), None if forecast is None else decode(Forecast, forecast)

    def update_job(self, job_id: str, change: Callable[[Job], Job | Change]) -> Job:
        def body(pipe: Pipeline) -> Job:
            text: Any = pipe.get(keys.job(job_id))
            if text is None:
                raise NotFound(f"no such job: {job_id}")
            before = decode(Job, text)
            outcome = change(before)
            wanted = outcome if isinstance(outcome, Change) else Change(outcome)
            if wanted == Change(before):
                return before
            deliveries: list[Delivery] = []
            if wanted.job.state is not before.state and wanted.job.state.terminal:
                deliveries = deliveries_of(wanted.job, self.list_endpoints(before.spec.tenant))
            pipe.multi()
            self._write_change(pipe, before, wanted)
            write_deliveries(pipe, deliveries, due_at=0.0)
            return wanted.job

        return transact(self._redis, [keys.job(job_id)], body)

    def unrecorded(self) -> list[str]:
        ids: Any = self._redis.hkeys(keys.UNRECORDED)
        return sorted(job_id.decode() for job_id in ids)

    def recorded(self, job: Job) -> None:
        self._recorded(keys=[keys.UNRECORDED], args=[job.id, _standing(job)])

    def list_jobs(self, tenant: str, *, after: str | None = None, limit: int = 20) -> list[Job]:
        if limit < 1:
            return []
        arguments: list[str | int] = [keys.JOB_PREFIX, after or "", limit]
        texts: Any = self._page(keys=[keys.jobs_of(tenant)], args=arguments)
        if texts is None:
            raise NotFound(f"no such job: {after}")
        return [decode(Job, text) for text in texts]

    def jobs_in(self, *states: JobState) -> list[Job]:
        return self._members_of([keys.jobs_in(state) for state in states])

    def jobs_of_group(self, tenant: str, group: str) -> list[Job]:
        ids: Any = self._redis.zrange(keys.jobs_of_group(tenant, group), 0, -1)
        found = self.get_jobs([job_id.decode() for job_id in ids])
        return oldest_first(job for job in found if job is not None)

    def leased_jobs(self) -> list[Job]:
        return self._members_of([keys.LEASED])

    def _members_of(self, indexes: list[str]) -> list[Job]:
        if not indexes:
            return []
        texts: Any = self._members(keys=indexes, args=[keys.JOB_PREFIX])
        return oldest_first(decode(Job, text) for text in texts)

    def count_live(self, tenant: str) -> dict[JobState, int]:
        live = [state for state in JobState if not state.terminal]
        sets = [keys.jobs_in(state) for state in live]
        counts: Any = self._count_live(keys=[keys.jobs_of(tenant), *sets])
        return dict(zip(live, counts, strict=True))

    def count_jobs(self) -> dict[JobState, int]:
        with self._redis.pipeline() as pipe:
            for state in JobState:
                pipe.scard(keys.jobs_in(state))
            return dict(zip(JobState, pipe.execute(), strict=True))

    def checkpoints(self, job_id: str) -> list[CheckpointRecord]:
        texts: Any = self._redis.hvals(keys.checkpoints(job_id))
        return newest_first(decode(CheckpointRecord, text) for text in texts)

    def _write_new(self, pipe: Pipeline, job: Job) -> None:
        pipe.set(keys.job(job.id), encode(job))
        self._mark_changed(pipe, job.id)
        pipe.zadd(keys.jobs_of(job.spec.tenant), {job.id: job.created_at})
        if job.spec.group is not None:
            group = keys.jobs_of_group(job.spec.tenant, job.spec.group)
            pipe.zadd(group, {job.id: job.created_at})
        pipe.sadd(keys.jobs_in(job.state), job.id)
        if job.lease is not None:
            pipe.sadd(keys.LEASED, job.id)
        wake(pipe)

    def _write_change(self, pipe: Pipeline, before: Job, change: Change) -> None:
        job = change.job
        pipe.set(keys.job(job.id), encode(job))
        self._mark_changed(pipe, job.id)
        if _standing(job) != _standing(before):
            pipe.hset(keys.UNRECORDED, job.id, _standing(job))
        if job.state is not before.state:
            pipe.smove(keys.jobs_in(before.state), keys.jobs_in(job.state), job.id)
            wake(pipe)
        if job.lease is None:
            pipe.srem(keys.LEASED, job.id)
        else:
            pipe.sadd(keys.LEASED, job.id)
        if change.events:
            pipe.rpush(keys.events(job.id), *(encode(event) for event in change.events))
        if job.state.terminal and (change.events or job.state is not before.state):
            pipe.sadd(keys.ENDED_WITH_EVENTS, job.id)
        if change.model is not None:
            self._write_model(pipe, change.model)
        if change.checkpoint is not None:
            record = change.checkpoint
            pipe.hset(keys.checkpoints(job.id), record.id, encode(record))


def _seen(new: NewJob) -> str:
    return keys.idempotency(new.job.spec.tenant, new.idempotency_key or "")


def _made_before(pipe: Pipeline, new: NewJob) -> Job | None:
    kept: Any = pipe.get(keys.job(new.job.id))
    if kept is None and new.idempotency_key is not None:
        earlier: Any = pipe.get(_seen(new))
        kept = pipe.get(keys.job(earlier.decode())) if earlier else None
    return None if kept is None else decode(Job, kept)


def _standing(job: Job) -> str:
    """What of a job storage must know."""
    return f"{job.state.value} {job.epoch}"
