"""A thread that speaks to the store for the training thread, so that no step waits for Redis.

It heartbeats, renews the leases of resident jobs, publishes their events and progress, and finds
out what became of them meanwhile: paused, cancelled, taken away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from pando_shared.clock import Clock
from pando_shared.errors import Conflict, NotFound
from pando_shared.jobs import Job, JobState, Lease, Progress
from pando_shared.records import Event
from pando_shared.store import Store
from pando_shared.workers import Worker

log = logging.getLogger(__name__)


class Verdict(Enum):
    """What the training thread must do with a resident job."""

    #: No longer ours (cancelled, given to another, gone): drop it and write nothing.
    LOST = "lost"
    #: Ours, but not to be trained on: checkpoint it, then give the lease back.
    RELEASE = "release"


@dataclass(slots=True)
class Seat:
    """A job this worker holds: the epoch it writes under, and what it has still to say."""

    epoch: int
    events: list[Event] = field(default_factory=list)
    progress: Progress | None = None
    estimated_finish: float | None = None
    #: The lease may be old when the job comes: it is renewed at the first opportunity.
    renewed_at: float = float("-inf")


class LeaseKeeper:
    """Owns the worker's side of its leases. All methods may be called from any thread."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        describe: Callable[[], Worker],
        *,
        lease_seconds: float,
        heartbeat_seconds: float,
        poll_seconds: float = 0.2,
        publish_seconds: float = 0.5,
    ):
        """`describe` gives the worker's record as of now."""
        self._store, self._clock, self._describe = store, clock, describe
        self._lease_seconds, self._heartbeat_seconds = lease_seconds, heartbeat_seconds
        self._poll_seconds, self._publish_seconds = poll_seconds, publish_seconds
        self._lock = threading.Lock()
        #: Held while events are on their way, so that two threads cannot swap their order.
        self._speaking = threading.Lock()
        self._seats: dict[str, Seat] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._somebody_waits = threading.Event()
        self._stopped = threading.Event()
        self._heartbeat_at = self._published_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=5)

    def hold(self, job_id: str, epoch: int) -> None:
        """Look after a job from now on."""
        with self._lock:
            self._verdicts.pop(job_id, None)
            self._seats[job_id] = Seat(epoch)

    def drop(self, job_id: str) -> None:
        """Forget a job and whatever it still had to say."""
        with self._lock:
            self._seats.pop(job_id, None)
            self._verdicts.pop(job_id, None)

    def report(
        self,
        job_id: str,
        events: list[Event],
        progress: Progress | None = None,
        estimated_finish: float | None = None,
    ) -> None:
        """Leave something to be published soon."""
        with self._lock:
            seat = self._seats.get(job_id)
            if seat is None:
                return
            seat.events.extend(events)
            if progress is not None:
                seat.progress, seat.estimated_finish = progress, estimated_finish

    def verdicts(self) -> dict[str, Verdict]:
        """What was found out about resident jobs; each stays until the job is dropped."""
        with self._lock:
            return dict(self._verdicts)

    def somebody_waits(self) -> bool:
        """Whether a request for text, or a job that is to join or leave, waits for the round to
        end."""
        return self._somebody_waits.is_set()

    def flush(self, job_id: str) -> None:
        """Publish what one job has to say, now, in the calling thread."""
        with self._lock:
            seat = self._seats.get(job_id)
        if seat is not None:
            self._say(job_id, seat)

    def _say(self, job_id: str, seat: Seat) -> None:
        with self._speaking:
            with self._lock:
                events, seat.events = seat.events, []
            try:
                if events:
                    self._store.append_events(job_id, events, seat.epoch)
            except Exception:
                with self._lock:
                    seat.events[:0] = events  # unsaid; the next attempt says them first
                raise

    def rest(self, seconds: float) -> None:
        """Sleep in the calling thread, at most until the keeper is stopped."""
        self._stopped.wait(seconds)

    def _run(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            try:
                self.tick()
            except Exception:
                # Redis away, for one: leases run on until their time, and training with them.
                log.exception("the store cannot be reached; trying again")

    def tick(self) -> None:
        """One look at the store: what the thread does every `poll_seconds`."""
        now = self._clock.now()
        if _is_due(self._heartbeat_at, self._heartbeat_seconds, now):
            self._store.put_worker(self._describe())
            self._heartbeat_at = now
        worker = self._describe()
        with self._lock:
            seats = dict(self._seats)
        if self._store.samples_waiting(worker.id) or self._others_next(worker, seats):
            self._somebody_waits.set()
        else:
            self._somebody_waits.clear()
        if not seats:
            return
        for job_id, job in zip(seats, self._store.get_jobs(list(seats)), strict=True):
            self._conclude(job_id, seats[job_id], _judge(job, seats[job_id].epoch))
        if _is_due(self._published_at, self._publish_seconds, now):
            self._published_at = now
            for job_id, seat in seats.items():
                self._publish(job_id, seat, worker, now)

    def _others_next(self, worker: Worker, seats: Mapping[str, Seat]) -> bool:
        """Whether the worker's next round is one of other jobs than are here. Where none are, no
        round is training that could make way."""
        return bool(seats) and any(
            {place.job_id for place in planned.assignments} != seats.keys()
            for planned in self._store.rounds_of(worker.id)
            if planned.incarnation == worker.incarnation and planned.started_at is None
        )

    def _conclude(self, job_id: str, seat: Seat, verdict: Verdict | None) -> None:
        """Keep a verdict, unless the job has left, or come back, since it was looked at."""
        with self._lock:
            if self._seats.get(job_id) is not seat:
                return
            if verdict is None:
                self._verdicts.pop(job_id, None)
            else:
                self._verdicts[job_id] = verdict

    def _publish(self, job_id: str, seat: Seat, worker: Worker, now: float) -> None:
        renew = _is_due(seat.renewed_at, self._lease_seconds / 3, now)
        with self._lock:
            progress = seat.progress
        try:
            self._say(job_id, seat)
            if progress is None and not renew:
                return
            lease = Lease(worker.id, worker.incarnation, now + self._lease_seconds)
            estimate = seat.estimated_finish
            self._store.update_job(
                job_id, lambda job: _advanced(job, seat.epoch, lease, progress, estimate)
            )
        except (Conflict, NotFound):
            self._conclude(job_id, seat, Verdict.LOST)
            return
        seat.renewed_at = now
        with self._lock:
            if seat.progress is progress:
                seat.progress = None


def _judge(job: Job | None, epoch: int) -> Verdict | None:
    if job is None or job.epoch != epoch or job.state.terminal:
        return Verdict.LOST
    stays = job.state is JobState.RUNNING and job.yielding is None
    return None if stays else Verdict.RELEASE


def _is_due(last: float, every_seconds: float, now: float) -> bool:
    """At once also where the clock was set back since: nobody waits until it is as late again."""
    return not 0 <= now - last < every_seconds


def _advanced(
    job: Job, epoch: int, lease: Lease, progress: Progress | None, estimate: float | None
) -> Job:
    job.fenced(epoch)
    if job.lease is None:
        return job  # given back a moment ago
    if progress is None:
        return replace(job, lease=lease)
    # Which checkpoint is durable is the checkpoint writer's to say.
    progress = replace(progress, checkpoint_step=job.progress.checkpoint_step)
    return replace(job, lease=lease, progress=progress, estimated_finish=estimate)
