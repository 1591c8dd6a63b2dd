"""What holds of every plan, whatever the cluster."""

from __future__ import annotations

from dataclasses import replace

from cluster_world import BASE_BYTES, POLICY, Figures, LittleWorld, job, worker
from hypothesis import given, settings
from hypothesis import strategies as st

from pando_scheduler.cluster import Cluster
from pando_scheduler.picture import JobView, WorkerView
from pando_scheduler.schedule import schedule
from pando_shared.jobs import Priority, YieldCause
from pando_shared.policy import Policy, TenantPolicy

NOW = 50_000.0
STARVE = 3600.0
TENANTS = ("x", "y", "z")


@st.composite
def workers(draw: st.DrawFn) -> list[WorkerView]:
    budgets = draw(st.lists(st.sampled_from([40, 60, 100]), min_size=1, max_size=4))
    return [worker(f"w{number}", budget) for number, budget in enumerate(budgets)]


@st.composite
def jobs(draw: st.DrawFn, most: int = 14, oldest: float = 3000.0) -> list[JobView]:
    count = draw(st.integers(1, most))
    return [
        job(
            f"j{number:02}",
            tenant=draw(st.sampled_from(TENANTS)),
            base=draw(st.sampled_from(["a", "b"])),
            rank=draw(st.sampled_from(list(Priority))),
            at=NOW - draw(st.floats(0.0, oldest)),
            took=draw(st.sampled_from([5, 10, 20, 30])),
            percent=draw(st.sampled_from([10, 30, 50, 80, 100])),
            seconds=draw(st.sampled_from([30.0, 300.0, 1000.0, 4000.0, 20_000.0])),
        )
        for number in range(count)
    ]


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    def tenant() -> TenantPolicy:
        return TenantPolicy(
            weight=draw(st.sampled_from([1.0, 3.0])),
            guaranteed=draw(st.sampled_from([0.0, 0.5, 1.0])),
            limit=draw(st.sampled_from([None, 1.0, 2.0])),
        )

    return replace(
        POLICY,
        tenants={name: tenant() for name in TENANTS},
        starvation_seconds=STARVE,
        preempt_longer=draw(st.sampled_from([None, 2.0])),
        minimum_run_seconds=draw(st.sampled_from([0.0, 120.0])),
    )


def memory_used(cluster: Cluster, worker_id: str) -> int:
    here = cluster.on(worker_id).values()
    return BASE_BYTES + sum(view.size.adapter.rank for view in here) if here else 0  # type: ignore[union-attr]


def check(world: LittleWorld) -> None:
    cluster = world.cluster
    for worker_id, view in cluster.workers.items():
        assert memory_used(cluster, worker_id) <= view.kind.budget_bytes
        assert len({held.base_model for held in cluster.on(worker_id).values()}) <= 1
    for tenant, use in cluster.accounts.in_use.items():
        limit = cluster.policy.tenant(tenant).limit
        assert limit is None or use <= limit + 1e-6


def unlimited(policy: Policy) -> Policy:
    """Without what keeps a job from ever starting or bounds nobody's wait."""
    tenants = {name: replace(one, limit=None) for name, one in policy.tenants.items()}
    return replace(policy, tenants=tenants)


@given(workers(), jobs(), policies())
@settings(max_examples=60, deadline=None)
def test_memory_limits_and_work_hold_while_everything_runs(
    machines: list[WorkerView], queue: list[JobView], policy: Policy
) -> None:
    world = LittleWorld(machines, policy, NOW)
    world.add(*queue)
    for _ in range(40):
        before = dict(world.trained)
        world.plan()
        check(world)
        assert world.trained == before  # leaving takes nothing of what was trained
        world.train(60.0)
        check(world)
    for view in queue:
        done = world.trained[view.id] + world.left[view.id]
        assert abs(done - view.seconds_left) < 1e-3


@given(workers(), jobs(), policies())
@settings(max_examples=30, deadline=None)
def test_nobody_is_passed_by_beyond_the_bound(
    machines: list[WorkerView], queue: list[JobView], policy: Policy
) -> None:
    able = [view for view in queue if any(_fits(view, one) for one in machines)]
    # A reservation is promised on workers that could train the job; here all can.
    large = [replace(one, kind=worker(one.id, 100).kind) for one in machines]
    world = LittleWorld(large, unlimited(policy), NOW)
    world.add(*able)
    world.run(step=30.0)
    assert all(excess <= 0 for excess in world.overdue.values()), world.overdue
    assert all(left <= 1e-6 for left in world.left.values())


