"""A little cluster driven by `schedule` with a clock of its own, with figures to add up by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from pando_scheduler.cluster import Cluster
from pando_scheduler.picture import JobSize, JobView, WorkerKind, WorkerView
from pando_scheduler.plan import Plan
from pando_scheduler.reservations import promised_seconds
from pando_scheduler.schedule import schedule
from pando_shared.adapters import LoraConfig
from pando_shared.footprint import Footprint
from pando_shared.jobs import Priority
from pando_shared.memory import Needs
from pando_shared.policy import ClassPolicy, Policy

BASE_BYTES = 10
SWAP_SECONDS = 20.0
#: Every class bears to be slowed to half; patience as by default.
POLICY = Policy(
    classes={
        Priority.HIGH: ClassPolicy(0.0, 2.0),
        Priority.NORMAL: ClassPolicy(300.0, 2.0),
        Priority.LOW: ClassPolicy(None, 2.0),
    }
)


class Figures:
    """A base takes 10 bytes, a job its rank in bytes; its step's tokens are the percents of a
    worker that it keeps busy alone. Together jobs are as slow as their percents add up to."""

    version = 0

    def knows(self, base_model: str) -> bool:
        return base_model != "unknown"

    def footprint(self, job: JobView, worker: WorkerView) -> Footprint | None:
        if not self.knows(job.base_model):
            return None
        adapter = job.size.adapter
        assert isinstance(adapter, LoraConfig)
        return Footprint(1, adapter.rank)

    def needs(self, worker: WorkerView, base_model: str, footprint: Footprint) -> Needs:
        return Needs(BASE_BYTES + footprint.device_bytes, 0)

    def demand(self, job: JobView, worker: WorkerView) -> float:
        return job.size.step_tokens / 100

    def slowdown(self, worker: WorkerView, base_model: str, demand: float, count: int) -> float:
        return max(1.0, demand)

    def swap_seconds(self, worker: WorkerView, base_model: str) -> float:
        return 0.0 if worker.base_model == base_model else SWAP_SECONDS


@cache
def _kind(budget_bytes: int, base_model: str | None) -> WorkerKind:
    return WorkerKind("cuda:0", "card", budget_bytes, 1024, base_model=base_model)


@cache
def _size(rank: int, percent: int) -> JobSize:
    return JobSize(LoraConfig(rank=rank), float(percent), 0, 0)


def worker(name: str = "w1", budget: int = 100, base: str | None = None) -> WorkerView:
    return WorkerView(name, _kind(budget, base))


def job(
    name: str,
    *,
    tenant: str = "t",
    base: str = "a",
    rank: Priority = Priority.NORMAL,
    at: float = 0.0,
    took: int = 10,
    percent: int = 50,
    seconds: float = 600.0,
) -> JobView:
    """A job that waits since `at`, takes `took` bytes and `percent` of a worker."""
    return JobView(name, tenant, base, rank.rank, at, at, _size(took, percent), seconds)


def placed(view: JobView, worker_id: str, since: float = 0.0) -> JobView:
    """The job, in training on a worker since then, as if alone."""
    return replace(
        view,
        worker_id=worker_id,
        running=True,
        placed_at=since,
        ends_at=since + view.seconds_left,
    )


class LittleWorld:
    """Carries plans out at once and lets jobs train: a simulator of thirty lines."""

    def __init__(self, workers: Iterable[WorkerView], policy: Policy = POLICY, now: float = 0.0):
        self.now = now
        self.cluster = Cluster(policy, Figures())
        for view in workers:
            self.cluster.put_worker(view, now)
        self.left: dict[str, float] = {}
        self.trained: dict[str, float] = {}
        self.overdue: dict[str, float] = {}
        self._allowed: dict[str, tuple[float, float]] = {}

    def add(self, *jobs: JobView) -> None:
        for view in jobs:
            self.left[view.id] = view.seconds_left
            self.trained[view.id] = 0.0
            self.cluster.put_job(view, self.now)

    def plan(self) -> Plan:
        """Decide and carry it out."""
        self._note_starving()
        plan = schedule(self.cluster, self.now)
        self.carry_out(plan)
        return plan

    def settle(self, most: int = 50) -> int:
        """Plan until there is nothing to do; how many plans did something."""
        for number in range(most):
            if not self.plan():
                return number
        raise AssertionError(f"still plans something after {most} plans")

    def carry_out(self, plan: Plan) -> None:
        cluster, now = self.cluster, self.now
        cluster.settle(now)
        cluster.note_reservations(plan.released, plan.reserved)
        for leave in plan.leaves:
            before = cluster.find(leave.job_id)
            assert before is not None
            assert before.worker_id == leave.worker_id
            waited = before.placed_at - before.queued_at
            if waited >= cluster.policy.starvation_seconds:
                waited = 0.0
            cluster.drop_job(before.id, now)
            again = {"worker_id": None, "running": False, "queued_at": now - waited}
            times = before.preemptions + 1
            seconds = self.left[before.id]
            cluster.put_job(replace(before, **again, preemptions=times, seconds_left=seconds), now)
        for join in plan.joins:
            view = cluster.waiting.get(join.job_id)
            assert view is not None
            self._join(view, cluster.workers[join.worker_id])
        self.train(0.0)  # tells everybody's end anew, now that others are beside it

    def _join(self, view: JobView, to: WorkerView) -> None:
        if view.id in self._allowed:
            starved_at, allowed = self._allowed.pop(view.id)
            self.overdue[view.id] = self.now - starved_at - allowed
        if to.base_model != view.base_model:
            kind = _kind(to.kind.budget_bytes, view.base_model)
            self.cluster.put_worker(replace(to, kind=kind), self.now)
        self.cluster.put_job(placed(view, to.id, self.now), self.now)

    def _note_starving(self) -> None:
        since = self.now - self.cluster.policy.starvation_seconds
        for place, view in enumerate(self.cluster.waiting.starved(since), 1):
            if view.id not in self._allowed:
                starved_at = view.queued_at + self.cluster.policy.starvation_seconds
                allowed = promised_seconds(self.cluster, place, 60.0)
                self._allowed[view.id] = (starved_at, allowed)

    def train(self, seconds: float) -> None:
        """Let time pass; jobs on one worker share its speed."""
        self.now += seconds
        for worker_id in self.cluster.workers:
            here = list(self.cluster.on(worker_id).values())
            slowdown = max(1.0, sum(view.size.step_tokens / 100 for view in here))
            for view in here:
                done = min(self.left[view.id], seconds / slowdown)
                self.left[view.id] -= done
                self.trained[view.id] += done
                if self.left[view.id] <= 1e-6:
                    self.cluster.drop_job(view.id, self.now)
                else:
                    ends_at = self.now + self.left[view.id] * slowdown
                    self.cluster.put_job(
                        replace(view, seconds_left=self.left[view.id], ends_at=ends_at), self.now
                    )

    def run(self, step: float = 30.0, most: int = 100_000) -> None:
        """Until all jobs have ended."""
        for _ in range(most):
            self.plan()
            if not len(self.cluster.waiting) and not any(True for _ in self.cluster.placed()):
                return
            self.train(step)
        raise AssertionError("jobs are left that never end")
