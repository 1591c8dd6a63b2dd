"""Whose turn it is where tenants compete."""

from __future__ import annotations

import math

import pytest
from engine_jobs import METHODS, losses, make_job, steps_of
from turn_world import TurnWorld

from pando_worker.engine.base_model import load_base
from pando_worker.engine.engine import Engine
from pando_worker.engine.packing import reweighted
from tiny_models import random_sequences


def run(world: TurnWorld, steps: int) -> list[list[set[str]]]:
    return [[set(batch) for batch in world.step()] for _ in range(steps)]


def test_three_to_one_by_hand():
    """Turns of 10 tokens: of weight 3 they count 10/3. `b` may be ahead by one turn of its own."""
    world = TurnWorld(100)
    world.join("a", [10], 1)
    world.join("b", [10], 1)
    world.share(a=3.0, b=1.0)
    both, alone = [{"a", "b"}], [{"a"}]
    assert run(world, 2) == [both, both]  # a 6.7, b 20: more than 10 apart
    assert run(world, 6) == [alone, both, alone, alone, both, alone]
    assert world.trained == {"a": 80, "b": 40}


def test_a_long_step_and_a_short_one_get_what_their_weights_say():
    world = TurnWorld(100)
    world.join("short", [10], 1)
    world.join("long", [50], 40)
    world.share(short=3.0, long=1.0)
    run(world, 2000)
    assert world.trained["short"] / world.trained["long"] == pytest.approx(3.0, rel=0.05)


def test_a_tenant_with_many_jobs_gets_no_more():
    world = TurnWorld(64)
    world.join("mine", [16], 8)
    for number in range(6):
        world.join(f"theirs{number}", [8, 24], 2 + number)
    world.share(mine=1.0, **{f"theirs{number}": 1.0 / 6 for number in range(6)})
    run(world, 2000)
    mine = world.trained.pop("mine")
    assert mine / sum(world.trained.values()) == pytest.approx(1.0, rel=0.05)


def test_no_core_idles_while_several_jobs_of_the_favoured_tenant_wait():
    """Three of it and one other, all with more to do than a microbatch holds, on two cores."""
    world = TurnWorld(128, lanes=2)
    for name in ("a1", "a2", "a3", "b"):
        world.join(name, [16], 40)
    world.share(a1=1.0, a2=1.0, a3=1.0, b=1.0)
    assert all(len(batches) == 2 for batches in run(world, 200))
    others = world.trained["a1"] + world.trained["a2"] + world.trained["a3"]
    assert others / world.trained["b"] == pytest.approx(3.0, rel=0.05)


def test_a_lone_favoured_job_has_its_turns_to_itself():
    """On two cores it can be on one only, side by side with the other; so the other sits out."""
    world = TurnWorld(128, lanes=2)
    world.join("a", [16], 40)
    world.join("b", [16], 40)
    world.share(a=3.0, b=1.0)
    held = run(world, 300)
    assert [{"a"}] in held
    assert world.trained["a"] / world.trained["b"] == pytest.approx(3.0, rel=0.05)


class TestWhereSmallMicrobatchesTakeNoLessTime:
    def world(self) -> TurnWorld:
        """`tiny` cannot use its share: a step of 10 tokens is all there is of it at once."""
        world = TurnWorld(1000, free_tokens=100)
        world.join("tiny", [10], 1)
        world.join("large", [20], 500)
        world.share(tiny=9.0, large=1.0)
        return world

    def test_who_cannot_use_its_share_holds_nobody_back(self):
        world = self.world()
        run(world, 3)
        held = [batch for _ in range(200) for batch in world.step()]
        assert all(batch["tiny"] == 10 for batch in held)
        assert sum(batch["large"] for batch in held) > 0.95 * 200 * 90

    def test_it_gathers_no_credit(self):
        """Whoever joins level with it waits for two turns at most, not for what was given free."""
        world = self.world()
        run(world, 500)
        assert world.trained["large"] > 10 * world.trained["tiny"]
        lead = world.jobs["large"].served_tokens - world.jobs["tiny"].served_tokens
        assert lead <= 2 * 1000
        world.join("late", [20], 500)
        world.share(tiny=9.0, large=1.0, late=1.0)
        before = dict(world.trained)
        run(world, 500)
        more = {name: world.trained[name] - before[name] for name in before}
        assert more["late"] / more["large"] == pytest.approx(1.0, abs=0.1)

    def test_what_is_free_goes_by_weight_too(self):
        world = self.world()
        world.join("larger", [20], 500)
        world.share(tiny=30.0, large=1.0, larger=2.0)
        run(world, 3000)
        assert world.trained["larger"] / world.trained["large"] == pytest.approx(2.0, rel=0.1)

    def test_a_sequence_that_exceeds_what_is_free_still_has_its_turn(self):
        world = TurnWorld(1000, free_tokens=100)
        world.join("tiny", [10], 1)
        world.join("long", [400], 2)
        world.share(tiny=9.0, long=1.0)
        held = [batch for _ in range(20) for batch in world.step()]
        assert all(batch.get("long", 0) >= 400 for batch in held)

    def test_who_can_use_its_share_gets_it(self):
        world = TurnWorld(1000, free_tokens=100)
        world.join("a", [50], 20)
        world.join("b", [50], 20)
        world.share(a=3.0, b=1.0)
        run(world, 500)
        assert world.trained["a"] / world.trained["b"] == pytest.approx(3.0, rel=0.05)


