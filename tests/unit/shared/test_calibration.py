"""Memory predictions learn from rounds, and know how far they may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from factories import SMALL_BASE, make_worker
from predicted_bytes import predict_peak_bytes

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.attribution import OwnBytes, memory_ratios
from pando_shared.base_format import BaseFormat
from pando_shared.calibrating import PROBE_ADAPTER, PROBE_RECOMPUTE, observe, observe_probe
from pando_shared.calibration import (
    UNLEARNT,
    Calibration,
    calibration_key,
    own_scale,
    read_calibration,
)
from pando_shared.catalogue import Linear
from pando_shared.codec import decode, encode
from pando_shared.fleet import footprint_on, predict_on
from pando_shared.footprint import Footprint
from pando_shared.prediction_errors import PredictionErrors
from pando_shared.recompute import Recompute
from pando_shared.reports import JobService, Probe, RoundReport
from pando_shared.room import room_on

GIB = 1 << 30
#: As large as Llama 3.1 8B; two of its seven linears are trained.
BASE = replace(
    SMALL_BASE,
    name="eight",
    hidden_size=4096,
    intermediate_size=14336,
    layers=32,
    heads=32,
    kv_heads=8,
    head_dim=128,
    vocab_size=128_256,
    parameters=8_030_000_000,
    linears=(Linear("q_proj", 4096, 4096, 32), Linear("up_proj", 4096, 14336, 32)),
)
RESIDENT = 17 * GIB
WORKER = make_worker(
    device="cuda:0",
    device_kind="NVIDIA H100",
    base_format=BaseFormat("bfloat16"),
    base_model="eight",
    budget_bytes=72 * GIB,
    resident_bytes=RESIDENT,
    token_budget=8192,
)
TOKENS = 8192


def report(
    adapters: dict[str, AdapterConfig],
    predicted: float,
    measured: float,
    tokens: int = TOKENS,
    recompute: Recompute = Recompute.NOTHING,
) -> RoundReport:
    jobs = tuple(
        JobService(job_id, adapter, 8192, 1, 8192.0) for job_id, adapter in adapters.items()
    )
    return RoundReport(
        worker_id="w1",
        incarnation="w1-first",
        base_model="eight",
        device="NVIDIA H100",
        jobs=jobs,
        seconds=20.0,
        microbatch_tokens=tokens,
        longest=0,
        resident_bytes=RESIDENT,
        predicted_bytes=round(predicted),
        measured_bytes=round(measured),
        recompute=recompute,
    )


def terms(adapters: list[AdapterConfig], tokens: int = TOKENS) -> tuple[np.ndarray, int]:
    """Bytes of LoRA, PaCA and MEFT adapters' own and of a step that keeps everything, by the byte
    model that is tested elsewhere."""
    own = np.zeros(3)
    for adapter in adapters:
        place = ("lora", "paca", "meft").index(adapter.type)
        own[place] += footprint_on(WORKER, BASE, adapter).device_bytes
    whole = predict_peak_bytes(
        BASE, adapters, tokens, WORKER.base_format, "cuda:0", RESIDENT, Recompute.NOTHING
    )
    return own, whole - RESIDENT - int(own.sum())


def test_factors_are_those_of_one_dense_least_squares_problem():
    rng = np.random.default_rng(1)
    truth = np.array([1.4, 0.8, 1.2, 1.1])
    learnt, rows, right = UNLEARNT, [], []
    for number in range(30):
        adapters: list[AdapterConfig] = [
            LoraConfig(rank=int(rng.integers(32, 256))),
            PacaConfig(rank=int(rng.integers(32, 256))),
            MeftConfig(num_keys=1024 * int(rng.integers(1, 4))),
        ][: 1 + number % 3]
        own, step = terms(adapters)
        x = np.array([*own, step])
        measured = RESIDENT + x @ truth
        named = {f"j{number}-{i}": adapter for i, adapter in enumerate(adapters)}
        learnt = observe(learnt, report(named, RESIDENT + x.sum(), measured), WORKER, BASE)
        whole = RESIDENT + x.sum()
        weight = math.sqrt(0.99 ** (29 - number))
        rows.append(weight * x / whole)
        right.append(weight * (round(measured) - RESIDENT) / whole)
    rows.extend(math.sqrt(0.02) * np.eye(4))
    right.extend([math.sqrt(0.02)] * 4)
    expected = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)[0]
    found = [learnt.lora, learnt.paca, learnt.meft, learnt.step]
    assert found == pytest.approx(expected.tolist(), rel=1e-6)


@dataclass
class World:
    """Jobs whose own bytes are 1.3 times what is modelled, give or take 20 %, in sets of a few."""

    rng: np.random.Generator
    learnt: Calibration = UNLEARNT
    born: int = 0

    def __post_init__(self) -> None:
        self.jobs: dict[str, tuple[AdapterConfig, float, float | None]] = {}

    def arrive(self) -> None:
        rank = int(self.rng.choice([32, 64, 128, 256]))
        kind = (LoraConfig, PacaConfig)[self.born % 2]
        truth = 1.3 * math.exp(self.rng.normal(0, 0.2))
        self.born += 1
        self.jobs[f"j{self.born}"] = (kind(rank=rank), truth, None)

    def round(self) -> tuple[float, float, float]:
        """Predicted and measured bytes, and what admission kept free for them."""
        for job_id in list(self.jobs):
            if self.rng.random() < 0.1:
                del self.jobs[job_id]
        while len(self.jobs) < 4 or (len(self.jobs) < 12 and self.rng.random() < 0.4):
            self.arrive()
        headroom = self.learnt.headroom(0.10)
        room = room_on(WORKER, BASE, self.learnt)
        together, own, measured = Footprint(), [], float(RESIDENT)
        for adapter, truth, ratio in self.jobs.values():
            bare = footprint_on(WORKER, BASE, adapter)
            known = footprint_on(WORKER, BASE, adapter, 0, self.learnt, ratio)
            own.append(OwnBytes(bare.device_bytes, known.device_bytes, ratio is not None))
            measured += truth * bare.device_bytes
            together += known
        predicted = room.peak_bytes(together, Recompute.NOTHING, TOKENS)
        step = room.step.bytes(together, TOKENS, Recompute.NOTHING)
        measured += step
        adapters = {job_id: adapter for job_id, (adapter, _, _) in self.jobs.items()}
        expected = predicted - together.margin_bytes
        ratios = memory_ratios(own, step * room.step_factor, measured - expected)
        self.jobs = {
            job_id: (adapter, truth, ratio)
            for (job_id, (adapter, truth, _)), ratio in zip(self.jobs.items(), ratios, strict=True)
        }
        self.learnt = observe(self.learnt, report(adapters, predicted, measured), WORKER, BASE)
        return predicted, measured, headroom


@pytest.mark.parametrize("seed", [1, 2])
def test_a_world_that_is_not_as_modelled_is_learnt(seed):
    world = World(np.random.default_rng(seed))
    rounds = [world.round() for _ in range(300)]
    assert rounds[0][1] > 1.05 * rounds[0][0]
    later = np.array(rounds[60:])
    predicted, measured, headroom = later.T
    assert (predicted * (1 + headroom) >= measured).mean() >= 0.99
    assert np.abs(measured / predicted - 1).mean() < 0.05
    assert world.learnt.errors.rounds == 300
    assert 0.1 < world.learnt.sigma < 0.4
    assert world.learnt.lora == pytest.approx(1.3, abs=0.15)
    assert world.learnt.headroom(0.10) < 0.10


def test_a_new_jobs_margin_is_what_one_in_many_takes():
    learnt = Calibration(sigma=0.2)
    assert learnt.margin == pytest.approx(math.exp(4.3 * 0.2) - 1)
    assert Calibration(sigma=3.0).margin == 3.0
    assert UNLEARNT.margin == 0.0


def test_nobody_knows_how_jobs_differ_until_twenty_have_been_seen():
    adapter = PacaConfig(rank=1024)
    (own, step) = terms([adapter])
    learnt = UNLEARNT
    for number in range(25):
        measured = RESIDENT + step + own.sum() * (1.5 if number % 2 else 1.0)
        # The first job comes again and again, and counts once.
        for job_id in ("j0", f"j{number}"):
            learnt = observe(learnt, report({job_id: adapter}, measured, measured), WORKER, BASE)
        assert len(learnt.deviations) == number + 1
        assert (learnt.sigma > 0) == (number >= 19)


def test_headroom_starts_where_it_is_told_and_becomes_what_was_needed():
    def after(*errors: float) -> float:
        return Calibration(errors=PredictionErrors(errors, len(errors))).headroom(0.1)

    assert after() == 0.1
    assert after(*[-0.2] * 19) == 0.1
    assert after(0.3, *[-0.2] * 18) == 0.3
    assert after(*[-0.2] * 20) == 0.02
    assert after(*[0.05] * 20) == 0.05
    assert after(*[0.01] * 253, 0.2, 0.3, 0.4) == 0.2  # two of 256 were beyond
    assert after(*[7.0] * 30) == 1.0


def test_errors_are_of_the_last_256_rounds():
    errors = PredictionErrors()
    assert (errors.p50, errors.p99, errors.p99_beyond) == (None, None, None)
    for number in range(300):
        errors = errors.add(-number / 1000)
    assert (len(errors.recent), errors.rounds, errors.recent[-1]) == (256, 300, -0.299)
    # 44 to 299 thousandths: the 128th and the 254th of them.
    assert (errors.p50, errors.p99) == (0.171, 0.297)
    assert errors.p99_beyond == -0.046


def test_running_out_of_memory_counts_as_more_than_there_is():
    adapter = LoraConfig(rank=256)
    own, step = terms([adapter])
    predicted = RESIDENT + own.sum() + step
    suffered = replace(report({"j": adapter}, predicted, 0.9 * predicted), out_of_memory=1)
    learnt = observe(UNLEARNT, suffered, WORKER, BASE)
    needed = max(WORKER.budget_bytes, 1.25 * predicted)
    assert learnt.errors.recent == pytest.approx((needed / predicted - 1,), abs=1e-6)
    assert learnt.lora > 1
    assert learnt.step > 1


def test_a_round_in_which_nothing_trained_says_nothing():
    assert observe(UNLEARNT, report({}, 1.0, 1.0), WORKER, BASE) == UNLEARNT
    assert observe(UNLEARNT, report({"j": LoraConfig()}, 1.0, 0.0), WORKER, BASE) == UNLEARNT


def test_a_round_that_recomputed_is_not_taken_for_one_that_kept_everything():
    adapter = LoraConfig(rank=16)
    for recompute in Recompute:
        whole = predict_peak_bytes(
            BASE, [adapter], TOKENS, WORKER.base_format, "cuda:0", RESIDENT, recompute
        )
        # What was predicted is of no account: it may have been made of something else.
        told = report({"j": adapter}, 0.5 * whole, whole, recompute=recompute)
        learnt = observe(UNLEARNT, told, WORKER, BASE)
        assert learnt.step == pytest.approx(1.0, abs=1e-6)


def test_a_report_of_before_there_was_a_mode_is_of_the_usual_one():
    told = report({"j": LoraConfig()}, 1.0, 1.0)
    text = encode(told).decode().replace(',"recompute":"nothing"', "")
    assert decode(RoundReport, text) == replace(told, recompute=Recompute.CHEAP)


def test_a_probe_teaches_what_a_step_takes_before_any_job_has_trained():
    _, small = terms([PROBE_ADAPTER], 2048)
    _, large = terms([PROBE_ADAPTER], 8192)
    own = terms([PROBE_ADAPTER])[0].sum()
    peaks = tuple(round(RESIDENT + own + 1.5 * step) for step in (small, large))
    assert PROBE_RECOMPUTE is Recompute.NOTHING
    worker = replace(WORKER, probe=Probe("eight", (2048, 8192), (peaks[0], peaks[1])))
    learnt = observe_probe(UNLEARNT, worker, BASE)
    assert 1.4 < learnt.step < 1.5
    assert learnt.lora == pytest.approx(1.0, abs=0.05)
    assert learnt.errors.rounds == 0
    # A second worker's says nothing new; one of another base nothing at all.
    assert observe_probe(learnt, worker, BASE) == learnt
    other = replace(worker, probe=replace(worker.probe, base_model="other"))
    assert observe_probe(UNLEARNT, other, BASE) == UNLEARNT
    plain = predict_on(WORKER, BASE, [LoraConfig()]).device_bytes
    assert predict_on(WORKER, BASE, [LoraConfig()], learnt=learnt).device_bytes > plain


def test_what_was_measured_of_a_job_and_what_it_suffered_scale_it():
    assert own_scale(None, 0) == 1.0
    assert own_scale(0.8, 0) == 0.8
    assert own_scale(None, 2) == pytest.approx(1.5625)
    assert own_scale(2.0, 1) == 2.5


def test_it_is_kept_as_json_and_read_by_base_and_device():
    learnt = UNLEARNT
    for number in range(3):
        learnt = observe(learnt, report({f"j{number}": LoraConfig()}, 5e10, 5.2e10), WORKER, BASE)
    text = encode(learnt).decode()
    assert decode(Calibration, text) == learnt
    kept = {calibration_key("eight", "NVIDIA H100"): text, calibration_key("other", "cpu"): "[]"}
    assert read_calibration(kept, "eight", "NVIDIA H100") == learnt
    assert read_calibration(kept, "eight", "cpu") == UNLEARNT
    assert read_calibration(kept, "other", "cpu") == UNLEARNT


def test_what_a_round_took_beyond_is_the_lone_large_jobs():
    assert memory_ratios([OwnBytes(1000, 1000.0, False)], 0.0, 300.0) == [pytest.approx(1.3)]
    # Of a step, 3 % are uncertain; of a new job, 30 %.
    (beside,) = memory_ratios([OwnBytes(1000, 1000.0, False)], 1000.0, 300.0)
    assert beside == pytest.approx(1 + 0.3 * 100 / 101)
    (small,) = memory_ratios([OwnBytes(10, 10.0, False)], 1000.0, 300.0)
    assert small == pytest.approx(1 + 30 * 3**2 / (3**2 + 30**2))


def test_who_was_never_measured_gets_most_of_it():
    jobs = [OwnBytes(1000, 1000.0, False), OwnBytes(1000, 2000.0, True)]
    new, known = memory_ratios(jobs, 0.0, 130.0)
    assert new == pytest.approx(1 + 0.130 * 9 / 13)
    assert known == pytest.approx(2 + 0.130 * 4 / 13)


def test_ratios_stay_within_bounds():
    assert memory_ratios([OwnBytes(10, 10.0, False)], 0.0, 1e6) == [4.0]
    assert memory_ratios([OwnBytes(10, 10.0, False)], 0.0, -1e6) == [0.25]