@given(workers(), jobs(), policies(), st.sampled_from([1.0, 1.5]))
@settings(max_examples=30, deadline=None)
def test_a_tenant_at_its_limit_keeps_nobody_else_beyond_the_bound(
    machines: list[WorkerView], queue: list[JobView], policy: Policy, limit: float
) -> None:
    free = unlimited(policy)
    bound = replace(free.tenants["z"], limit=limit)
    large = [replace(one, kind=worker(one.id, 100).kind) for one in machines]
    world = LittleWorld(large, replace(free, tenants={**free.tenants, "z": bound}), NOW)
    world.add(*queue)
    world.run(step=30.0)
    tenants = {view.id: view.tenant for view in queue}
    late = {name: by for name, by in world.overdue.items() if tenants[name] != "z" and by > 0}
    assert not late
    assert all(left <= 1e-6 for left in world.left.values())


def _fits(view: JobView, one: WorkerView) -> bool:
    return BASE_BYTES + view.size.adapter.rank <= one.kind.budget_bytes  # type: ignore[union-attr]


@given(workers(), jobs(oldest=9000.0), policies())
@settings(max_examples=120, deadline=None)
def test_a_settled_plan_leaves_nothing_to_do_also_from_cold(
    machines: list[WorkerView], queue: list[JobView], policy: Policy
) -> None:
    world = LittleWorld(machines, policy, NOW)
    world.add(*queue)
    world.settle()
    assert not schedule(world.cluster, world.now)
    world.cluster.touch_all(world.now)
    again = schedule(world.cluster, world.now)
    assert not again, again


@given(workers(), jobs(oldest=9000.0), policies(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_decisions_do_not_depend_on_the_order_of_news(
    machines: list[WorkerView], queue: list[JobView], policy: Policy, random: object
) -> None:
    shuffled, mixed = list(queue), list(machines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = LittleWorld(machines, policy, NOW), LittleWorld(mixed, policy, NOW)
    one.add(*queue)
    other.add(*shuffled)
    for _ in range(4):
        assert one.plan() == other.plan()
        one.train(200.0)
        other.train(200.0)


@given(workers(), jobs(oldest=9000.0), policies(), jobs(most=4))
@settings(max_examples=120, deadline=None)
def test_looking_at_what_changed_decides_as_looking_at_everything(
    machines: list[WorkerView], queue: list[JobView], policy: Policy, late: list[JobView]
) -> None:
    world = LittleWorld(machines, policy, NOW)
    world.add(*queue)
    world.settle()
    world.train(40.0)  # so long that the first of the queue are looked at again
    world.add(*(replace(view, id=f"late-{view.id}", queued_at=world.now) for view in late))
    plan = schedule(world.cluster, world.now)
    fresh = Cluster(policy, Figures())
    for view in world.cluster.workers.values():
        fresh.put_worker(view, world.now)
    for view in [*world.cluster.placed(), *world.cluster.waiting]:
        fresh.put_job(view, world.now)
    meters = world.cluster.accounts.meters
    fresh.accounts.recall({t: m.usage(t) for t, m in meters.items()}, world.now)
    fresh.reservations.update(world.cluster.reservations)
    for tenant, meter in meters.items():
        fresh.accounts.meters[tenant].rate = meter.rate
    cold = schedule(fresh, world.now)
    assert plan == cold


@given(workers(), jobs(), policies())
@settings(max_examples=60, deadline=None)
def test_reclaiming_leaves_everybody_their_guarantee(
    machines: list[WorkerView], queue: list[JobView], policy: Policy
) -> None:
    world = LittleWorld(machines, policy, NOW)
    world.add(*queue)
    for _ in range(30):
        plan = schedule(world.cluster, world.now)
        use = dict(world.cluster.accounts.in_use)
        for leave in plan.leaves:
            if leave.cause is YieldCause.RECLAIM:
                victim = world.cluster.find(leave.job_id)
                assert victim is not None
                assert use[victim.tenant] > policy.tenant(victim.tenant).guaranteed - 1e-9
        world._note_starving()
        world.carry_out(plan)
        world.train(90.0)
