"""The heart of the simulator: discrete events on machines that train as the real ones do.

The policy sees predictions; time and memory go by the truth. A machine shares its speed among its
jobs as the engine does, by equal tokens to all who can use them.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pando_scheduler.cluster import Cluster
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, WorkerKind, WorkerView, job_size, worker_kind
from pando_scheduler.plan import Plan
from pando_scheduler.reservations import promised_seconds
from pando_scheduler.simulation.arrivals import Arrival, Machine
from pando_scheduler.simulation.contenders import Contender, Known
from pando_scheduler.simulation.learning import Learning
from pando_scheduler.simulation.run import Outcome, Run, Sample, TenantAccount
from pando_scheduler.simulation.sharing import speeds
from pando_shared.catalogue import BaseModel
from pando_shared.footprint import Footprint
from pando_shared.policy import Policy
from pando_shared.speed import SpeedModel, assumed_speed


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How the simulated world works. Durations in seconds.

    Plans follow each other by `plan_seconds` at least, and by `idle_seconds` at most while somebody
    waits. A job that comes to a machine begins after `join_seconds`, and after the base is loaded
    if it must be. A machine fails once in `failure_seconds` in the mean (None: never) and is back
    after `repair_seconds`; its jobs go on from checkpoints that are `checkpoint_seconds` apart.
    """

    catalogue: Mapping[str, BaseModel]
    policy: Policy = field(default_factory=Policy)
    speed: SpeedModel = field(default_factory=lambda: assumed_speed("cuda"))
    headroom: float = 0.10
    token_budget: int = 16384
    plan_seconds: float = 5.0
    idle_seconds: float = 60.0
    join_seconds: float = 5.0
    leave_seconds: float = 5.0
    checkpoint_seconds: float = 60.0
    failure_seconds: float | None = None
    repair_seconds: float = 600.0
    sample_seconds: float = 600.0
    seed: int = 0
    #: Called now and then with simulated seconds and jobs finished.
    progress: Callable[[float, int], None] | None = None


def simulate(
    arrivals: Iterable[Arrival],
    machines: Sequence[Machine],
    contender: Contender,
    options: WorldOptions,
) -> Run:
    """Run a policy on a workload until all jobs have ended. `arrivals` come by time."""
    return _World(iter(arrivals), machines, contender, options).run()


@dataclass(slots=True)
class _Live:
    """A job in the world. `left` is what is truly left, in seconds alone on a machine."""

    arrival: Arrival
    view: JobView
    outcome: Outcome
    left: float
    demand: float
    speed: float = 0.0
    ready_at: float = 0.0
    attained: float = 0.0
    #: Since when it has been waiting.
    waits_since: float = 0.0


@dataclass(slots=True)
class _Site:
    """A machine: the jobs on it, and up to when their progress is counted."""

    machine: Machine
    kind: WorkerKind
    jobs: dict[str, _Live] = field(default_factory=dict)
    counted_at: float = 0.0
    version: int = 0
    base_model: str | None = None