class TestWeights:
    def test_they_may_change_and_nobody_loses_what_it_is_owed(self):
        served = {"a": 100.0, "b": 130.0, "c": 500.0}
        after = reweighted(served, {"a": 1, "b": 2, "c": 2}, {"a": 5, "b": 4, "c": 0.5}, 700)
        assert after == {"a": 100.0, "b": 100.0 + 60 / 4, "c": 100.0 + 700 / 0.5}

    def test_the_same_again_changes_nothing(self):
        world = TurnWorld(100)
        world.join("a", [10], 1)
        world.join("b", [10], 1)
        world.share(a=3.0, b=1.0)
        run(world, 7)
        before = [job.served_tokens for job in world.jobs.values()]
        world.share(a=3.0, b=1.0)
        assert [job.served_tokens for job in world.jobs.values()] == before

    def test_taken_away_all_are_equal(self):
        world = TurnWorld(20)
        world.join("a", [10], 4)
        world.join("b", [10], 4)
        world.share(a=9.0, b=1.0)
        run(world, 50)
        world.share()
        before = dict(world.trained)
        run(world, 200)
        more = {name: world.trained[name] - before[name] for name in before}
        assert more["a"] / more["b"] == pytest.approx(1.0, rel=0.05)

    @pytest.mark.parametrize("nonsense", [0.0, -1.0, math.nan, math.inf])
    def test_nonsense_counts_as_none_and_none_as_the_least(self, nonsense):
        world = TurnWorld(20)
        for name in ("a", "b", "c"):
            world.join(name, [10], 4)
        world.share(a=4.0, b=2.0, c=nonsense)
        assert world.turns.shares == {"a": 4.0, "b": 2.0}
        run(world, 800)
        assert world.trained["a"] / world.trained["b"] == pytest.approx(2.0, rel=0.05)
        assert world.trained["b"] / world.trained["c"] == pytest.approx(1.0, rel=0.05)


@pytest.fixture(scope="module")
def base(model_folder):
    return load_base(model_folder("llama"))


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_engine_shares_tokens_by_weight(base, lanes):
    engine = Engine(base, 120, lanes)
    shapes = {"a1": ("lora", 2), "a2": ("paca", 8), "b": ("meft", 5)}
    for name, (method, batch_size) in shapes.items():
        engine.join(make_job(name, METHODS[method], random_sequences(3, 16), batch_size=batch_size))
    engine.shares = {"a1": 1.5, "a2": 1.5, "b": 1.0}
    trained = dict.fromkeys(engine.jobs, 0)
    for _ in range(300):
        for report in engine.step():
            trained[report.job_id] += report.tokens
    assert (trained["a1"] + trained["a2"]) / trained["b"] == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_shares_leave_no_trace_in_what_is_learnt(base, method):
    found = []
    for shares in ({}, {"subject": 1.0, "other": 5.0}):
        engine = Engine(base, 90)
        subject = make_job("subject", METHODS[method], random_sequences(5, 11), max_steps=6)
        engine.join(subject)
        engine.join(make_job("other", METHODS["paca"], random_sequences(6, 9), batch_size=3))
        for number in range(3):
            engine.shares = shares if number % 2 == 0 else {}
            engine.step()
        engine.shares = shares
        found.append((losses(steps_of(engine, ["subject"])["subject"]), engine.jobs["other"].step))
    (first, few), (second, many) = found
    assert second[-3:] == pytest.approx(first[-3:], rel=1e-5)
    assert many > few
