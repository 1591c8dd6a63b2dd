"""The store in memory: for tests, and for one process that needs nothing kept."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pando_shared.clock import Clock, SystemClock
from pando_shared.errors import NotFound, StaleEpoch
from pando_shared.jobs import Job, JobState
from pando_shared.records import ApiKey, CheckpointRecord, Event, FileRecord, ModelRecord
from pando_shared.store.base import SAMPLE_REQUEST_SECONDS, SAMPLE_TEXT_SECONDS, Change
from pando_shared.store.order import newest_first, oldest_first
from pando_shared.workers import Round, SampleChunk, Worker

IDEMPOTENCY_SECONDS = 24 * 3600


class StubStore:
    """`Store` under one lock. What lies in it is frozen, so values are handed out as they are."""

    def __init__(self, clock: Clock | None = None):
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._woken = threading.Condition(self._lock)
        self._awake = False
        self._jobs: dict[str, Job] = {}
        self._idempotency: dict[tuple[str, str], tuple[str, float]] = {}
        self._events: defaultdict[str, list[Event]] = defaultdict(list)
        self._checkpoints: defaultdict[str, dict[str, CheckpointRecord]] = defaultdict(dict)
        self._files: dict[tuple[str, str], FileRecord] = {}
        self._models: dict[tuple[str, str], ModelRecord] = {}
        self._keys: dict[str, ApiKey] = {}
        self._workers: dict[str, Worker] = {}
        self._rounds: dict[str, Round] = {}
        self._samples: dict[str, tuple[list[SampleChunk], float]] = {}
        self._requests: defaultdict[str, dict[str, float]] = defaultdict(dict)

    def create_job(self, job: Job, idempotency_key: str | None = None) -> Job:
        with self._lock:
            if job.id in self._jobs:
                return self._jobs[job.id]
            if idempotency_key is not None:
                seen = (job.spec.tenant, idempotency_key)
                earlier, at = self._idempotency.get(seen, ("", 0.0))
                if earlier in self._jobs and self._clock.now() - at < IDEMPOTENCY_SECONDS:
                    return self._jobs[earlier]
                self._idempotency[seen] = job.id, self._clock.now()
            self._jobs[job.id] = job
            self.wake()
            return job

    def restore_job(self, job: Job) -> bool:
        with self._lock:
            if job.id in self._jobs:
                return False
            self._jobs[job.id] = job
            self.wake()
            return True

    def get_job(self, job_id: str) -> Job:
        with self._lock:
            if job_id not in self._jobs:
                raise NotFound(f"no such job: {job_id}")
            return self._jobs[job_id]

    def get_jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        with self._lock:
            return [self._jobs.get(job_id) for job_id in job_ids]

    def update_job(self, job_id: str, change: Callable[[Job], Job | Change]) -> Job:
        with self._lock:
            before = self.get_job(job_id)
            outcome = change(before)
            wanted = outcome if isinstance(outcome, Change) else Change(outcome)
            self._jobs[job_id] = wanted.job
            self._events[job_id].extend(wanted.events)
            if wanted.model is not None:
                self.put_model(wanted.model)
            if wanted.checkpoint is not None:
                self._checkpoints[job_id][wanted.checkpoint.id] = wanted.checkpoint
            if wanted.job.state is not before.state:
                self.wake()
            return wanted.job

    def list_jobs(self, tenant: str, *, after: str | None = None, limit: int = 20) -> list[Job]:
        if limit < 1:
            return []
        with self._lock:
            jobs = newest_first(job for job in self._jobs.values() if job.spec.tenant == tenant)
        places = {job.id: place for place, job in enumerate(jobs)}
        if after is None:
            return jobs[:limit]
        if after not in places:
            raise NotFound(f"no such job: {after}")
        first = places[after] + 1
        return jobs[first : first + limit]

    def jobs_in(self, *states: JobState) -> list[Job]:
        with self._lock:
            return oldest_first(job for job in self._jobs.values() if job.state in states)

    def leased_jobs(self) -> list[Job]:
        with self._lock:
            return oldest_first(job for job in self._jobs.values() if job.lease is not None)

    def count_jobs(self) -> dict[JobState, int]:
        return {state: len(self.jobs_in(state)) for state in JobState}

    def append_events(self, job_id: str, events: Iterable[Event], epoch: int | None = None) -> None:
        with self._lock:
            job = self.get_job(job_id)
            if epoch is not None and epoch != job.epoch:
                raise StaleEpoch(f"job {job_id} is at epoch {job.epoch}, writer has {epoch}")
            self._events[job_id].extend(events)

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]:
        return self._numbered(job_id)[max(0, start) : max(0, start + limit)]

    def events_before(self, job_id: str, *, seq: int | None = None, limit: int = 20) -> list[Event]:
        older = self._numbered(job_id)[: None if seq is None else max(0, seq)]
        return older[::-1][: max(0, limit)]

    def _numbered(self, job_id: str) -> list[Event]:
        with self._lock:
            events = self._events.get(job_id, [])
            return [replace(event, seq=seq) for seq, event in enumerate(events)]

    def checkpoints(self, job_id: str) -> list[CheckpointRecord]:
        with self._lock:
            return newest_first(self._checkpoints.get(job_id, {}).values())

    def put_file(self, record: FileRecord) -> None:
        with self._lock:
            self._files[record.tenant, record.id] = record

    def get_file(self, tenant: str, file_id: str) -> FileRecord:
        with self._lock:
            if (tenant, file_id) not in self._files:
                raise NotFound(f"no such file: {file_id}")
            return self._files[tenant, file_id]

    def list_files(self, tenant: str) -> list[FileRecord]:
        with self._lock:
            return newest_first(file for file in self._files.values() if file.tenant == tenant)

    def delete_file(self, tenant: str, file_id: str) -> None:
        with self._lock:
            self.get_file(tenant, file_id)
            del self._files[tenant, file_id]

    def put_model(self, record: ModelRecord) -> None:
        with self._lock:
            self._models[record.tenant, record.name] = record

    def get_model(self, tenant: str, name: str) -> ModelRecord:
        with self._lock:
            if (tenant, name) not in self._models:
                raise NotFound(f"no such model: {name}")
            return self._models[tenant, name]

    def list_models(self, tenant: str) -> list[ModelRecord]:
        with self._lock:
            return newest_first(model for model in self._models.values() if model.tenant == tenant)

    def delete_model(self, tenant: str, name: str) -> None:
        with self._lock:
            self.get_model(tenant, name)
            del self._models[tenant, name]

    def put_key(self, key: ApiKey) -> None:
        with self._lock:
            self._keys[key.digest] = key

    def find_key(self, digest: str) -> ApiKey | None:
        with self._lock:
            key = self._keys.get(digest)
        return key if key is not None and key.revoked_at is None else None

    def list_keys(self) -> list[ApiKey]:
        with self._lock:
            return oldest_first(self._keys.values())

    def put_worker(self, worker: Worker) -> None:
        with self._lock:
            self._workers[worker.id] = worker

    def list_workers(self) -> list[Worker]:
        with self._lock:
            return [self._workers[worker_id] for worker_id in sorted(self._workers)]

    def remove_worker(self, worker_id: str) -> None:
        with self._lock:
            self._workers.pop(worker_id, None)

    def plan_round(self, planned: Round) -> None:
        with self._lock:
            self._rounds[planned.id] = planned

    def begin_round(
        self, round_id: str, worker_id: str, incarnation: str, now: float
    ) -> Round | None:
        with self._lock:
            planned = self._rounds.get(round_id)
            if planned is None or planned.started_at is not None:
                return None
            if (planned.worker_id, planned.incarnation) != (worker_id, incarnation):
                return None
            self._rounds[round_id] = replace(planned, started_at=now)
            self.wake()
            return self._rounds[round_id]

    def withdraw_round(self, round_id: str) -> bool:
        with self._lock:
            planned = self._rounds.get(round_id)
            if planned is None or planned.started_at is not None:
                return False
            del self._rounds[round_id]
            return True

    def end_round(self, round_id: str) -> None:
        with self._lock:
            self._rounds.pop(round_id, None)
            self.wake()

    def rounds(self) -> list[Round]:
        with self._lock:
            return oldest_first(self._rounds.values())

    def push_sample_chunks(self, sample_id: str, chunks: Sequence[SampleChunk]) -> None:
        with self._lock:
            earlier = self.sample_chunks(sample_id, 0)
            self._samples[sample_id] = [*earlier, *chunks], self._clock.now()

    def sample_chunks(self, sample_id: str, start: int) -> list[SampleChunk]:
        with self._lock:
            chunks, at = self._samples.get(sample_id, ([], 0.0))
            return chunks[start:] if self._clock.now() - at < SAMPLE_TEXT_SECONDS else []

    def request_sample(self, worker_id: str, sample_id: str) -> None:
        with self._lock:
            self._requests[worker_id][sample_id] = self._clock.now()

    def samples_waiting(self, worker_id: str) -> int:
        with self._lock:
            since = self._clock.now() - SAMPLE_REQUEST_SECONDS
            return sum(at >= since for at in self._requests[worker_id].values())

    def sample_done(self, worker_id: str, sample_id: str) -> None:
        with self._lock:
            self._requests[worker_id].pop(sample_id, None)

    def wake(self) -> None:
        with self._woken:
            self._awake = True
            self._woken.notify()

    def wait(self, seconds: float) -> None:
        with self._woken:
            if not self._awake:
                self._woken.wait(seconds)
            self._awake = False

    def ping(self) -> bool:
        return True
