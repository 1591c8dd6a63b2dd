"""What holds of the rounds that the loop plans, whatever it finds in the store."""

from __future__ import annotations

import math
import random
import tempfile
from collections import Counter
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from scheduling import RULES, SchedulerBench, memory_of

from pando_shared.adapters import LoraConfig, MeftConfig
from pando_shared.clock import FakeClock
from pando_shared.jobs import Job, JobSpec, JobState, Lease, Priority
from pando_shared.storage import Storage
from pando_shared.workers import Assignment, Round, Worker

NOW = 1_700_000_000.0
BASES = ("tiny", "other", "unknown")


@dataclass(frozen=True)
class Found:
    """What the loop finds in the store."""

    jobs: tuple[Job, ...]
    workers: tuple[Worker, ...]
    rounds: tuple[Round, ...]


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
def clusters(draw: st.DrawFn) -> Found:
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
    return Found(tuple(kept), fleet, tuple(rounds))


@st.composite
def crowds(draw: st.DrawFn) -> Found:
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
    return Found(tuple(found), fleet, ())


def begun(state: Found) -> SchedulerBench:
    """A loop that has looked twice: it took back what is void, then placed what came back."""
    bench = SchedulerBench(FakeClock(NOW), Storage(f"file://{tempfile.mkdtemp()}"))
    for job in state.jobs:
        bench.store.create_job(job)
    for worker in state.workers:
        bench.store.put_worker(worker)
    for planned in state.rounds:
        bench.store.plan_round(planned)
    bench.tick(2)
    return bench


def new_rounds(bench: SchedulerBench, state: Found) -> list[Round]:
    known = {planned.id for planned in state.rounds}
    return [planned for planned in bench.planned() if planned.id not in known]


@settings(deadline=None, max_examples=60)
@given(clusters() | crowds())
def test_no_round_exceeds_either_memory(state: Found) -> None:
    bench = begun(state)
    running = {job.id for job in state.jobs if job.lease is not None}
    for planned in new_rounds(bench, state):
        members = bench.members(planned)
        if members <= running:
            continue  # nobody joins: what was there before is not this plan's doing
        adapters = [bench.store.get_job(job_id).spec.adapter for job_id in members]
        ranks = sum(adapter.rank for adapter in adapters if isinstance(adapter, LoraConfig))
        worker = next(w for w in state.workers if w.id == planned.worker_id)
        assert (100 + ranks) * (1 + RULES.memory_headroom) <= worker.budget_bytes
        assert planned.predicted_bytes == math.ceil((100 + ranks) * 1.1)
        if worker.host_budget_bytes is not None:
            keys = sum(a.num_keys for a in adapters if isinstance(a, MeftConfig))
            assert (10 + keys) * (1 + RULES.memory_headroom) <= worker.host_budget_bytes


@settings(deadline=None, max_examples=60)
@given(clusters())
def test_rounds_are_for_one_base_of_a_live_worker_and_no_job_is_in_two(state: Found) -> None:
    bench = begun(state)
    fleet = {worker.id: worker for worker in state.workers}
    fresh = new_rounds(bench, state)
    seats = Counter(job_id for planned in fresh for job_id in bench.members(planned))
    assert all(count == 1 for count in seats.values())
    ahead = Counter(planned.worker_id for planned in bench.planned())
    assert all(count == 1 for count in ahead.values())
    for planned in fresh:
        worker = fleet[planned.worker_id]
        assert worker.incarnation == planned.incarnation
        assert NOW - worker.heartbeat_at <= RULES.lease_seconds
        for place in planned.assignments:
            job = bench.store.get_job(place.job_id)
            assert job.spec.model == planned.base_model
            assert job.lease is not None
            assert (job.lease.worker_id, job.epoch) == (planned.worker_id, place.epoch)
            was = next(old for old in state.jobs if old.id == job.id)
            if was.lease is None or was.epoch != job.epoch:
                assert not worker.models or planned.base_model in worker.models


@settings(deadline=None, max_examples=60)
@given(clusters(), st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_come_does_not_matter(
    state: Found, shuffler: random.Random
) -> None:
    jobs, fleet = list(state.jobs), list(state.workers)
    shuffler.shuffle(jobs)
    shuffler.shuffle(fleet)
    one, other = begun(state), begun(replace(state, jobs=tuple(jobs), workers=tuple(fleet)))
    ids = [job.id for job in state.jobs]
    assert one.store.get_jobs(ids) == other.store.get_jobs(ids)
    shared = {planned.id for planned in state.rounds}
    found = [
        sorted(
            (planned.worker_id, planned.assignments)
            for planned in bench.store.rounds()
            if planned.id not in shared
        )
        for bench in (one, other)
    ]
    assert found[0] == found[1]


@settings(deadline=None, max_examples=60)
@given(clusters())
def test_every_queued_job_is_placed_or_told_why_not(state: Found) -> None:
    bench = begun(state)
    bench.clock.advance(2)
    bench.tick()
    for job in bench.store.jobs_in(JobState.QUEUED):
        assert bench.reason(job.id) != "", job


@settings(deadline=None, max_examples=60)
@given(clusters())
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(state: Found) -> None:
    bench = begun(state)
    rounds, sent = bench.store.rounds(), list(bench.messenger.rounds)
    after = [bench.store.get_job(job.id) for job in state.jobs]
    bench.tick()
    assert [bench.store.get_job(job.id) for job in state.jobs] == after
    assert bench.store.rounds() == rounds
    assert bench.messenger.rounds == sent
