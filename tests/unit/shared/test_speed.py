"""Step times are learnt from rounds, each of which tells one number."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pando_shared.adapters import LoraConfig, MeftConfig, PacaConfig
from pando_shared.codec import decode, encode
from pando_shared.reports import JobService, RoundReport
from pando_shared.speed import SpeedModel, assumed_speed, read_speed, speed_key
from pando_shared.speed_learning import observe_speed, predicted_tokens_per_second

ADAPTERS = {"lora": LoraConfig(), "paca": PacaConfig(), "meft": MeftConfig()}
MODEL = SpeedModel(
    tokens_per_second=1000.0,
    floor_seconds=0.5,
    alone_share=0.8,
    interference=0.1,
    paca_cost=0.5,
    meft_cost=2.0,
)


def report(jobs: list[tuple[str, float, float]], seconds: float = 20.0) -> RoundReport:
    """A round of jobs, each with its method, tokens a step, and steps."""
    services = tuple(
        JobService(f"j{i}", ADAPTERS[method], round(tokens * steps), int(steps), tokens)
        for i, (method, tokens, steps) in enumerate(jobs)
    )
    return RoundReport("w", "w-1", "tiny", "cpu", services, seconds, 1024, 0, 0, 1, 1)


def test_a_job_alone():
    # 4,000 tokens take 4 s of a worker that is all busy, 5 s of one that is 0.8 busy.
    assert MODEL.alone_tokens_per_second(4000, "lora") == pytest.approx(800)
    assert MODEL.demand(4000, "lora") == pytest.approx(0.8)
    assert MODEL.alone_tokens_per_second(4000, "meft") == pytest.approx(400)
    assert MODEL.alone_tokens_per_second(4000, "paca") == pytest.approx(1600)
    # 100 tokens would take 0.125 s, and take the floor's half second.
    assert MODEL.alone_tokens_per_second(100, "lora") == pytest.approx(200)
    assert MODEL.demand(100, "lora") == pytest.approx(0.2)
    assert 0 < MODEL.demand(1e-9, "lora") <= 1


def test_jobs_together_wait_for_each_other_once_the_worker_is_busy():
    assert MODEL.slowdown(0.2, 1) == 1.0
    assert MODEL.slowdown(0.9, 3) == pytest.approx(1.2)
    assert MODEL.slowdown(2.0, 2) == pytest.approx(2.2)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_together_they_train_what_the_formula_says(count):
    jobs = report([("lora", 4000, 5)] * count).jobs
    # T = c · Σ tokens · (1 + h (n - 1)) once Σ tokens keep it busy.
    busy = 4000 * count / 1000
    seconds = max(busy, 4000 / 1000 / 0.8) * (1 + 0.1 * (count - 1))
    assert predicted_tokens_per_second(MODEL, jobs) == pytest.approx(4000 * count / seconds)


def test_before_anything_is_known():
    cpu = assumed_speed("cpu")
    assert [cpu.demand(tokens, "lora") for tokens in (10, 1000, 100_000)] == [
        pytest.approx(0.4)
    ] * 3
    assert cpu.alone_tokens_per_second(1000, "lora") == pytest.approx(800)
    gpu = assumed_speed("cuda:0")
    assert gpu.demand(8192, "lora") == pytest.approx(1.0)
    assert gpu.demand(4096, "lora") == pytest.approx(0.5)
    assert gpu.alone_tokens_per_second(16384, "lora") == pytest.approx(20_000)


def test_where_one_parameter_decides_it_is_a_filter_of_one_number():
    """Lone LoRA jobs that keep a GPU busy tell of its speed, and of the share one job may use."""
    model = replace(assumed_speed("cuda:0"), alone_share=0.5)
    # Along ln speed and ln share the prediction's logarithm rises alike; so does their sum.
    state, doubt = math.log(model.tokens_per_second * 0.5), np.diag([1.5**2, 0.5**2])
    prior, slope = doubt.copy(), np.ones(2)
    parts = np.array([math.log(model.tokens_per_second), math.log(0.5)])
    for observed in (9_000.0, 12_000.0, 11_000.0):
        steps = round(observed * 20 / 16384)
        round_report = report([("lora", 16384.0, steps)])
        model = observe_speed(model, round_report)
        noise = 0.1**2 + 1 / steps**2
        doubt = (1 - 1e-4) * doubt + 1e-4 * prior
        gain = doubt @ slope / (slope @ doubt @ slope + noise)
        parts = parts + gain * (math.log(16384 * steps / 20) - state)
        doubt = doubt - np.outer(gain, slope @ doubt)
        state = parts.sum()
        assert math.log(model.tokens_per_second) == pytest.approx(parts[0], abs=1e-6)
        assert math.log(model.alone_share) == pytest.approx(parts[1], abs=1e-6)
    assert model.interference == pytest.approx(0.01)


WORLDS = {
    "cpu": SpeedModel(300.0, 0.001, 0.6, 0.05, 0.8, 2.0),
    "cuda:0": SpeedModel(60_000.0, 0.1, 1.0, 0.03, 0.8, 2.0),
}


@pytest.mark.parametrize("device", WORLDS)
def test_a_world_is_learnt_from_its_rounds(device):
    truth, model = WORLDS[device], assumed_speed(device)
    rng = np.random.default_rng(1)
    off = []
    for _ in range(250):
        chosen = [
            (str(rng.choice(list(ADAPTERS))), float(rng.choice([256, 1024, 4096])))
            for _ in range(rng.integers(1, 7))
        ]
        demand = sum(truth.demand(tokens, method) for method, tokens in chosen)
        slowed = 20 / truth.slowdown(demand, len(chosen)) * math.exp(rng.normal(0, 0.05))
        # The steps that ended within the round: one that began in the round before is among them.
        jobs = [
            (
                method,
                tokens,
                math.floor(slowed / truth.alone_seconds(tokens, method) + rng.random()),
            )
            for method, tokens in chosen
        ]
        told = report([(method, tokens, float(steps)) for method, tokens, steps in jobs])
        expected = sum(truth.alone_tokens_per_second(t, m) for m, t in chosen)
        expected /= truth.slowdown(demand, len(chosen))
        off.append(abs(predicted_tokens_per_second(model, told.jobs) / expected - 1))
        model = observe_speed(model, told)
    assert np.mean(off[:3]) > 0.3
    assert np.mean(off[-50:]) < 0.1
    assert model.tokens_per_second == pytest.approx(truth.tokens_per_second, rel=0.15)
    assert model.meft_cost == pytest.approx(2.0, rel=0.2)


def test_rounds_that_tell_nothing_change_nothing():
    assert observe_speed(MODEL, report([("lora", 100, 5)], seconds=0.9)) == MODEL
    assert observe_speed(MODEL, report([("lora", 100, 0)])) == MODEL
    assert observe_speed(MODEL, report([])) == MODEL


def test_one_absurd_round_is_not_believed():
    model = MODEL
    for _ in range(50):
        model = observe_speed(model, report([("lora", 4000, 4), ("lora", 4000, 4)]))
    before = predicted_tokens_per_second(model, report([("lora", 4000, 4)] * 2).jobs)
    model = observe_speed(model, report([("lora", 4000, 4000), ("lora", 4000, 4000)]))
    after = predicted_tokens_per_second(model, report([("lora", 4000, 4)] * 2).jobs)
    assert after < 1.5 * before


def test_a_step_as_long_as_the_round_tells_less_than_many_short_ones():
    """It may have been in work for long before."""
    many = observe_speed(MODEL, report([("lora", 2000.0, 12)]))
    one = observe_speed(MODEL, report([("lora", 24_000.0, 1)]))
    assert 1000 < one.tokens_per_second < many.tokens_per_second < 1500


def test_errors_are_observed_over_predicted():
    told = report([("lora", 4000, 8)])
    model = observe_speed(MODEL, told)
    assert model.errors.recent == pytest.approx((8 * 4000 / 20 / 800 - 1,))
    assert model.errors.rounds == 1


def test_it_is_kept_as_json_and_read_by_base_and_device():
    model = observe_speed(MODEL, report([("lora", 4000, 8)]))
    text = encode(model).decode()
    assert decode(SpeedModel, text) == model
    kept = {speed_key("tiny", "cpu"): text, speed_key("other", "H100"): "{"}
    assert read_speed(kept, "tiny", "cpu") == model
    assert read_speed(kept, "other", "H100") == assumed_speed("cuda:0")
    assert read_speed(kept, "other", "cpu") == assumed_speed("cpu")
