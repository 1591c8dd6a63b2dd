"""The heart of the simulator: discrete events on machines that train as the real ones do.

The policy sees predictions; time and memory go by the truth. A machine shares its speed among its
jobs as the engine does, by equal tokens to all who can use them.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pando_scheduler.cluster import Cluster
from pando_scheduler.fairness import credited
from pando_scheduler.learnt import LearntPredictor
from pando_scheduler.picture import JobView, WorkerKind, job_size
from pando_scheduler.plan import Plan
from pando_scheduler.simulation.arrivals import Arrival, Machine
from pando_scheduler.simulation.backlog import Backlog
from pando_scheduler.simulation.bound_watch import BoundWatch
from pando_scheduler.simulation.contenders import Contender, Known
from pando_scheduler.simulation.foretelling import Foretelling
from pando_scheduler.simulation.learning import Learning
from pando_scheduler.simulation.run import Outcome, Run, Sample
from pando_scheduler.simulation.site import Live, Site
from pando_scheduler.simulation.world_options import WorldOptions

#: What loading a base takes at most, for the bound on being passed by.
_LONGEST_SWAP_SECONDS = 60.0


def simulate(
    arrivals: Iterable[Arrival],
    machines: Sequence[Machine],
    contender: Contender,
    options: WorldOptions,
) -> Run:
    """Run a policy on a workload until all jobs have ended. `arrivals` come by time."""
    return _World(iter(arrivals), machines, contender, options).run()


class _World:
    """The clock and its events, and what each of them brings about."""

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
        speeds = {
            (base, machine.device_kind): options.speed
            for base in options.catalogue
            for machine in machines
        }
        self.predict.learn({}, speeds)
        self.truth.learn({}, speeds)
        self.learning = Learning(self.predict, speeds)
        self.cluster = Cluster(contender.policy(options.policy), self.predict)
        self.result = Run(contender.name)
        self.random = random.Random(options.seed)
        self.live: dict[str, Live] = {}
        self.sites: dict[str, Site] = {}
        self.events: list[tuple[float, int, str, object]] = []
        self.sequence = 0
        self.now = 0.0
        self.planned_at = -math.inf
        self.plan_due: float | None = None
        self.backlog = Backlog(self.result.tenants)
        change = options.leave_seconds + 2 * options.plan_seconds + _LONGEST_SWAP_SECONDS
        self.bound = BoundWatch(self.cluster, change)
        self.foretelling: Foretelling | None = None
        if options.forecast_seconds is not None and contender.foretold:
            self.foretelling = Foretelling(self.cluster, options.forecast_seconds)
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
        self.backlog.close(self.now)
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
        arrival, speed = what, self.options.speed
        method = arrival.adapter.type
        alone = arrival.tokens / speed.alone_tokens_per_second(arrival.step_tokens, method)
        view = JobView(
            id=arrival.id,
            tenant=arrival.tenant,
            base_model=arrival.base_model,
            rank=arrival.priority.rank,
            created_at=self.now,
            queued_at=self.now,
            size=job_size(arrival.adapter, arrival.step_tokens, round(arrival.mean_length)),
            seconds_left=alone / arrival.time_error,
        )
        outcome = Outcome(arrival.id, arrival.tenant, self.now, alone)
        demand = speed.demand(arrival.step_tokens, method)
        live = Live(arrival, view, outcome, alone, demand)
        self.live[arrival.id] = live
        self.result.outcomes.append(outcome)
        self.backlog.enter(arrival.tenant, self.now)
        self._wait(live, view)

    def _wait(self, live: Live, view: JobView) -> None:
        live.view = view
        live.waits_since = self.now
        self.cluster.put_job(view, self.now)
        self.bound.waits(view)

    def _back_to_queue(self, live: Live) -> None:
        live.speed = 0.0
        waited = credited(live.view.placed_at - live.view.queued_at, self.cluster.policy)
        view = replace(
            live.view,
            worker_id=None,
            running=False,
            queued_at=self.now - waited,
            seconds_left=live.told_seconds,
        )
        self._wait(live, view)

    def _end(self, live: Live) -> None:
        job_id = live.arrival.id
        self.cluster.drop_job(job_id, self.now)
        live.outcome.finished = self.now
        del self.live[job_id]
        self.bound.forget(job_id)
        self.finished += 1
        self.result.makespan = self.now
        self.backlog.leave(live.arrival.tenant, self.now)

    # Machines

    def _machine_comes(self, what: object) -> None:
        assert isinstance(what, Machine)
        kind = WorkerKind("cuda", what.device_kind, what.budget_bytes, self.options.token_budget)
        self.sites[what.id] = site = Site(what, kind.with_base(None), counted_at=self.now)
        self.cluster.put_worker(site.view, self.now)
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
        site.count(self.now, self.result.tenants)
        site.lose_progress(self.now, self.options.checkpoint_seconds)
        for live in site.jobs.values():
            live.outcome.lost += 1
            self.cluster.drop_job(live.view.id, self.now)
        self.cluster.drop_worker(machine_id, self.now)
        for live in site.jobs.values():
            self._back_to_queue(live)

    def _site_changes(self, what: object) -> None:
        assert isinstance(what, tuple)
        machine_id, version = what
        site = self.sites.get(machine_id)
        if site is None or site.version != version:
            return
        site.count(self.now, self.result.tenants)
        for live in site.take_ended():
            self._end(live)
        self._share(site)

    def _share(self, site: Site) -> None:
        by_tenant = self.cluster.policy if self.contender.by_tenant else None
        interference = self.options.speed.interference
        upcoming = site.share(self.now, interference, by_tenant, self.contender.padded)
        for live in site.jobs.values():
            self.cluster.put_job(live.view, self.now)
        if upcoming is not None:
            self.at(upcoming, "change", (site.machine.id, site.version))

    # Plans

    def _plan(self) -> None:
        self.planned_at = self.now
        self.bound.look(self.now)
        began = time.perf_counter()
        plan = self.contender.plan(self.cluster, self.now, self.known)
        self.result.plan_seconds += time.perf_counter() - began
        self.result.plans += 1
        self.cluster.settle(self.now)
        self.cluster.note_reservations(plan.released, plan.reserved)
        self._carry_out(plan)
        if self.foretelling is not None:
            self.foretelling.look(self.now, self.live)
        if len(self.cluster.waiting) and self.sites:
            reserved = self.cluster.reservations.values()
            due = min(
                (reservation.due for reservation in reserved if reservation.due > self.now),
                default=math.inf,
            )
            due = min(due, self.now + self.options.idle_seconds)
            if self.plan_due is None or self.plan_due > due or self.plan_due <= self.now:
                self.plan_due = due
                self.at(due, "plan", None)

    def _carry_out(self, plan: Plan) -> None:
        ids = [leave.worker_id for leave in plan.leaves] + [join.worker_id for join in plan.joins]
        touched = {machine_id: self.sites[machine_id] for machine_id in ids}
        for site in touched.values():
            site.count(self.now, self.result.tenants)
        for leave in plan.leaves:
            live = self.sites[leave.worker_id].jobs.pop(leave.job_id)
            live.outcome.preemptions += 1
            self.result.preemptions += 1
            self.result.checkpoints += 1
            self.cluster.drop_job(leave.job_id, self.now)
            live.view = replace(live.view, preemptions=live.view.preemptions + 1)
            self._back_to_queue(live)
        for join in plan.joins:
            self._join(self.sites[join.worker_id], self.live[join.job_id])
        for site in touched.values():
            self._enforce_memory(site)
            self._share(site)

    def _join(self, site: Site, live: Live) -> None:
        base = live.arrival.base_model
        live.ready_at = self.now + self.options.join_seconds
        if site.kind.base_model != base:
            live.ready_at += self.predict.swap_seconds(site.view, base)
            site.kind = site.kind.with_base(base)
            self.cluster.put_worker(site.view, self.now)
            self.result.swaps += 1
        outcome = live.outcome
        outcome.waited += self.now - live.waits_since
        if outcome.started is None:
            outcome.started = self.now
        late = self.bound.excess(live.arrival.id, self.now)
        outcome.bypass_excess = max(outcome.bypass_excess, late)
        site.jobs[live.arrival.id] = live
        live.view = replace(
            live.view,
            worker_id=site.machine.id,
            running=True,
            placed_at=self.now,
            ends_at=live.ready_at + live.view.seconds_left,
        )
        self.cluster.put_job(live.view, self.now)

    def _enforce_memory(self, site: Site) -> None:
        """Whoever came last leaves if memory runs out. What each takes is measured from now on."""
        while site.jobs and not site.holds(self.truth):
            job_id, live = site.jobs.popitem()
            self.result.out_of_memory += 1
            self.cluster.drop_job(job_id, self.now)
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

    def _sample(self, _: object) -> None:
        workers, waiting = len(self.sites), len(self.cluster.waiting)
        useful = sum(site.useful for site in self.sites.values())
        self.result.samples.append(
            Sample(
                self.now,
                waiting,
                len(self.live) - waiting,
                workers,
                useful / workers if workers else 0.0,
            )
        )
        if self.options.progress is not None:
            self.options.progress(self.now, self.finished)
        if self.live or self.events:
            self.at(self.now + self.options.sample_seconds, "sample", None)
