"""Bytes of a base in each form, against counts made by hand for Llama's published shapes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from predicted_bytes import predict_peak_bytes
from pydantic import ValidationError

from pando_shared.adapters import LoraConfig
from pando_shared.base_format import BaseFormat, base_bytes, base_format, unpacked_bytes
from pando_shared.catalogue import BaseModel, Linear
from pando_shared.codec import decode, encode
from pando_shared.fleet import assumed_worker, predict_on, token_budget_on
from pando_shared.memory import RUNTIME_BYTES, resident_bytes
from pando_shared.settings import Settings
from pando_shared.workers import Worker

GPU, CPU = "cuda:0", "cpu"


@dataclass(frozen=True, slots=True)
class Llama:
    """Sizes as its config.json has them."""

    layers: int
    hidden: int
    feed_forward: int
    heads: int

    @property
    def embeddings(self) -> int:
        """Numbers outside the blocks' linears: input, output head, norms."""
        return 2 * 128_256 * self.hidden + (2 * self.layers + 1) * self.hidden

    def describe(self) -> BaseModel:
        h, f, key_value = self.hidden, self.feed_forward, 1024
        shapes = {
            "q_proj": (h, h),
            "k_proj": (h, key_value),
            "v_proj": (h, key_value),
            "o_proj": (h, h),
            "gate_proj": (h, f),
            "up_proj": (h, f),
            "down_proj": (f, h),
        }
        linears = tuple(Linear(n, i, o, self.layers) for n, (i, o) in shapes.items())
        numbers = self.layers * sum(i * o for i, o in shapes.values()) + self.embeddings
        return BaseModel(
            name="llama",
            path="",
            hidden_size=h,
            intermediate_size=f,
            layers=self.layers,
            heads=self.heads,
            kv_heads=8,
            head_dim=128,
            vocab_size=128_256,
            max_positions=131_072,
            weight_bytes=2 * numbers,
            parameters=numbers,
            linears=linears,
            tied=False,
        )


SMALL, LARGE = Llama(32, 4096, 14336, 32), Llama(80, 8192, 28672, 64)


def card(gigabytes: int, held: BaseFormat) -> Worker:
    return Worker(
        id="w1",
        incarnation="",
        device=GPU,
        budget_bytes=int(0.9 * gigabytes * 1e9),
        heartbeat_at=0.0,
        token_budget=16384,
        base_format=held,
    )


@pytest.mark.parametrize(
    ("dtype", "device", "held"),
    [
        (None, CPU, BaseFormat("float32", "dense")),
        (None, GPU, BaseFormat("bfloat16", "dense")),
        ("float16", GPU, BaseFormat("float16", "dense")),
        ("bfloat16", CPU, BaseFormat("bfloat16", "dense")),
        ("nf4", GPU, BaseFormat("bfloat16", "nf4")),
        ("nf4", CPU, BaseFormat("float32", "nf4")),
        ("int8", GPU, BaseFormat("bfloat16", "int8")),
    ],
)
def test_one_setting_says_how_a_base_is_held(dtype, device, held):
    assert base_format(dtype, device) == held
    assert assumed_worker(Settings(dtype=dtype, device=device)).base_format == held


def test_a_setting_that_means_nothing_is_refused():
    with pytest.raises(ValidationError, match="nf4"):
        Settings(dtype="int4")  # type: ignore[arg-type]


def test_a_worker_tells_others_how_it_holds_bases():
    worker = card(24, BaseFormat("bfloat16", "nf4"))
    assert decode(Worker, encode(worker)) == worker


@pytest.mark.parametrize("llama", [SMALL, LARGE])
def test_linears_are_packed_and_the_rest_is_not(llama):
    base = llama.describe()
    h, f = llama.hidden, llama.feed_forward
    numbers = llama.layers * (2 * h * h + 2 * 1024 * h + 3 * h * f)
    rows = llama.layers * (h + 1024 + 1024 + h + f + f + h)
    rest = 2 * llama.embeddings
    assert base_bytes(base, BaseFormat("bfloat16")) == 2 * numbers + rest
    assert base_bytes(base, BaseFormat("bfloat16", "int8")) == numbers + 4 * rows + rest
    nf4 = numbers // 2 + numbers // 64 + 8 * rows + rest
    assert base_bytes(base, BaseFormat("bfloat16", "nf4")) == nf4
    assert resident_bytes(base, BaseFormat("bfloat16", "nf4")) == RUNTIME_BYTES + nf4


def test_a_row_that_ends_inside_a_block_is_counted_whole():
    base = replace(SMALL.describe(), linears=(Linear("fc", 100, 7, 3),), parameters=3 * 700 + 10)
    packed = 3 * 7 * (64 + 2 + 8)  # two blocks of 32 bytes, a scale each, and the row's two numbers
    assert base_bytes(base, BaseFormat("float32", "nf4")) == packed + 10 * 4


def test_the_largest_stack_is_what_is_unpacked_at_once():
    base = SMALL.describe()
    gate_up = 2 * 14336 * 4096
    assert unpacked_bytes(base, BaseFormat("bfloat16")) == 0
    assert unpacked_bytes(base, BaseFormat("bfloat16", "nf4")) == 2 * gate_up
    assert unpacked_bytes(base, BaseFormat("float32", "int8")) == 4 * gate_up
    alone = replace(base, linears=(Linear("fc1", 10, 30, 2), Linear("fc2", 30, 20, 2)))
    assert unpacked_bytes(alone, BaseFormat("bfloat16", "int8")) == 2 * 600
    attention = replace(
        base, linears=(Linear("q_proj", 8, 8, 2), Linear("k_proj", 8, 4, 2), Linear("o", 8, 9, 2))
    )
    assert unpacked_bytes(attention, BaseFormat("bfloat16", "nf4")) == 2 * 8 * (8 + 4)


def test_a_peak_has_the_unpacked_weight_in_it():
    base = SMALL.describe()
    adapters = [LoraConfig()]
    dense, packed = (
        predict_peak_bytes(base, adapters, 512, BaseFormat("bfloat16", storage), GPU, 0)
        for storage in ("dense", "nf4")
    )
    assert packed - dense == 2 * 2 * 14336 * 4096


@pytest.mark.parametrize(("llama", "gigabytes"), [(SMALL, 12), (LARGE, 141)])
def test_nf4_fits_where_sixteen_bits_do_not(llama, gigabytes):
    base, headroom = llama.describe(), 1.1
    packed, dense = (
        card(gigabytes, BaseFormat("bfloat16", storage)) for storage in ("nf4", "dense")
    )
    assert predict_on(packed, base, [LoraConfig()]).device_bytes * headroom <= packed.budget_bytes
    assert predict_on(dense, base, [LoraConfig()]).device_bytes > dense.budget_bytes
    assert token_budget_on(packed, base) > 256
