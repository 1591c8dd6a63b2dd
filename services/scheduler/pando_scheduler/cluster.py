"""The scheduler's picture of the cluster, kept up to date change by change.

A change costs O(log n), and `schedule` looks at what changed: so a pass over a large cluster in
which little happens is short. The picture decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pando_scheduler.picture import JobView, Load, Reservation, WorkerView
from pando_scheduler.prediction import Predictor
from pando_scheduler.running import RunningJobs
from pando_scheduler.takes import Takes
from pando_scheduler.tenant_accounts import TenantAccounts
from pando_scheduler.waiting import WaitingJobs
from pando_scheduler.worker_lists import WorkerLists
from pando_shared.footprint import Footprint
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy

#: Seconds after which the first of the queue are looked at again though nothing has changed.
RELOOK_SECONDS = 30.0
_NOTHING = Load()


class Cluster:
    """Live workers, the jobs on them, the jobs that wait, what tenants have used, reservations."""

    def __init__(self, policy: Policy, predict: Predictor):
        self.policy = policy
        self.predict = predict
        self.classes = _by_rank(policy)
        self.workers: dict[str, WorkerView] = {}
        self.loads: dict[str, Load] = {}
        self.waiting = WaitingJobs()
        self.running = RunningJobs()
        self.reservations: dict[str, Reservation] = {}
        self.accounts = TenantAccounts(policy.usage_half_life_seconds)
        self.lists = WorkerLists()
        self.takes = Takes(predict)
        #: What may have come free since the last plan was settled, and who is new in the queue.
        self.dirty: set[str] = set()
        self.fresh: set[str] = set()
        self.settled_at = self.relooked_at = float("-inf")
        self._held: dict[str, dict[str, JobView]] = {}
        self._where: dict[str, str] = {}

    # Jobs

    def put_job(self, job: JobView, now: float) -> None:
        """Learn of a job, or of what became of it."""
        before = self.find(job.id)
        if before is not None and before.worker_id != job.worker_id:
            self.drop_job(job.id, now)
            before = None
        if job.queued:
            if before is None or _asks_differently(before, job):
                self.fresh.add(job.id)
            self.waiting.put(job)
            return
        assert job.worker_id is not None
        self._where[job.id] = job.worker_id
        self._held.setdefault(job.worker_id, {})[job.id] = job
        if job.running and not job.yielding:
            self.running.put(job)
        else:
            self.running.drop(job.id)
        if before is None or _bears_differently(before, job):
            self._reload(job.worker_id, now)
        elif before.ends_at != job.ends_at and job.worker_id in self.loads:
            self._retime(job.worker_id)

    def drop_job(self, job_id: str, now: float) -> None:
        """Forget a job that has ended."""
        self.fresh.discard(job_id)
        self.waiting.drop(job_id)
        self._unreserve(job_id)
        worker_id = self._where.pop(job_id, None)
        if worker_id is None:
            return
        self.running.drop(job_id)
        job = self._held[worker_id].pop(job_id)
        if not self._held[worker_id]:
            del self._held[worker_id]
        self._reload(worker_id, now)
        limit = self.policy.tenant(job.tenant).limit
        if limit is not None or job.tenant not in self.accounts.in_use:
            # What it had now is its tenant's to have elsewhere; and one that has no place left may
            # join where it adds nothing.
            self.fresh.update(waiting.id for waiting in self.waiting.of(job.tenant))

    def note_reservations(self, released: Iterable[str], reserved: Iterable[Reservation]) -> None:
        """Learn of reservations that were given up, and of new ones."""
        for job_id in released:
            self._unreserve(job_id)
        for reservation in reserved:
            self.reservations[reservation.job_id] = reservation

    def _unreserve(self, job_id: str) -> None:
        """The worker is open to others again."""
        reservation = self.reservations.pop(job_id, None)
        if reservation is not None and reservation.worker_id in self.workers:
            self.dirty.add(reservation.worker_id)

    def find(self, job_id: str) -> JobView | None:
        worker_id = self._where.get(job_id)
        if worker_id is not None:
            return self._held[worker_id][job_id]
        return self.waiting.get(job_id)

    def on(self, worker_id: str) -> Mapping[str, JobView]:
        """The jobs that hold a lease on a worker, dead or alive, by id."""
        return self._held.get(worker_id, {})

    def placed(self) -> Iterator[JobView]:
        """All jobs that hold a lease."""
        for held in self._held.values():
            yield from held.values()

    # Workers

    def put_worker(self, worker: WorkerView, now: float) -> None:
        """Learn of a live worker, or of a change in it."""
        if self.workers.get(worker.id) == worker:
            return
        if worker.id in self.workers:
            self.takes.drop(self.workers[worker.id])
        self.takes.put(worker)
        self.workers[worker.id] = worker
        self._reload(worker.id, now)

    def drop_worker(self, worker_id: str, now: float) -> None:
        """Forget a worker that is gone. Jobs that it holds stay its own until they are told so."""
        worker = self.workers.pop(worker_id, None)
        if worker is None:
            return
        self.takes.drop(worker)
        self.lists.drop(worker_id)
        del self.loads[worker_id]
        self.dirty.discard(worker_id)
        self.accounts.charge(worker_id, {}, {}, now)
        for job_id, reservation in list(self.reservations.items()):
            if reservation.worker_id == worker_id:
                del self.reservations[job_id]
                self.fresh.add(job_id)

    # What changes the answers to everything

    def set_policy(self, policy: Policy, now: float) -> None:
        """Work by another policy from now on."""
        if policy != self.policy:
            self.accounts.use_half_life(policy.usage_half_life_seconds, now)
            self.policy = policy
            self.classes = _by_rank(policy)
            self.touch_all(now)

    def touch_all(self, now: float) -> None:
        """Look at everything anew: policies or predictions have changed."""
        for worker_id in self.workers:
            self._reload(worker_id, now)
        self.fresh.update(job.id for job in self.waiting)

    def settle(self, now: float) -> None:
        """The plan for what changed up to now has been made and carried out."""
        self.dirty.clear()
        self.fresh.clear()
        self.settled_at = now
        if now - self.relooked_at >= RELOOK_SECONDS:
            self.relooked_at = now

    def relook_due(self, now: float) -> bool:
        """Whether it is time to look again at those who could take others' places: what entitles
        them comes with time alone."""
        return now - self.relooked_at >= RELOOK_SECONDS

    # Tenants

    def share_of(self, job: JobView, worker: WorkerView, demand: float) -> float:
        """What part of a worker a job takes: of its tokens or of its memory, whichever is more.

        `demand` is that of all jobs there, this one included.
        """
        mine = self.predict.demand(job, worker)
        tokens = mine / max(1.0, demand)
        footprint = self.predict.footprint(job, worker)
        room = worker.kind.budget_bytes - worker.kind.resident_bytes
        memory = footprint.device_bytes / room if footprint is not None and room > 0 else 0.0
        return min(1.0, max(tokens, memory))

    def claim_of(self, jobs: Iterable[JobView], worker: WorkerView) -> float:
        """What part of a worker these jobs of one tenant may come to take, whoever is beside them:
        never less than what they do take."""
        return min(1.0, sum(self.share_of(job, worker, 1.0) for job in jobs))

    # How a load comes about

    def load_of(self, worker: WorkerView, jobs: Mapping[str, JobView]) -> Load:
        """The sums over some jobs on a worker."""
        load = _NOTHING
        for job in jobs.values():
            load = self.loaded(worker, load, job, job.ends_at)
        return load

    def loaded(self, worker: WorkerView, load: Load, job: JobView, ends_at: float) -> Load:
        """The load with one more job on it."""
        predict = self.predict
        footprint = predict.footprint(job, worker) or Footprint(1)
        return Load(
            job.base_model,
            load.count + 1,
            load.footprint + footprint,
            load.demand + predict.demand(job, worker),
            min(load.tightest, self.classes[job.rank].max_slowdown),
            min(load.shortest, ends_at),
            max(load.longest, ends_at),
            load.alone or job.alone,
        )

    def _retime(self, worker_id: str) -> None:
        """Learn when jobs on a worker will end. It takes nobody's place, so nobody is told."""
        ends = [job.ends_at for job in self._held[worker_id].values()]
        load = self.loads[worker_id]
        self.loads[worker_id] = replace(load, shortest=min(ends), longest=max(ends))

    def _reload(self, worker_id: str, now: float) -> None:
        worker = self.workers.get(worker_id)
        if worker is None:
            return
        held = self.on(worker_id)
        load = self.loads[worker_id] = self.load_of(worker, held)
        self.dirty.add(worker_id)
        self.lists.put(worker, load)
        shares: dict[str, float] = {}
        claims: dict[str, float] = {}
        for job in held.values():
            tenant = job.tenant
            share = shares.get(tenant, 0.0) + self.share_of(job, worker, load.demand)
            claim = claims.get(tenant, 0.0) + self.share_of(job, worker, 1.0)
            shares[tenant], claims[tenant] = min(1.0, share), min(1.0, claim)
        self.accounts.charge(worker_id, shares, claims, now)


def _by_rank(policy: Policy) -> tuple[ClassPolicy, ...]:
    return tuple(policy.classes[priority] for priority in sorted(Priority, key=lambda p: p.rank))


def _asks_differently(before: JobView, after: JobView) -> bool:
    """Whether a waiting job may be placed where it might not before."""
    return before.shape != after.shape or before.held != after.held or before.avoids != after.avoids


def _bears_differently(before: JobView, after: JobView) -> bool:
    """Whether a change of a job is one to its worker, too. Its progress is none."""
    return (
        before.size != after.size
        or before.memory_ratio != after.memory_ratio
        or before.running != after.running
        or before.yielding != after.yielding
        or before.alone != after.alone
        or before.rank != after.rank
    )
