"""What every store can do. `StubStore` keeps it in memory, `RedisStore` in Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from pando_shared.forecasts import Forecast, Usage
from pando_shared.jobs import Job, JobState
from pando_shared.records import ApiKey, CheckpointRecord, Event, FileRecord, ModelRecord
from pando_shared.reports import RoundReport
from pando_shared.store.values import Change, JobChanges, NewJob, Taken, Told
from pando_shared.stored_bytes import Hold, StoredBytes, StoredThing
from pando_shared.uploads import Upload
from pando_shared.webhooks import Delivery, WebhookEndpoint
from pando_shared.workers import Round, SampleChunk, Worker


class Store(Protocol):
    """All methods are atomic, synchronous and safe to call from any thread."""

    def create_job(self, job: Job, idempotency_key: str | None = None) -> Job:
        """Keep a new job. With a key seen before (within a day, same tenant), return that job.

        A job that is there already is returned as it is, so that creating can be repeated.
        """
        ...

    def create_jobs(
        self, new: Sequence[NewJob], *, most_live: int | None = None
    ) -> list[Job | None]:
        """`create_job` for jobs of one tenant, all of them or none: if any is there already, by its
        id or its key, only those are returned, with None for the others, and nothing is written.

        Raises JobQuotaExceeded, and nothing is written, if the tenant would then have more than
        `most_live` jobs that have not ended, whoever creates at the same time.
        """
        ...

    def job_created_with(self, tenant: str, idempotency_key: str) -> Job | None:
        """The job that a create with this key would return instead of a new one."""
        ...

    def restore_job(self, job: Job, events_stored: int = 0) -> bool:
        """Keep a job found in storage unless the store has it; tells whether it was kept.

        So many of its first events are in storage too; what is appended is numbered behind them.
        """
        ...

    def get_job(self, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    def get_jobs(self, job_ids: Sequence[str]) -> list[Job | None]: ...

    def foreseen_job(self, job_id: str) -> tuple[Job, Forecast | None]:
        """A job and its forecast, with one question to the store. Raises NotFound."""
        ...

    def update_job(self, job_id: str, change: Callable[[Job], Job | Change]) -> Job:
        """Replace a job by `change(job)`, atomically. `change` may run several times.

        Whatever `change` raises (IllegalTransition, StaleEpoch, ...) passes through and nothing is
        written. Wakes the scheduler if the state changed. Raises NotFound.
        """
        ...

    def unrecorded(self) -> list[str]:
        """Ids of the jobs whose state or epoch has changed since `recorded` was last told."""
        ...

    def recorded(self, job: Job) -> None:
        """Storage has the job as it is, unless its state or epoch has changed again meanwhile."""
        ...

    def list_jobs(self, tenant: str, *, after: str | None = None, limit: int = 20) -> list[Job]:
        """A tenant's jobs, newest first, from behind job `after`. Raises NotFound for `after`."""
        ...

    def jobs_in(self, *states: JobState) -> list[Job]:
        """All tenants' jobs in these states, oldest first."""
        ...

    def jobs_of_group(self, tenant: str, group: str) -> list[Job]:
        """A tenant's jobs of one group, ended ones too, oldest first."""
        ...

    def leased_jobs(self) -> list[Job]:
        """All jobs that hold a lease, whatever their state."""
        ...

    def changed_jobs(self, since: int | None) -> JobChanges:
        """What was written to jobs since a cursor that this store gave. None: everything live.

        Everything live comes also where the cursor is older than the feed remembers, or Redis has
        restarted since, and may have lost writes. Each reader has a cursor of its own.
        """
        ...

    def count_live(self, tenant: str) -> dict[JobState, int]:
        """How many of a tenant's jobs are in each of the states that are not terminal."""
        ...

    def count_jobs(self) -> dict[JobState, int]: ...

    def append_events(self, job_id: str, events: Iterable[Event], epoch: int | None = None) -> None:
        """Add to a job's history. With `epoch`, raises StaleEpoch unless it is still the job's.

        Raises NotFound.
        """
        ...

    def events(self, job_id: str, *, start: int = 0, limit: int = 1000) -> list[Event]:
        """Events with `start` <= `seq` < `start` + `limit`, oldest first, but for those that are in
        storage alone; `history.History` reads those too."""
        ...

    def events_before(self, job_id: str, *, seq: int | None = None, limit: int = 20) -> list[Event]:
        """Events with `seq` below the given one (None: all), newest first, but for those that are
        in storage alone; `history.History` reads those too."""
        ...

    def told(self, job_ids: Sequence[str]) -> list[Told]:
        """How far each job is, in one look: what ended a job is among its events."""
        ...

    def events_stored(self, job_id: str) -> int:
        """How many of a job's first events are in storage alone."""
        ...

    def trim_events(self, job_id: str, start: int, end: int) -> bool:
        """Forget the events with `start` <= `seq` < `end`, which storage has. False, and nothing
        happens, unless they are all here and the oldest here."""
        ...

    def ended_with_events(self) -> list[str]:
        """Ids of the ended jobs that may have events here, sorted."""
        ...

    def checkpoints(self, job_id: str) -> list[CheckpointRecord]:
        """Newest first."""
        ...

    def put_file(self, record: FileRecord) -> None: ...

    def create_file(self, record: FileRecord, idempotency_key: str) -> FileRecord:
        """`put_file`, or the file that a create with this key made (within a day, same tenant), if
        it is there still."""
        ...

    def file_created_with(self, tenant: str, idempotency_key: str) -> FileRecord | None:
        """The file that a create with this key would return instead of a new one."""
        ...

    def get_file(self, tenant: str, file_id: str) -> FileRecord:
        """Raises NotFound, also for another tenant's file."""
        ...

    def list_files(self, tenant: str) -> list[FileRecord]:
        """Newest first."""
        ...

    def delete_file(self, tenant: str, file_id: str) -> None:
        """Raises NotFound."""
        ...

    def put_upload(self, upload: Upload) -> None:
        """Uploads vanish a day after the last change."""
        ...

    def create_upload(self, upload: Upload, idempotency_key: str) -> Upload:
        """`put_upload`, or the upload that a create with this key made (within a day, same
        tenant)."""
        ...

    def upload_created_with(self, tenant: str, idempotency_key: str) -> Upload | None:
        """The upload that a create with this key would return instead of a new one."""
        ...

    def get_upload(self, upload_id: str) -> Upload:
        """Raises NotFound."""
        ...

    def update_upload(self, upload_id: str, change: Callable[[Upload], Upload]) -> Upload:
        """Replace an upload by `change(upload)`, atomically. `change` may run several times.

        Whatever `change` raises passes through and nothing is written. Raises NotFound.
        """
        ...

    def put_model(self, record: ModelRecord) -> None: ...

    def get_model(self, tenant: str, name: str) -> ModelRecord:
        """Raises NotFound, also for another tenant's model."""
        ...

    def list_models(self, tenant: str) -> list[ModelRecord]:
        """Newest first."""
        ...

    def delete_model(self, tenant: str, name: str) -> None:
        """Raises NotFound."""
        ...

    def put_key(self, key: ApiKey) -> None: ...

    def find_key(self, digest: str) -> ApiKey | None:
        """The key of this digest, if there is one and it is not revoked."""
        ...

    def list_keys(self) -> list[ApiKey]: ...

    def take_request(self, tenant: str, per_minute: int, now: float) -> Taken:
        """Take one of the requests that a tenant has left, if there is one.

        They come back evenly, `per_minute` a minute, and as many are kept at most.
        """
        ...

    def requests_left(self, tenant: str, per_minute: int, now: float) -> float:
        """How many requests a tenant could make now, in fractions; takes none."""
        ...

    def hold_bytes(
        self, tenant: str, thing: StoredThing, size: int, *, most: int, now: float, until: float
    ) -> Hold:
        """Count `size` bytes for a thing that is being written, in the place of what it counts yet,
        until its record is kept or `until` has passed.

        Not taken, and nothing is counted, if the tenant would then keep more than `most` bytes.
        What records say of files, parts and adapters is counted in the step that writes them.
        """
        ...

    def release_bytes(self, tenant: str, thing: StoredThing) -> None:
        """Count a thing no more: its record will never come."""
        ...

    def stored_bytes(self, tenant: str, now: float) -> StoredBytes:
        """What a tenant keeps in storage, with what is being written."""
        ...

    def recount_bytes(self, tenant: str, measured: Mapping[str, int]) -> bool:
        """Have a tenant's files and adapters count as their records say; whether any did not.

        None can, but that an older release wrote records and counted nothing. Its adapters' records
        know no size either: they get the `measured` one, by name.
        """
        ...

    def take_failed_login(self, address: str, per_minute: int, now: float) -> Taken:
        """Take one of the wrong keys that an address may still try; as `take_request`.

        Addresses share counts where there are very many, so that these stay few.
        """
        ...

    def put_worker(self, worker: Worker) -> None: ...

    def list_workers(self) -> list[Worker]:
        """All that ever reported and were not removed, sorted by id; none whose record cannot be
        read."""
        ...

    def remove_worker(self, worker_id: str) -> None: ...

    def set_draining(self, worker_id: str, since: float | None) -> None:
        """Mark a worker as being emptied since then. None: no more. Wakes the scheduler.

        The mark outlives the worker's record, so that a worker that restarts stays empty.
        """
        ...

    def draining(self) -> dict[str, float]:
        """When each worker that is being emptied was marked, by its id."""
        ...

    def plan_round(self, planned: Round) -> None:
        """Keep a planned round; its message goes out after this."""
        ...

    def begin_round(
        self, round_id: str, worker_id: str, incarnation: str, now: float
    ) -> Round | None:
        """Claim a planned round for the worker it is for. None: unknown, begun or not yours.

        Wakes the scheduler, so that the next round is planned while this one runs.
        """
        ...

    def withdraw_round(self, round_id: str) -> bool:
        """Forget a round that has not begun. False: it has, or it is unknown."""
        ...

    def end_round(self, round_id: str) -> None:
        """Forget a round (finished, or given up by the scheduler) and wake the scheduler."""
        ...

    def rounds_of(self, worker_id: str) -> list[Round]:
        """One worker's rounds, by `planned_at`."""
        ...

    def rounds(self) -> list[Round]:
        """All rounds planned or running, by `planned_at`."""
        ...

    def push_sample_chunks(self, sample_id: str, chunks: Sequence[SampleChunk]) -> None:
        """Chunks vanish an hour after the last."""
        ...

    def sample_chunks(self, sample_id: str, start: int) -> list[SampleChunk]:
        """Chunks from number `start` on that are there by now."""
        ...

    def request_sample(self, worker_id: str, sample_id: str) -> None:
        """Tell a worker that a sample waits, so that its round yields after the current step."""
        ...

    def samples_waiting(self, worker_id: str) -> int: ...

    def sample_done(self, worker_id: str, sample_id: str) -> None: ...

    def push_report(self, report: RoundReport) -> None:
        """Tell of a round that is over. Wakes nobody; the oldest beyond `REPORTS_KEPT` are lost."""
        ...

    def take_reports(self, limit: int = 1000) -> list[RoundReport]:
        """Remove and return the oldest reports, in the order they came; one that cannot be read is
        only removed."""
        ...

    def put_learnt(self, key: str, text: str) -> None:
        """Keep what a predictor has learnt, as JSON that only it understands."""
        ...

    def learnt(self) -> dict[str, str]: ...

    def put_usage(self, usages: Iterable[Usage]) -> None:
        """Replace what these tenants have used."""
        ...

    def usage(self) -> dict[str, Usage]:
        """By tenant."""
        ...

    def put_forecasts(self, forecasts: Iterable[Forecast]) -> None:
        """Replace the forecasts of these jobs."""
        ...

    def drop_forecasts(self, job_ids: Iterable[str]) -> None: ...

    def forecasts(self, job_ids: Sequence[str]) -> list[Forecast | None]: ...

    def all_forecasts(self) -> list[Forecast]:
        """Sorted by job id."""
        ...

    def lead(self, candidate: str, seconds: float) -> bool:
        """Become or stay the leader for so long from now. False: another leads."""
        ...

    def step_down(self, candidate: str) -> None:
        """Stop leading, so that another may at once. Nothing happens if another leads."""
        ...

    def leader(self) -> str | None: ...

    def wake(self) -> None:
        """Make the scheduler look now."""
        ...

    def wait(self, seconds: float) -> None:
        """Sleep until woken, at most this long."""
        ...

    def put_endpoint(self, endpoint: WebhookEndpoint) -> None:
        """Keep a webhook endpoint. From now on what ends its tenant's jobs is delivered to it, in
        the same step in which a job ends."""
        ...

    def get_endpoint(self, tenant: str, endpoint_id: str) -> WebhookEndpoint:
        """Raises NotFound."""
        ...

    def list_endpoints(self, tenant: str) -> list[WebhookEndpoint]:
        """Newest first."""
        ...

    def update_endpoint(
        self, tenant: str, endpoint_id: str, change: Callable[[WebhookEndpoint], WebhookEndpoint]
    ) -> WebhookEndpoint:
        """Change it in one step; `change` may run several times. Raises NotFound."""
        ...

    def delete_endpoint(self, tenant: str, endpoint_id: str) -> None:
        """What is on its way to it is dropped when its turn comes. Raises NotFound."""
        ...

    def claim_deliveries(self, now: float, lease_seconds: float, limit: int) -> list[Delivery]:
        """Those that are due, longest due first; nobody else gets them within `lease_seconds`."""
        ...

    def put_off_delivery(self, delivery: Delivery, due_at: float) -> None:
        """Keep a delivery, as it is now, to be tried at `due_at`."""
        ...

    def drop_delivery(self, delivery_id: str) -> None:
        """It has arrived, or never will."""
        ...

    def count_deliveries(self) -> int:
        """How many have not arrived yet."""
        ...

    def ping(self) -> bool:
        """Whether the store answers."""
        ...
