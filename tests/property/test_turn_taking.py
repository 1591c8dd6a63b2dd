"""Jobs get tokens by their weights, whatever their steps are like; without weights as ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turn_world import TurnWorld

from pando_worker.engine.packing import Pending, pack, side_by_side

weights = st.floats(0.25, 4.0)
lengths = st.lists(st.integers(5, 120), min_size=1, max_size=8)
job_shapes = st.tuples(weights, lengths, st.integers(1, 8))
crowds = st.lists(job_shapes, min_size=2, max_size=4)
budgets = st.integers(40, 400)


def world_of(crowd, budget, lanes=1, free_tokens=0) -> tuple[TurnWorld, dict[str, float]]:
    world = TurnWorld(budget, lanes, free_tokens)
    shares = {}
    for number, (weight, sizes, batch_size) in enumerate(crowd):
        world.join(f"j{number}", sizes, batch_size)
        shares[f"j{number}"] = weight
    world.share(**shares)
    return world, shares


def turn(shape, budget: int) -> int:
    """The most that a job can be given at once: a step of its longest sequences, or a microbatch of
    them, or one that is longer."""
    _, sizes, batch_size = shape
    return max(min(max(sizes) * batch_size, budget), max(sizes))


@settings(max_examples=40, deadline=None)
@given(crowds, budgets, st.integers(1, 3))
def test_tokens_go_by_weight_whatever_the_jobs_are_like(crowd, budget, lanes):
    """Nobody is further ahead than two turns, ever; so in the end shares are right to 5 %."""
    world, shares = world_of(crowd, budget, lanes)
    most = {f"j{i}": turn(shape, budget) for i, shape in enumerate(crowd)}
    enough = 40 * max(most[name] / weight for name, weight in shares.items())
    for _ in range(100_000):
        world.step()
        had = {name: world.trained[name] / weight for name, weight in shares.items()}
        least = min(had.values())
        for name, tokens in had.items():
            assert tokens - least <= 2 * most[name] / shares[name] + 1e-6
        if least >= enough:
            break
    total, whole = sum(world.trained.values()), sum(shares.values())
    for name, weight in shares.items():
        assert world.trained[name] / total == pytest.approx(weight / whole, rel=0.05)


@settings(max_examples=40, deadline=None)
@given(crowds, crowds, budgets, st.integers(1, 3), st.sampled_from([0, 100]))
def test_nobody_starves_whatever_came_before(early, late, budget, lanes, free_tokens):
    """Without shares for a while, then with them, then with others and more jobs. Each may have to
    wait until all others have made up for its lead, by a sequence at a time at worst."""
    world = TurnWorld(budget, lanes, free_tokens)
    for number, (_, sizes, batch_size) in enumerate(early):
        world.join(f"early{number}", sizes, batch_size)
    for _ in range(30):
        world.step()
    world.share(**{f"early{i}": weight for i, (weight, _, _) in enumerate(early)})
    for _ in range(30):
        world.step()
    for number, (_, sizes, batch_size) in enumerate(late):
        world.join(f"late{number}", sizes, batch_size)
    shares = {f"early{i}": 5.0 - weight for i, (weight, _, _) in enumerate(early)}
    shares |= {f"late{i}": weight for i, (weight, _, _) in enumerate(late)}
    world.share(**shares)
    lead = max(2 * max(budget, 120) / weight for weight in shares.values())
    patience = sum(lead * weight / 5 + 1 for weight in shares.values())
    waited = dict.fromkeys(world.jobs, 0)
    for _ in range(150):
        taken = {name for batch in world.step() for name in batch}
        waited = {name: 0 if name in taken else n + 1 for name, n in waited.items()}
        assert max(waited.values()) <= patience


@settings(max_examples=60, deadline=None)
@given(crowds, budgets, st.integers(1, 4))
def test_without_shares_the_plans_are_those_of_plain_fair_queueing(crowd, budget, lanes):
    """Beside an account of its own: least served first, microbatch after microbatch."""
    world = TurnWorld(budget, lanes, free_tokens=1000)
    for number, (_, sizes, batch_size) in enumerate(crowd):
        world.join(f"j{number}", sizes, batch_size)
    for _ in range(60):
        queue = [
            Pending(name, tuple(len(t) for t, _ in job.current_batch().pending), job.served_tokens)
            for name, job in world.jobs.items()
        ]
        width = min(lanes, len(queue))
        expected = []
        for _ in range(width):
            taken = pack(queue, budget // width)
            if taken:
                expected.append(taken)
            queue = [job for job in queue if job.job_id not in taken]
        planned = world.turns.take(world.jobs.values(), budget)
        assert planned.batches == expected
        assert [list(batch) for batch in planned.batches] == [list(batch) for batch in expected]
        assert not planned.ahead
        world.step()
        assert all(isinstance(job.served_tokens, int) for job in world.jobs.values())


@given(crowds, budgets, st.integers(1, 3), st.integers(0, 500))
def test_microbatches_keep_within_the_budget_and_no_job_is_in_two(crowd, budget, lanes, free):
    world, _ = world_of(crowd, budget, lanes, free)
    for _ in range(20):
        held = world.step()
        names = [name for batch in held for name in batch]
        assert 1 <= len(held) <= lanes
        assert len(names) == len(set(names))
        for batch in held:
            assert sum(batch.values()) <= budget // len(held) or len(batch) == 1


def test_the_order_of_the_queue_does_not_matter():
    queue = [Pending(name, (30, 20), served, 2.0, 50) for name, served in (("b", 5), ("a", 5))]
    assert side_by_side(queue, 100, 2) == side_by_side(queue[::-1], 100, 2)
