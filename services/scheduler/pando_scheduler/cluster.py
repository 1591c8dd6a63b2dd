"""The scheduler's picture of the cluster, kept up to date change by change.

A change costs O(log n), and `schedule` looks at what changed: so a pass over a large cluster in
which little happens is short. The picture decides nothing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace

from pando_scheduler.fairness import Meter
from pando_scheduler.picture import JobSize, JobView, Load, Reservation, WorkerView
from pando_scheduler.prediction import Predictor
from pando_scheduler.running import RunningJobs
from pando_scheduler.waiting import WaitingJobs
from pando_shared.footprint import Footprint
from pando_shared.forecasts import Usage
from pando_shared.jobs import Priority
from pando_shared.policy import ClassPolicy, Policy

#: Workers in use are kept by their demand, in steps of one eighth of a worker; 2 and more are one.
LOAD_STEPS = 17
STEPS_A_WORKER = 8
#: Seconds after which the first of the queue are looked at again though nothing has changed.
RELOOK_SECONDS = 30.0
_NOTHING = Load()
#: What so many unlike jobs take is remembered.
_REMEMBERED = 1 << 14
_NOBODY: list[list[str]] = [[] for _ in range(LOAD_STEPS)]


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
        self.meters: dict[str, Meter] = {}
        #: What each tenant's jobs take now, in workers.
        self.in_use: dict[str, float] = {}
        #: What they may come to take if they get all that they can use, which limits go by.
        self.claims: dict[str, float] = {}
        #: What may have come free since the last plan was settled, and who is new in the queue.
        self.dirty: set[str] = set()
        self.fresh: set[str] = set()
        self.settled_at = self.relooked_at = float("-inf")
        self._held: dict[str, dict[str, JobView]] = {}
        self._where: dict[str, str] = {}
        self._shares: dict[str, dict[str, float]] = {}
        self._claims: dict[str, dict[str, float]] = {}
        self._devices: dict[Hashable, set[str]] = {}
        self._takes: dict[tuple[JobSize, float | None, str], tuple[float, ...]] = {}
        self._takes_version = predict.version
        self._idle: dict[str | None, list[tuple[int, str]]] = {}
        self._busy: dict[str, list[list[str]]] = {}
        self._listed: dict[str, tuple[str | None, int]] = {}

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
        if limit is not None or job.tenant not in self.in_use:
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
        self._unlist(worker.id)
        self._disown(worker.id)
        self.workers[worker.id] = worker
        like = _device(worker)
        if like not in self._devices:
            self._takes.clear()
        self._devices.setdefault(like, set()).add(worker.id)
        self._reload(worker.id, now)

    def drop_worker(self, worker_id: str, now: float) -> None:
        """Forget a worker that is gone. Jobs that it holds stay its own until they are told so."""
        if worker_id not in self.workers:
            return
        self._unlist(worker_id)
        self._disown(worker_id)
        del self.workers[worker_id]
        self.loads.pop(worker_id, None)
        self.dirty.discard(worker_id)
        self._charge(worker_id, {}, {}, now)
        for job_id, reservation in list(self.reservations.items()):
            if reservation.worker_id == worker_id:
                del self.reservations[job_id]
                self.fresh.add(job_id)

    def idle(self, base_model: str | None) -> list[tuple[int, str]]:
        """Workers without a job that have this base in memory (None: no base): (budget, id),
        smallest first."""
        return self._idle.get(base_model, [])

    def idle_bases(self) -> list[str | None]:
        return sorted((base for base, found in self._idle.items() if found), key=str)

    def busy(self, base_model: str) -> list[list[str]]:
        """Ids of workers with jobs on this base, sorted, by `load_step` of their demand."""
        return self._busy.get(base_model, _NOBODY)

    def busy_bases(self) -> list[str]:
        return sorted(self._busy)

    # What changes the answers to everything

    def set_policy(self, policy: Policy, now: float) -> None:
        """Work by another policy from now on."""
        if policy != self.policy:
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

    def set_usage(self, usages: Mapping[str, Usage], now: float) -> None:
        """Go on from what was known of tenants' use before."""
        for tenant, usage in usages.items():
            meter = self.meters.setdefault(tenant, Meter())
            meter.worker_seconds, meter.at = usage.worker_seconds, min(usage.at, now)

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

    def claim_on(self, tenant: str, worker_id: str) -> float:
        """What a tenant's jobs may come to take of a worker."""
        return self._claims.get(worker_id, {}).get(tenant, 0.0)

    def takes(self, job: JobView) -> tuple[float, ...]:
        """A job's share of tokens and all that decides its memory, on each kind of device."""
        if self._takes_version != self.predict.version:
            self._takes.clear()
            self._takes_version = self.predict.version
        key = (job.size, job.memory_ratio, job.base_model)
        found = self._takes.get(key)
        if found is None:
            if len(self._takes) >= _REMEMBERED:
                self._takes.clear()
            found = self._takes[key] = tuple(self._measured(job))
        return found

    def _measured(self, job: JobView) -> Iterator[float]:
        for like in sorted(self._devices, key=repr):
            worker = self.workers[next(iter(self._devices[like]))]
            yield self.predict.demand(job, worker)
            footprint = self.predict.footprint(job, worker)
            if footprint is not None:
                yield from (footprint.device_bytes, footprint.margin_bytes, footprint.host_bytes)
                yield from footprint.largest

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
        self._unlist(worker_id)
        held = self.on(worker_id)
        load = self.loads[worker_id] = self.load_of(worker, held)
        self.dirty.add(worker_id)
        self._list(worker, load)
        shares: dict[str, float] = {}
        claims: dict[str, float] = {}
        for job in held.values():
            tenant = job.tenant
            share = shares.get(tenant, 0.0) + self.share_of(job, worker, load.demand)
            claim = claims.get(tenant, 0.0) + self.share_of(job, worker, 1.0)
            shares[tenant], claims[tenant] = min(1.0, share), min(1.0, claim)
        self._charge(worker_id, shares, claims, now)

    def _charge(
        self, worker_id: str, shares: dict[str, float], claims: dict[str, float], now: float
    ) -> None:
        """Turn tenants' meters to what they have on this worker from now on."""
        claimed = self._claims.pop(worker_id, {})
        if claims:
            self._claims[worker_id] = claims
        for tenant in claimed.keys() | claims.keys():
            change = claims.get(tenant, 0.0) - claimed.get(tenant, 0.0)
            self.claims[tenant] = self.claims.get(tenant, 0.0) + change
            if self.claims[tenant] <= 1e-9:
                del self.claims[tenant]
        before = self._shares.pop(worker_id, {})
        if shares:
            self._shares[worker_id] = shares
        for tenant in before.keys() | shares.keys():
            change = shares.get(tenant, 0.0) - before.get(tenant, 0.0)
            rate = self.in_use.get(tenant, 0.0) + change
            if rate <= 1e-9:
                self.in_use.pop(tenant, None)
                rate = 0.0
            else:
                self.in_use[tenant] = rate
            meter = self.meters.setdefault(tenant, Meter(at=now))
            meter.turn(now, self.policy.usage_half_life_seconds, rate)

    def _disown(self, worker_id: str) -> None:
        before = self.workers.get(worker_id)
        if before is not None:
            alike = self._devices[_device(before)]
            alike.discard(worker_id)
            if not alike:
                del self._devices[_device(before)]
                self._takes.clear()

    def _list(self, worker: WorkerView, load: Load) -> None:
        if load.base_model is None:
            insort(
                self._idle.setdefault(worker.base_model, []), (worker.kind.budget_bytes, worker.id)
            )
            self._listed[worker.id] = worker.base_model, -1
        else:
            steps = self._busy.setdefault(load.base_model, [[] for _ in range(LOAD_STEPS)])
            step = load_step(load)
            insort(steps[step], worker.id)
            self._listed[worker.id] = load.base_model, step

    def _unlist(self, worker_id: str) -> None:
        if worker_id not in self._listed:
            return
        base, step = self._listed.pop(worker_id)
        if step < 0:
            line = self._idle[base]
            del line[bisect_left(line, (self.workers[worker_id].kind.budget_bytes, worker_id))]
        else:
            assert base is not None
            ids = self._busy[base][step]
            del ids[bisect_left(ids, worker_id)]


def _by_rank(policy: Policy) -> tuple[ClassPolicy, ...]:
    return tuple(policy.classes[priority] for priority in sorted(Priority, key=lambda p: p.rank))


def load_step(load: Load) -> int:
    return min(LOAD_STEPS - 1, int(load.demand * STEPS_A_WORKER + 1e-9))


def _device(worker: WorkerView) -> Hashable:
    """What makes jobs take alike of two workers."""
    kind = worker.kind
    return kind.device, kind.device_kind, kind.token_budget, kind.base_format, kind.rows_on_disk


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