class _World:
    def __init__(
        self,
        arrivals: Iterator[Arrival],
        machines: Sequence[Machine],
        contender: Contender,
        options: WorldOptions,
    ):
        self.options, self.contender = options, contender
        self.arrivals = arrivals
        self.predict = LearntPredictor(options.catalogue, options.headroom)
        self.truth = LearntPredictor(options.catalogue, 0.0)
        speeds_by_kind = {
            (base, machine.device_kind): options.speed
            for base in options.catalogue
            for machine in machines
        }
        self.predict.learn({}, speeds_by_kind)
        self.truth.learn({}, speeds_by_kind)
        policy = contender.policy(options.policy)
        self.cluster = Cluster(policy, self.predict)
        self.result = Run(contender.name)
        self.random = random.Random(options.seed)
        self.learning = Learning(self.predict, speeds_by_kind)
        self.live: dict[str, _Live] = {}
        self.sites: dict[str, _Site] = {}
        self.events: list[tuple[float, int, str, object]] = []
        self.sequence = 0
        self.now = 0.0
        self.planned_at = -math.inf
        self.plan_due: float | None = None
        self.backlog = _Backlog()
        self.starving: list[tuple[float, str]] = []
        self.promised: dict[str, tuple[float, float]] = {}
        self.finished = 0
        self.known = Known(
            attained=lambda job_id: self.live[job_id].attained,
            truth=lambda job_id: self.live[job_id].left,
        )
        for machine in machines:
            self.at(machine.since, "machine", machine)

    # Time

    def at(self, when: float, kind: str, what: object) -> None:
        self.sequence += 1
        heapq.heappush(self.events, (when, self.sequence, kind, what))

    def run(self) -> Run:
        began = time.perf_counter()
        self._next_arrival()
        self.at(0.0, "sample", None)
        handle: dict[str, Callable[[object], None]] = {
            "arrival": self._arrive,
            "machine": self._machine_comes,
            "gone": self._machine_goes,
            "fail": self._machine_fails,
            "change": self._site_changes,
            "plan": self._plan_due,
            "sample": self._sample,
        }
        while self.events:
            self.now, _, kind, what = heapq.heappop(self.events)
            handle[kind](what)
            changed = self.cluster.dirty or self.cluster.fresh
            if changed and (not self.events or self.events[0][0] > self.now):
                self._plan_soon()
        self.result.seconds = time.perf_counter() - began
        self.backlog.close(self.now, self.result.tenants)
        return self.result

    def _plan_soon(self) -> None:
        due = self.planned_at + self.options.plan_seconds
        if due <= self.now:
            self._plan()
        elif self.plan_due is None or self.plan_due > due:
            self.plan_due = due
            self.at(due, "plan", None)

    def _plan_due(self, _: object) -> None:
        if self.plan_due is not None and self.plan_due <= self.now:
            self.plan_due = None
            self._plan()

    # Jobs

    def _next_arrival(self) -> None:
        arrival = next(self.arrivals, None)
        if arrival is not None:
            self.at(arrival.at, "arrival", arrival)

    def _arrive(self, what: object) -> None:
        assert isinstance(what, Arrival)
        self._next_arrival()
        arrival = what
        size = job_size(arrival.adapter, arrival.step_tokens, round(arrival.mean_length))
        method = arrival.adapter.type
        alone = arrival.tokens / self.options.speed.alone_tokens_per_second(
            arrival.step_tokens, method
        )
        view = JobView(
            id=arrival.id,
            tenant=arrival.tenant,
            base_model=arrival.base_model,
            rank=arrival.priority.rank,
            created_at=self.now,
            queued_at=self.now,
            size=size,
            seconds_left=alone / arrival.time_error,
        )
        outcome = Outcome(arrival.id, arrival.tenant, self.now, alone)
        demand = self.options.speed.demand(arrival.step_tokens, method)
        live = _Live(arrival, view, outcome, alone, demand, waits_since=self.now)
        self.live[arrival.id] = live
        self.result.outcomes.append(outcome)
        self.backlog.enter(arrival.tenant, self.now, self.result.tenants)
        self._wait(live, view)

    def _wait(self, live: _Live, view: JobView) -> None:
        live.view = view
        live.waits_since = self.now
        self.cluster.put_job(view, self.now)
        starts_to_starve = view.queued_at + self.cluster.policy.starvation_seconds
        if math.isfinite(starts_to_starve):
            heapq.heappush(self.starving, (starts_to_starve, live.arrival.id))

    def _end(self, site: _Site, live: _Live) -> None:
        arrival = live.arrival
        del site.jobs[arrival.id]
        self.cluster.drop_job(arrival.id, self.now)
        live.outcome.finished = self.now
        del self.live[arrival.id]
        self.promised.pop(arrival.id, None)
        self.finished += 1
        self.result.makespan = self.now
        self.backlog.leave(arrival.tenant, self.now, self.result.tenants)

    # Machines

    def _machine_comes(self, what: object) -> None:
        assert isinstance(what, Machine)
        kind = WorkerKind("cuda", what.device_kind, what.budget_bytes, self.options.token_budget)
        self.sites[what.id] = site = _Site(what, _kind(kind, None), counted_at=self.now)
        self._tell(site)
        if what.until is not None:
            self.at(what.until, "gone", what.id)
        if self.options.failure_seconds is not None:
            after = self.random.expovariate(1.0 / self.options.failure_seconds)
            self.at(self.now + after, "fail", what.id)

    def _machine_goes(self, what: object) -> None:
        self._lose(str(what))

    def _machine_fails(self, what: object) -> None:
        site = self.sites.get(str(what))
        if site is None or not (self.live or self.events):
            return
        self._lose(str(what))
        back = replace(site.machine, since=self.now + self.options.repair_seconds)
        if self.live:
            self.at(back.since, "machine", back)

    def _lose(self, machine_id: str) -> None:
        site = self.sites.pop(machine_id, None)
        if site is None:
            return
        self._count(site)
        lost = list(site.jobs.values())
        for live in lost:
            trained = max(0.0, self.now - live.ready_at)
            live.left += live.speed * (trained % self.options.checkpoint_seconds)
            live.outcome.lost += 1
            self.cluster.drop_job(live.view.id, self.now)
        self.cluster.drop_worker(machine_id, self.now)
        for live in lost:
            self._back_to_queue(live)

    def _back_to_queue(self, live: _Live) -> None:
        live.speed = 0.0
        told = live.left / live.arrival.time_error
        # What it had waited before counts on, until it has had its turn for it.
        waited = live.view.placed_at - live.view.queued_at
        if waited >= self.cluster.policy.starvation_seconds:
            waited = 0.0
        view = replace(
            live.view,
            worker_id=None,
            running=False,
            queued_at=self.now - waited,
            seconds_left=told,
        )
        self._wait(live, view)

    def _tell(self, site: _Site) -> None:
        """Have the cluster know the machine as it is."""
        machine = site.machine
        site.kind = _kind(site.kind, site.base_model)
        bases = frozenset(machine.bases) if machine.bases else None
        self.cluster.put_worker(WorkerView(machine.id, site.kind, bases), self.now)

    def _count(self, site: _Site) -> None:
        """Count what the machine's jobs have done since this was last asked."""
        since = site.counted_at
        site.counted_at = self.now
        tenants = self.result.tenants
        for live in site.jobs.values():
            trained = self.now - max(since, live.ready_at)
            if trained > 0:
                live.left -= live.speed * trained
                used = live.speed * live.demand * trained
                live.attained += used
                tenants[live.arrival.tenant].service += used

    def _share(self, site: _Site) -> None:
        """Give the machine's jobs their speeds from now on, and see when the next thing happens."""
        site.version += 1
        ready = [live for live in site.jobs.values() if live.ready_at <= self.now]
        weights = self._weights(ready) if self.contender.by_tenant else None
        demands = [live.demand for live in ready]
        found = speeds(demands, self.options.speed.interference, weights)
        padding = _padding(ready) if self.contender.padded else 1.0
        for live in site.jobs.values():
            live.speed = 0.0
        upcoming = [live.ready_at for live in site.jobs.values() if live.ready_at > self.now]
        for live, speed in zip(ready, found, strict=True):
            live.speed = speed * padding
            ends = self.now + max(0.0, live.left) / live.speed
            upcoming.append(ends)
            told = max(0.0, live.left) / live.arrival.time_error
            live.view = replace(live.view, seconds_left=told, ends_at=self.now + told / live.speed)
            self.cluster.put_job(live.view, self.now)
        if upcoming:
            self.at(min(upcoming), "change", (site.machine.id, site.version))

    def _weights(self, jobs: Sequence[_Live]) -> list[float]:
        """A tenant's weight, spread over its jobs."""
        counts = Counter(live.arrival.tenant for live in jobs)
        policy = self.cluster.policy
        return [policy.tenant(t).weight / counts[t] for t in (j.arrival.tenant for j in jobs)]

    def _site_changes(self, what: object) -> None:
        assert isinstance(what, tuple)
        machine_id, version = what
        site = self.sites.get(machine_id)
        if site is None or site.version != version:
            return
        self._count(site)
        for live in [live for live in site.jobs.values() if live.left <= 1e-6]:
            self._end(site, live)
        self._share(site)

    # Plans

    def _plan(self) -> None:
        self.planned_at = self.now
        self._note_starving()
        began = time.perf_counter()
        plan = self.contender.plan(self.cluster, self.now, self.known)
        self.result.plan_seconds += time.perf_counter() - began
        self.result.plans += 1
        self._carry_out(plan)
        if len(self.cluster.waiting) and self.sites:
            due = self.now + self.options.idle_seconds
            for reservation in self.cluster.reservations.values():
                if self.now < reservation.due < due:
                    due = reservation.due
            if self.plan_due is None or self.plan_due > due or self.plan_due <= self.now:
                self.plan_due = due
                self.at(due, "plan", None)

    def _carry_out(self, plan: Plan) -> None:
        cluster = self.cluster
        settled = not plan
        cluster.settle(self.now)
        cluster.note_reservations(plan.released, plan.reserved)
        if settled:
            return
        touched: dict[str, _Site] = {}
        for leave in plan.leaves:
            site = self.sites[leave.worker_id]
            if site.machine.id not in touched:
                self._count(site)
                touched[site.machine.id] = site
            live = site.jobs.pop(leave.job_id)
            live.outcome.preemptions += 1
            self.result.preemptions += 1
            self.result.checkpoints += 1
            cluster.drop_job(leave.job_id, self.now)
            preempted = live.view.preemptions + 1
            live.view = replace(live.view, preemptions=preempted)
            self._back_to_queue(live)
        for join in plan.joins:
            site = self.sites[join.worker_id]
            if site.machine.id not in touched:
                self._count(site)
                touched[site.machine.id] = site
            self._join(site, self.live[join.job_id])
        for site in touched.values():
            self._enforce_memory(site)
            self._share(site)

    def _join(self, site: _Site, live: _Live) -> None:
        base = live.arrival.base_model
        delay = self.options.join_seconds
        if site.base_model != base:
            worker = self.cluster.workers[site.machine.id]
            delay += self.predict.swap_seconds(worker, base)
            site.base_model = base
            self.result.swaps += 1
            self._tell(site)
        live.ready_at = self.now + delay
        outcome = live.outcome
        outcome.waited += self.now - live.waits_since
        if outcome.started is None:
            outcome.started = self.now
        promise = self.promised.pop(live.arrival.id, None)
        if promise is not None:
            starved_at, allowed = promise
            outcome.bypass_excess = max(outcome.bypass_excess, self.now - starved_at - allowed)
        site.jobs[live.arrival.id] = live
        view = replace(
            live.view,
            worker_id=site.machine.id,
            running=True,
            placed_at=self.now,
            saved_at=self.now,
            ends_at=live.ready_at + live.view.seconds_left,
        )
        live.view = view
        self.cluster.put_job(view, self.now)

    def _enforce_memory(self, site: _Site) -> None:
        """Whoever came last leaves if memory runs out. What each takes is measured from now on."""
        while site.jobs and not self._holds(site):
            live = list(site.jobs.values())[-1]
            self.result.out_of_memory += 1
            del site.jobs[live.arrival.id]
            self.cluster.drop_job(live.arrival.id, self.now)
            size = live.view.size
            larger = job_size(size.adapter, size.step_tokens, size.longest, size.out_of_memory + 1)
            live.view = replace(live.view, size=larger)
            self._back_to_queue(live)
        for live in site.jobs.values():
            if live.view.memory_ratio is None:
                measured = live.arrival.memory_error
                self.learning.observe(live.arrival.base_model, site.machine.device_kind, measured)
                live.view = replace(live.view, memory_ratio=round(measured, 2))
                self.cluster.put_job(live.view, self.now)

    def _holds(self, site: _Site) -> bool:
        worker = self.cluster.workers[site.machine.id]
        total, base = Footprint(), ""
        for live in site.jobs.values():
            base = live.arrival.base_model
            true = replace(live.view, memory_ratio=live.arrival.memory_error)
            total += self.truth.footprint(true, worker) or Footprint()
        needs = self.truth.needs(worker, base, total)
        return needs.device_bytes <= site.machine.budget_bytes

    def _note_starving(self) -> None:
        """Remember what was promised to each job that has starved since the last plan."""
        since = self.now - self.cluster.policy.starvation_seconds
        while self.starving and self.starving[0][0] <= self.now:
            starved_at, job_id = heapq.heappop(self.starving)
            job = self.cluster.waiting.get(job_id)
            if job is None or job.queued_at > since:
                continue
            ahead = sum(1 for other in self.cluster.waiting.starved(job.queued_at))
            change = self.options.leave_seconds + 2 * self.options.plan_seconds + 60.0
            allowed = promised_seconds(self.cluster, ahead, change)
            self.promised[job_id] = (starved_at, allowed)

    def _sample(self, _: object) -> None:
        useful = busy = 0.0
        for site in self.sites.values():
            busy += bool(site.jobs)
            useful += sum(live.speed * live.demand for live in site.jobs.values())
        workers = len(self.sites)
        running = len(self.live) - len(self.cluster.waiting)
        self.result.samples.append(
            Sample(
                self.now,
                len(self.cluster.waiting),
                running,
                int(busy),
                workers,
                useful / workers if workers else 0.0,
            )
        )
        if self.options.progress is not None:
            self.options.progress(self.now, self.finished)
        if self.live or self.events:
            self.at(self.now + self.options.sample_seconds, "sample", None)


