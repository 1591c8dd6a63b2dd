"""Footprints add up, and what is needed grows with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL_BASE as BASE
from factories import make_worker
from hypothesis import given
from hypothesis import strategies as st
from predicted_bytes import predict_host_bytes, predict_peak_bytes

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.base_format import BaseFormat
from pando_shared.calibration import Calibration
from pando_shared.fleet import footprint_on, needs_on
from pando_shared.footprint import Footprint, Largest
from pando_shared.memory import resident_bytes
from pando_shared.recompute import Recompute
from pando_shared.room import room_on

counts = st.integers(0, 1 << 40)
footprints = st.builds(
    Footprint, counts, counts, counts, counts, st.builds(Largest, *[counts] * len(Largest._fields))
)
adapters = st.one_of(
    st.builds(LoraConfig, rank=st.integers(1, 64)),
    st.builds(PacaConfig, rank=st.integers(1, 8)),
    st.builds(
        MeftConfig,
        num_keys=st.integers(1, 16).map(lambda n: 8 * n),
        top_k=st.just(4),
        num_experts=st.just(8),
    ),
)
jobs = st.tuples(adapters, st.integers(0, 5000))
workers = st.builds(
    make_worker,
    device=st.sampled_from(["cpu", "cuda:0"]),
    base_format=st.sampled_from([BaseFormat("float32"), BaseFormat("bfloat16", "nf4")]),
    budget_bytes=st.integers(1 << 28, 1 << 33),
    token_budget=st.sampled_from([512, 16384]),
    rows_on_disk=st.booleans(),
)


@given(footprints, footprints, footprints)
def test_addition_is_associative_and_commutative_and_has_a_zero(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Footprint() == a


@given(footprints, footprints)
def test_sums_are_sums_and_maxima_maxima(a, b):
    both = a + b
    assert both.count == a.count + b.count
    assert both.device_bytes == a.device_bytes + b.device_bytes
    assert both.margin_bytes == a.margin_bytes + b.margin_bytes
    assert both.largest.rank == max(a.largest.rank, b.largest.rank)
    assert both.largest.longest == max(a.largest.longest, b.largest.longest)


@given(workers, st.lists(jobs, min_size=1, max_size=5))
def test_a_set_needs_what_it_takes_with_the_most_recomputing_it_may_use(worker, chosen):
    together = sum((footprint_on(worker, BASE, a, n) for a, n in chosen), Footprint())
    needs = needs_on(worker, BASE, together)
    room = room_on(worker, BASE)
    recompute = Recompute.BLOCK if len(chosen) == 1 else room.most
    held = worker.base_format
    alone = [adapter for adapter, _ in chosen]
    tokens = max(room.tokens, *(longest for _, longest in chosen))
    assert needs.device_bytes == predict_peak_bytes(
        BASE, alone, tokens, held, worker.device, resident_bytes(BASE, held), recompute
    )
    assert needs.host_bytes == predict_host_bytes(
        BASE, alone, held, worker.device, worker.rows_on_disk
    )
    # Nothing is comfortable where all must be left free, so a round comes to the same.
    strained = room.plan(together, headroom=1e12)
    assert (strained.needs, strained.recompute) == (needs, recompute)


@given(workers, st.lists(jobs, min_size=2, max_size=4), jobs)
def test_with_one_more_job_a_set_needs_more(worker, chosen, more):
    together = sum((footprint_on(worker, BASE, a, n) for a, n in chosen), Footprint())
    fewer = needs_on(worker, BASE, together)
    needs = needs_on(worker, BASE, together + footprint_on(worker, BASE, *more))
    assert needs.device_bytes > fewer.device_bytes
    assert needs.host_bytes >= fewer.host_bytes


@given(adapters, st.floats(0.25, 4.0), st.integers(0, 2))
def test_what_is_known_of_a_job_scales_its_own_bytes(adapter: AdapterConfig, ratio, times):
    learnt = Calibration(lora=2.0, paca=3.0, meft=0.5, sigma=0.1)
    worker = make_worker()
    bare = footprint_on(worker, BASE, adapter)
    unmeasured = footprint_on(worker, BASE, adapter, learnt=learnt, out_of_memory=times)
    factor = {"lora": 2.0, "paca": 3.0, "meft": 0.5}[adapter.type] * 1.25**times
    assert unmeasured.device_bytes == pytest.approx(bare.device_bytes * factor, abs=1)
    # exp(4.3 · 0.1) is 1.537.
    assert unmeasured.margin_bytes == pytest.approx(0.5373 * unmeasured.device_bytes, 0.01, 1)
    measured = footprint_on(worker, BASE, adapter, 0, learnt, ratio, times)
    assert measured.device_bytes == pytest.approx(bare.device_bytes * ratio * 1.25**times, abs=1)
    assert measured.margin_bytes == 0
    same = replace(measured, device_bytes=bare.device_bytes)
    assert same == bare


def test_a_round_recomputes_rather_than_use_its_headroom():
    worker = make_worker(device="cuda:0", budget_bytes=1 << 40, token_budget=4096)
    alone = footprint_on(worker, BASE, LoraConfig(rank=8), 4096)
    needs = room_on(worker, BASE).plan(alone, 0.1).needs.device_bytes
    exact = room_on(replace(worker, budget_bytes=needs * 11 // 10 + 1), BASE)
    assert exact.plan(alone, headroom=0.1).recompute is Recompute.NOTHING
    assert exact.plan(alone, headroom=0.2).recompute is not Recompute.NOTHING
