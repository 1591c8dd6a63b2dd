"""What a worker would need, by what it says of itself."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from factories import EPOCH_START, make_worker
from factories import SMALL_BASE as BASE
from hypothesis import given
from hypothesis import strategies as st
from predicted_bytes import predict_host_bytes, predict_peak_bytes

from pando_shared.adapters import LoraConfig, MeftConfig
from pando_shared.admission import Shortage, closest, fits, shortages
from pando_shared.base_format import BaseFormat
from pando_shared.catalogue import Linear
from pando_shared.clock import FakeClock
from pando_shared.fleet import (
    assumed_worker,
    footprint_on,
    largest,
    live_workers,
    predict_on,
    trusted,
)
from pando_shared.memory import Needs, resident_bytes
from pando_shared.recompute import Recompute
from pando_shared.reports import Probe
from pando_shared.room import room_on
from pando_shared.settings import Settings
from pando_shared.store.stub import StubStore

ADAPTERS = [LoraConfig(rank=2), MeftConfig(num_keys=64, top_k=4)]


@pytest.mark.parametrize("held", [BaseFormat("float32"), BaseFormat("bfloat16")])
@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_worker_needs_what_its_device_its_format_and_its_disk_make_of_it(device, held):
    worker = make_worker(device=device, base_format=held, budget_bytes=1 << 40)
    resident = resident_bytes(BASE, held)
    device_bytes = predict_peak_bytes(BASE, ADAPTERS, 512, held, device, resident)
    for on_disk in (False, True):
        needs = predict_on(replace(worker, rows_on_disk=on_disk), BASE, ADAPTERS)
        host_bytes = predict_host_bytes(BASE, ADAPTERS, held, device, on_disk)
        assert needs == Needs(device_bytes, host_bytes)
        assert (needs.host_bytes == 0) == (device == "cpu")


def test_rows_on_a_disk_take_less_of_a_host():
    worker = make_worker(device="cuda:0", budget_bytes=1 << 40)
    in_memory = predict_on(worker, BASE, ADAPTERS)
    on_disk = predict_on(replace(worker, rows_on_disk=True), BASE, ADAPTERS)
    # In fp32, value and moments of two layers of 64 keys and values of width 8; a copy is made.
    assert in_memory.host_bytes - on_disk.host_bytes == (12 - 4) * 2 * 2 * 64 * 8


def test_an_assumed_worker_has_room_for_anything():
    worker = assumed_worker(Settings(device="cuda:0", rows_dir=Path("rows")))
    assert (worker.budget_bytes, worker.host_budget_bytes) == (sys.maxsize, None)
    assert worker.rows_on_disk
    assert not assumed_worker(Settings(device="cuda:0")).rows_on_disk


def test_of_equal_gpus_the_one_with_the_larger_host_is_the_largest():
    workers = [
        make_worker(name, device="cuda:0", budget_bytes=gpu, host_budget_bytes=host)
        for name, gpu, host in (("a", 9, 1), ("b", 9, 3), ("c", 9, 2), ("d", 8, 99))
    ]
    assert largest(workers, "tiny", Settings()).id == "b"


def test_each_memory_that_is_too_small_is_told_with_headroom():
    gpu = make_worker(device="cuda:0", budget_bytes=125, host_budget_bytes=250)
    assert shortages(gpu, Needs(100, 200), 0.25) == ()
    assert shortages(gpu, Needs(101, 200), 0.25) == (Shortage("GPU memory", 127, 125),)
    assert shortages(gpu, Needs(100, 201), 0.25) == (Shortage("host memory", 252, 250),)
    assert len(shortages(gpu, Needs(101, 201), 0.25)) == 2
    assert shortages(replace(gpu, host_budget_bytes=None), Needs(100, 1 << 60), 0.25) == ()
    cpu = make_worker(device="cpu", budget_bytes=125)
    assert shortages(cpu, Needs(101), 0.25) == (Shortage("memory", 127, 125),)


@given(
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.integers(0, 1 << 50),
    st.none() | st.integers(0, 1 << 50),
    st.floats(0.01, 1.0),
)
def test_it_fits_if_and_only_if_nothing_is_told(device, host, budget, host_budget, headroom):
    worker = make_worker(device="cuda:0", budget_bytes=budget, host_budget_bytes=host_budget)
    needs = Needs(device, host)
    told = shortages(worker, needs, headroom)
    assert fits(worker, needs, headroom) == (told == ())
    assert all(lack.needed_bytes > lack.budget_bytes for lack in told)
    assert closest([(worker, needs)], headroom) == (worker, told)


def test_whoever_lacks_least_of_its_tightest_memory_comes_closest():
    def gpu(name: str, budget: int, host: int):
        return make_worker(name, device="cuda:0", budget_bytes=budget, host_budget_bytes=host)

    needs = Needs(100, 100)
    candidates = [(gpu("a", 1000, 10), needs), (gpu("b", 50, 50), needs), (gpu("c", 0, 0), needs)]
    worker, lacks = closest(candidates, 0.1)
    assert (worker.id, len(lacks)) == ("b", 2)
    worker, lacks = closest([*candidates, (gpu("d", 200, 200), needs)], 0.1)
    assert (worker.id, lacks) == ("d", ())


#: Llama 3.1 8B.
EIGHT_BILLION = replace(
    BASE,
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


def test_a_job_that_fits_in_no_other_way_has_the_worker_recompute_for_it_alone():
    """800 million parameters beside an 8B base on a card of 24 GB."""
    card = make_worker("gpu", device="cuda:0", budget_bytes=int(21.6e9), token_budget=16384)
    card = replace(card, base_format=BaseFormat("bfloat16"))
    large = MeftConfig(num_keys=3072)
    one = footprint_on(card, EIGHT_BILLION, large)
    room = room_on(card, EIGHT_BILLION)
    alone, together = room.plan(one, 0.1), room.plan(one + one, 0.1)
    assert alone.recompute is Recompute.BLOCK
    assert fits(card, alone.needs, 0.1)
    assert together.recompute is not Recompute.BLOCK
    assert not fits(card, together.needs, 0.1)


class TestTrusted:
    def test_an_honest_worker_stays_as_it_is(self):
        worker = make_worker(
            host_budget_bytes=7,
            resident_bytes=5,
            tokens_per_second=1.5,
            probe=Probe("tiny", (64, 256), (10, 20)),
        )
        assert trusted(worker) == worker
        assert trusted(make_worker()) == make_worker()

    @pytest.mark.parametrize("nonsense", [0, -1, -math.inf, math.nan, math.inf])
    def test_what_cannot_be_is_taken_for_nothing(self, nonsense):
        fields = (
            "budget_bytes", "host_budget_bytes", "token_budget", "resident_bytes", "peak_bytes",
            "tokens_per_second", "round_gap_seconds", "heartbeat_at",
        )  # fmt: skip
        found = trusted(make_worker(device="cuda:0", **dict.fromkeys(fields, nonsense)))
        numbers = {name: getattr(found, name) for name in fields}
        assert numbers == dict.fromkeys(fields, 0) | {"token_budget": 1}
        assert trusted(found) == found

    @pytest.mark.parametrize("budget", [0, -5])
    def test_without_a_budget_it_holds_nothing(self, budget):
        worker = trusted(make_worker(budget_bytes=budget, token_budget=budget))
        needs = predict_on(worker, BASE, ADAPTERS)
        assert needs.device_bytes > 0
        assert not fits(worker, needs, 0.0)
        assert closest([(worker, needs)], 0.1)[1]

    @pytest.mark.parametrize(
        "probe",
        [
            Probe("tiny", (256, 64), (10, 20)),
            Probe("tiny", (0, 64), (10, 20)),
            Probe("tiny", (64, 256), (-10, 20)),
        ],
    )
    def test_a_probe_that_cannot_be_is_none(self, probe):
        assert trusted(make_worker(probe=probe)).probe is None

    def test_it_is_what_is_read_of_the_living(self):
        store = StubStore(FakeClock(EPOCH_START))
        store.put_worker(make_worker("liar", budget_bytes=-1))
        store.put_worker(make_worker("silent", heartbeat_at=math.nan))
        store.put_worker(make_worker("early", heartbeat_at=EPOCH_START + 3600))
        (liar,) = live_workers(store, Settings(), EPOCH_START + 1)
        assert (liar.id, liar.budget_bytes) == ("liar", 0)