class _Backlog:
    """How long each tenant had a job that waited or trained."""

    def __init__(self) -> None:
        self._jobs: dict[str, int] = {}
        self._since: dict[str, float] = {}

    def enter(self, tenant: str, now: float, accounts: dict[str, TenantAccount]) -> None:
        accounts.setdefault(tenant, TenantAccount())
        if not self._jobs.get(tenant):
            self._since[tenant] = now
        self._jobs[tenant] = self._jobs.get(tenant, 0) + 1

    def leave(self, tenant: str, now: float, accounts: dict[str, TenantAccount]) -> None:
        self._jobs[tenant] -= 1
        if not self._jobs[tenant]:
            accounts[tenant].backlogged += now - self._since.pop(tenant)

    def close(self, now: float, accounts: dict[str, TenantAccount]) -> None:
        for tenant, since in self._since.items():
            accounts[tenant].backlogged += now - since


def _kind(kind: WorkerKind, base_model: str | None) -> WorkerKind:
    """The one object for the same kind of machine with this base in memory."""
    return worker_kind(
        kind.device,
        kind.device_kind,
        kind.budget_bytes,
        kind.token_budget,
        kind.base_format,
        kind.host_budget_bytes,
        kind.rows_on_disk,
        base_model,
        0,
    )


def _padding(jobs: Sequence[_Live]) -> float:
    """The share of a padded microbatch that is no padding."""
    lengths = [live.arrival.mean_length for live in jobs]
    return sum(lengths) / (len(lengths) * max(lengths)) if lengths else 1.0
