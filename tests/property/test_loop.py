"""What holds of every plan, whatever the cluster looks like."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling import RULES, SchedulerBench, memory_of, predict

from pando_scheduler.cluster import ClusterState
from pando_scheduler.decisions import Block, PlaceRound
from pando_scheduler.schedule import schedule
from pando_shared.adapters import LoraConfig, MeftConfig
from pando_shared.clock import FakeClock
from pando_shared.jobs import Job, JobSpec, JobState, Lease, Priority
from pando_shared.storage import Storage
from pando_shared.workers import Assignment, Round, Worker

NOW = 1_700_000_000.0
BASES = ("tiny", "other", "unknown")


@st.composite
def workers(draw: st.DrawFn) -> tuple[Worker, ...]:
    ids = draw(st.lists(st.sampled_from(["w1", "w2", "w3"]), unique=True))
    return tuple(
        Worker(
            id=worker_id,
            incarnation=draw(st.sampled_from(["first", "second"])),
            device=(device := draw(st.sampled_from(["cpu", "cuda:0"]))),
            budget_bytes=draw(st.integers(100, 1500)),
            host_budget_bytes=(
                None if device == "cpu" else draw(st.none() | st.integers(10, 1500))
            ),
            heartbeat_at=NOW - draw(st.sampled_from([0.0, 5.0, 100.0])),
            token_budget=512,
            base_model=draw(st.sampled_from([None, "tiny", "other"])),
            models=draw(st.sampled_from([(), ("tiny",), ("tiny", "other")])),
        )
        for worker_id in ids
    )


@st.composite
def jobs(draw: st.DrawFn, number: int) -> Job:
    state = draw(
        st.sampled_from([JobState.VALIDATING, JobState.QUEUED, JobState.RUNNING, JobState.PAUSED])
    )
    lease = None
    if state is not JobState.VALIDATING and draw(st.booleans()):
        lease = Lease(
            draw(st.sampled_from(["w1", "w2", "w3"])),
            draw(st.sampled_from(["first", "second"])),
            NOW + draw(st.sampled_from([-1.0, 3.0, 15.0])),
        )
    spec = JobSpec(
        "acme",
        draw(st.sampled_from(BASES)),
        "file-1",
        draw(
            st.integers(1, 400).map(lambda rank: LoraConfig(rank=rank))
            | st.integers(1, 400).map(memory_of)
        ),
        priority=draw(st.sampled_from(list(Priority))),
    )
    return Job(
        f"ftjob-{number}",
        spec,
        NOW - draw(st.sampled_from([0.0, 30.0, 1000.0])),
        state=state,
        epoch=draw(st.integers(0, 3)),
        attempts=draw(st.integers(0, 2)),
        lease=lease,
    )


@st.composite
def clusters(draw: st.DrawFn) -> ClusterState:
    found = [draw(jobs(number)) for number in range(draw(st.integers(0, 10)))]
    fleet = draw(workers())
    # A worker trains one base; what the generator put beside it belongs to nobody.
    bases: dict[str, str] = {}
    kept = []
    for job in found:
        if job.lease is not None and bases.setdefault(job.lease.worker_id, job.spec.model) != (
            job.spec.model
        ):
            job = replace(job, lease=None)
        kept.append(job)
    rounds = []
    for worker in fleet:
        held = [job for job in kept if job.lease and job.lease.worker_id == worker.id]
        for started in draw(st.sampled_from([(), (None,), (NOW - 4,), (NOW - 4, None)])):
            members = (
                draw(st.lists(st.sampled_from(held), unique_by=lambda job: job.id)) if held else []
            )
            rounds.append(
                Round(
                    f"round-{len(rounds)}",
                    worker.id,
                    draw(st.sampled_from(["first", "second"])),
                    bases.get(worker.id, "tiny"),
                    tuple(Assignment(job.id, job.epoch) for job in members),
                    20.0,
                    0,
                    NOW - draw(st.sampled_from([5.0, 500.0])),
                    started,
                )
            )
    return ClusterState(tuple(kept), fleet, tuple(rounds))


def placements(state: ClusterState) -> list[PlaceRound]:
    decisions = schedule(state, NOW, RULES, predict)
    return [decision for decision in decisions if isinstance(decision, PlaceRound)]


@st.composite
def crowds(draw: st.DrawFn) -> ClusterState:
    """Live GPU workers, each with memories for a few of the jobs that wait or train there."""
    fleet = tuple(
        Worker(
            id=worker_id,
            incarnation="first",
            device="cuda:0",
            budget_bytes=draw(st.integers(100, 1500)),
            host_budget_bytes=draw(st.integers(10, 1500)),
            heartbeat_at=NOW,
            token_budget=512,
        )
        for worker_id in ("w1", "w2")[: draw(st.integers(1, 2))]
    )
    found = []
    for number in range(draw(st.integers(2, 10))):
        size = draw(st.integers(50, 400))
        adapter = memory_of(size) if draw(st.booleans()) else LoraConfig(rank=size)
        job = Job(
            f"ftjob-{number}",
            JobSpec("acme", "tiny", "file-1", adapter),
            NOW - draw(st.sampled_from([0.0, 30.0, 1000.0])),
            state=JobState.QUEUED,
        )
        if draw(st.integers(0, 3)) == 0:
            lease = Lease(draw(st.sampled_from(fleet)).id, "first", NOW + 15)
            job = replace(job, state=JobState.RUNNING, lease=lease)
        found.append(job)
    return ClusterState(tuple(found), fleet, ())


@given(clusters() | crowds())
def test_no_plan_that_takes_a_job_in_exceeds_either_memory(state: ClusterState) -> None:
    found = {job.id: job for job in state.jobs}
    fleet = {worker.id: worker for worker in state.workers}
    for plan in placements(state):
        if not plan.joining:
            continue
        ids = {place.job_id for place in (*plan.staying, *plan.joining)}
        # Whoever is still leased there holds memory until it has left.
        ids |= {
            job.id
            for job in state.jobs
            if job.lease is not None
            and (job.lease.worker_id, job.lease.incarnation) == (plan.worker_id, plan.incarnation)
            and job.lease.expires_at > NOW
        }
        adapters = [found[job_id].spec.adapter for job_id in ids]
        ranks = sum(adapter.rank for adapter in adapters if isinstance(adapter, LoraConfig))
        worker = fleet[plan.worker_id]
        assert (100 + ranks) * (1 + RULES.memory_headroom) <= worker.budget_bytes
        assert plan.predicted_bytes == 100 + ranks
        if worker.host_budget_bytes is not None:
            keys = sum(a.num_keys for a in adapters if isinstance(a, MeftConfig))
            assert (10 + keys) * (1 + RULES.memory_headroom) <= worker.host_budget_bytes


@given(clusters())
def test_no_job_is_in_two_plans_and_none_leaves_a_live_worker(state: ClusterState) -> None:
    plans = placements(state)
    seats = Counter(p.job_id for plan in plans for p in (*plan.staying, *plan.joining))
    assert all(count == 1 for count in seats.values())
    assert len({plan.worker_id for plan in plans}) == len(plans)
    found = {job.id: job for job in state.jobs}
    for plan in plans:
        for place in plan.joining:
            assert found[place.job_id].state is JobState.QUEUED
            assert found[place.job_id].lease is None
        for place in plan.staying:
            lease = found[place.job_id].lease
            assert lease is not None
            assert lease.worker_id == plan.worker_id


@given(clusters())
def test_a_plan_is_for_one_base_and_a_live_worker_that_offers_it(state: ClusterState) -> None:
    found = {job.id: job for job in state.jobs}
    fleet = {worker.id: worker for worker in state.workers}
    for plan in placements(state):
        worker = fleet[plan.worker_id]
        assert worker.incarnation == plan.incarnation
        assert NOW - worker.heartbeat_at <= RULES.lease_seconds
        if plan.joining:
            assert not worker.models or plan.base_model in worker.models
        for place in (*plan.staying, *plan.joining):
            assert found[place.job_id].spec.model == plan.base_model


@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(
    state: ClusterState, shuffler: random.Random
) -> None:
    def shuffled(values: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(shuffler.sample(values, len(values)))

    other = ClusterState(
        shuffled(state.jobs),  # type: ignore[arg-type]
        shuffled(state.workers),  # type: ignore[arg-type]
        shuffled(state.rounds),  # type: ignore[arg-type]
    )
    assert schedule(other, NOW, RULES, predict) == schedule(state, NOW, RULES, predict)


@given(clusters())
def test_every_queued_job_is_placed_or_told_why_not(state: ClusterState) -> None:
    decisions = schedule(state, NOW, RULES, predict)
    placed = {p.job_id for d in decisions if isinstance(d, PlaceRound) for p in d.joining}
    told = {d.job_id for d in decisions if isinstance(d, Block)}
    queued = {job.id for job in state.jobs if job.state is JobState.QUEUED}
    assert placed | told == queued
    assert not placed & told


@settings(deadline=None, max_examples=60)
@given(clusters())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(state: ClusterState) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = SchedulerBench(FakeClock(NOW), Storage(f"file://{folder}"))
        for job in state.jobs:
            bench.store.create_job(job)
        for worker in state.workers:
            bench.store.put_worker(worker)
        for planned in state.rounds:
            bench.store.plan_round(planned)
        # The first look takes back what is void, the second places what came back.
        bench.tick(2)
        rounds, sent = bench.store.rounds(), list(bench.messenger.rounds)
        after = [bench.store.get_job(job.id) for job in state.jobs]
        bench.tick()
        assert [bench.store.get_job(job.id) for job in state.jobs] == after
        assert bench.store.rounds() == rounds
        assert bench.messenger.rounds == sent
        ahead = Counter(planned.worker_id for planned in bench.planned())
        assert all(count == 1 for count in ahead.values())
