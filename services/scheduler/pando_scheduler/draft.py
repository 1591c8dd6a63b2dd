"""A plan in the making: the cluster as it would be with what has been decided so far.

The cluster itself is not touched: loads that change are kept beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pando_scheduler.cluster import Cluster
from pando_scheduler.fairness import levels
from pando_scheduler.picture import JobView, Load, Reservation, WorkerView
from pando_scheduler.plan import Join, Leave, Plan
from pando_scheduler.worker_lists import LOAD_STEPS, load_step
from pando_shared.jobs import YieldCause


class Draft:
    """Collects decisions, and answers what they leave of each worker."""

    def __init__(self, cluster: Cluster, now: float):
        self.cluster = cluster
        self.policy = cluster.policy
        self.predict = cluster.predict
        self.now = now
        self.joins: dict[str, Join] = {}
        self.leaves: dict[str, Leave] = {}
        self.reserved: dict[str, Reservation] = {}
        self.released: set[str] = set()
        #: The reservation each reserved worker is under.
        self.keepers = {found.worker_id: found for found in cluster.reservations.values()}
        self._loads: dict[str, Load] = {}
        self._here: dict[str, dict[str, JobView]] = {}
        self._joined: dict[str, list[JobView]] = {}
        self._in_use: dict[str, float] = {}
        self._claims: dict[str, float] = {}
        self._emptied: set[str] = set()
        self._levels: Mapping[str, int] | None = None
        #: Where changed workers are listed now, in place of the cluster's own lists.
        self._steps: dict[str, list[set[str]]] = {}

    def plan(self) -> Plan:
        return Plan(
            tuple(self.leaves.values()),
            tuple(self.joins.values()),
            tuple(self.reserved.values()),
            tuple(sorted(self.released)),
        )

    # What a worker has on it

    def load(self, worker_id: str) -> Load:
        """All who hold memory there and all who join, less those who have been told to leave."""
        found = self._loads.get(worker_id)
        return self.cluster.loads[worker_id] if found is None else found

    def staying(self, worker_id: str) -> dict[str, JobView]:
        """The jobs on a worker that may be told to leave: those that train and stay."""
        here = self._here.get(worker_id)
        found = self.cluster.on(worker_id) if here is None else here
        return {job.id: job for job in found.values() if job.running and not job.yielding}

    def here(self, worker_id: str) -> dict[str, JobView]:
        """All who hold memory there and have not been told to leave in this plan, and who joins."""
        here = self._here.get(worker_id)
        found = dict(self.cluster.on(worker_id) if here is None else here)
        found.update((job.id, job) for job in self._joined.get(worker_id, ()))
        return found

    def places(self, tenant: str) -> set[str]:
        """The workers on which a tenant may have something."""
        return {*self._loads, *self.cluster.accounts.places(tenant)}

    def tenant_use(self, tenant: str) -> float:
        """What a tenant's jobs take, in workers."""
        found = self._in_use.get(tenant)
        return self.cluster.accounts.in_use.get(tenant, 0.0) if found is None else found

    def claim_with(self, job: JobView, worker: WorkerView) -> float:
        """What the job's tenant may come to take with it on a worker, in workers."""
        return self._claims_elsewhere(job.tenant, worker.id) + self._claim(worker, job.tenant, job)

    def _claim(self, worker: WorkerView, tenant: str, extra: JobView | None = None) -> float:
        mine = [job for job in self.here(worker.id).values() if job.tenant == tenant]
        return self.cluster.claim_of([*mine, extra] if extra else mine, worker)

    def _claims_elsewhere(self, tenant: str, worker_id: str) -> float:
        found = self._claims.get(tenant)
        total = self.cluster.accounts.claims.get(tenant, 0.0) if found is None else found
        if worker_id in self._loads:
            return total - self._claim(self.cluster.workers[worker_id], tenant)
        return total - self.cluster.accounts.claim_on(tenant, worker_id)

    def levels(self) -> Mapping[str, int]:
        """How far each tenant with jobs is over its share, in octaves."""
        if self._levels is None:
            cluster = self.cluster
            tenants = {*cluster.waiting.tenants, *cluster.accounts.in_use}
            self._levels = levels(cluster.accounts.meters, tenants, self.policy, self.now)
        return self._levels

    # Where there may be room

    def idle(self, base_model: str | None) -> Iterator[str]:
        """Idle workers with this base in memory, smallest first."""
        for _, worker_id in self.cluster.lists.idle(base_model):
            if worker_id not in self._loads:
                yield worker_id
        # One that the plan has emptied still has its old base in memory.
        for worker_id in sorted(self._emptied):
            if self.cluster.workers[worker_id].base_model == base_model:
                yield worker_id

    def busy(self, base_model: str) -> Iterator[tuple[int, list[str]]]:
        """Workers in use on a base, by the step of their load, the emptiest first."""
        own = self._steps.get(base_model)
        for step, listed in enumerate(self.cluster.lists.busy(base_model)):
            mine = own[step] if own is not None else ()
            if listed or mine:
                unchanged = [i for i in listed if i not in self._loads] if self._loads else listed
                if unchanged or mine:
                    yield step, [*unchanged, *sorted(mine)]

    # Decisions

    def join(self, job: JobView, worker: WorkerView, reason: str) -> None:
        elsewhere = self._limited(job.tenant) and self._claims_elsewhere(job.tenant, worker.id)
        load = self._with(worker, self.load(worker.id), job)
        self.joins[job.id] = Join(job.id, worker.id, reason)
        self._joined.setdefault(worker.id, []).append(job)
        self._set(worker.id, load)
        share = self.cluster.share_of(job, worker, load.demand)
        self._in_use[job.tenant] = self.tenant_use(job.tenant) + share
        if self._limited(job.tenant):
            self._claims[job.tenant] = elsewhere + self._claim(worker, job.tenant)
        reservation = self.cluster.reservations.get(job.id) or self.reserved.get(job.id)
        if reservation is not None:
            self.release(reservation)

    def leave(self, job: JobView, cause: YieldCause, reason: str) -> None:
        assert job.worker_id is not None
        worker = self.cluster.workers[job.worker_id]
        elsewhere = self._limited(job.tenant) and self._claims_elsewhere(job.tenant, worker.id)
        share = self.cluster.share_of(job, worker, self.load(worker.id).demand)
        self._in_use[job.tenant] = max(0.0, self.tenant_use(job.tenant) - share)
        here = self._here.setdefault(worker.id, dict(self.cluster.on(worker.id)))
        del here[job.id]
        self.leaves[job.id] = Leave(job.id, worker.id, cause, reason)
        load = self.cluster.load_of(worker, here)
        for joined in self._joined.get(worker.id, ()):
            load = self._with(worker, load, joined)
        self._set(worker.id, load)
        if self._limited(job.tenant):
            self._claims[job.tenant] = elsewhere + self._claim(worker, job.tenant)

    def _limited(self, tenant: str) -> bool:
        return self.policy.tenant(tenant).limit is not None

    def reserve(self, reservation: Reservation) -> None:
        self.reserved[reservation.job_id] = reservation
        self.keepers[reservation.worker_id] = reservation

    def release(self, reservation: Reservation) -> None:
        self.keepers.pop(reservation.worker_id, None)
        if self.reserved.pop(reservation.job_id, None) is None:
            self.released.add(reservation.job_id)

    def _with(self, worker: WorkerView, load: Load, job: JobView) -> Load:
        """The load with a job that begins now."""
        demand = load.demand + self.predict.demand(job, worker)
        slowdown = self.predict.slowdown(worker, job.base_model, demand, load.count + 1)
        return self.cluster.loaded(worker, load, job, self.now + job.seconds_left * slowdown)

    def _set(self, worker_id: str, load: Load) -> None:
        before = self._loads.get(worker_id)
        if before is not None and before.base_model is not None:
            self._steps[before.base_model][load_step(before)].discard(worker_id)
        self._loads[worker_id] = load
        self._emptied.discard(worker_id)
        if load.base_model is None:
            self._emptied.add(worker_id)
        else:
            steps = self._steps.setdefault(load.base_model, [set() for _ in range(LOAD_STEPS)])
            steps[load_step(load)].add(worker_id)

    def loads(self) -> Mapping[str, Load]:
        """Of the workers that the plan changes."""
        return self._loads
