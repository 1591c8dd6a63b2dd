"""Bytes of adapters on a worker's device and in its host, against counts made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from factories import SMALL_BASE as BASE
from predicted_bytes import predict_host_bytes, predict_peak_bytes

from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.base_format import BaseFormat
from pando_shared.memory import (
    MEFT_BUFFER_NUMBERS,
    MEFT_CACHE_BYTES,
    RUNTIME_BYTES,
    activation_bytes_per_token,
    adapter_bytes,
    host_row_bytes,
    logits_rows,
    meft_buffer_numbers,
    trained_parameters,
)
from pando_shared.recompute import Recompute

GPU, CPU = "cuda:0", "cpu"
HALF, FULL = BaseFormat("bfloat16"), BaseFormat("float32")
MIB = 1 << 20
LATE = 32 * MIB

#: The shape of Llama 3.1 8B, as far as MEFT sees it.
WIDE = replace(BASE, layers=32, hidden_size=4096, intermediate_size=14336)
LORA, PACA = LoraConfig(rank=3), PacaConfig(rank=3)
#: 12 keys in 4 experts of 3; a token looks into 2 of these.
MEFT = MeftConfig(num_keys=12, top_k=2, num_experts=4, num_probes=2)
#: Of the trained numbers of MEFT: 2 layers of 12 keys and 12 values of width 8; of 4 experts.
ROWS, ROUTER = 2 * 24 * 8, 2 * 4 * 8


def test_trained_numbers():
    assert trained_parameters(BASE, LORA) == 2 * 3 * (8 + 8) + 2 * 3 * (8 + 24)
    assert trained_parameters(BASE, PACA) == 2 * 3 * 8 + 2 * 3 * 24
    assert trained_parameters(BASE, MEFT) == ROWS + ROUTER


@pytest.mark.parametrize("device", [CPU, GPU])
@pytest.mark.parametrize(("held", "each"), [(FULL, 16), (HALF, 18)])
def test_what_trains_on_the_device_has_four_vectors_and_a_copy_in_16_bits(device, held, each):
    for adapter in (LORA, PACA):
        trained = trained_parameters(BASE, adapter)
        assert adapter_bytes(BASE, adapter, held, device) == trained * each
    if device == CPU:
        assert adapter_bytes(BASE, MEFT, held, device) == ROWS * 16 + ROUTER * each


@pytest.mark.parametrize(("held", "each", "compute"), [(FULL, 16, 4), (HALF, 18, 2)])
def test_a_gpu_holds_the_router_and_a_cache_of_rows(held, each, compute):
    assert adapter_bytes(BASE, MEFT, held, GPU) == ROUTER * each + ROWS * compute
    large = MeftConfig(num_keys=4096, num_experts=64)
    assert 32 * 2 * 4096 * 4096 * compute > MEFT_CACHE_BYTES
    router = 32 * 64 * 4096 * each
    assert adapter_bytes(WIDE, large, held, GPU) == router + MEFT_CACHE_BYTES


def test_the_cache_just_holds_a_default_job_beside_8b():
    assert MEFT_CACHE_BYTES == 32 * 2 * 1024 * 4096 * 2


@pytest.mark.parametrize(
    ("keys", "experts", "numbers"),
    [
        (1024, 16, 1024 * 4096),  # the whole layer is less than a buffer
        (8192, 64, 8192 * 4096),  # it is just one
        (16384, 64, 32 * MIB),  # 32 experts of a Mi numbers each
        (3 * 8192, 8, 3 * 12 * MIB),  # three experts of 12 Mi, for 32 Mi are no whole ones
        (1 << 20, 64, 16384 * 4096),  # an expert that is larger than that
    ],
)
def test_a_buffer_holds_whole_experts(keys, experts, numbers):
    assert MEFT_BUFFER_NUMBERS == 32 * MIB
    adapter = MeftConfig(num_keys=keys, num_experts=experts, num_probes=1)
    assert meft_buffer_numbers(4096, adapter) == numbers


def buffers(adapters: list[AdapterConfig], held: BaseFormat) -> int:
    """What these adapters take on a GPU beside their own bytes and a lone LoRA job's step."""
    lora = LoraConfig(rank=1)
    alone = predict_peak_bytes(WIDE, [lora], 0, held, GPU, 0)
    together = predict_peak_bytes(WIDE, [lora, *adapters], 0, held, GPU, 0)
    own = sum(adapter_bytes(WIDE, adapter, held, GPU) for adapter in adapters)
    # A chunk of B's partial sums for each job more.
    sums = len(adapters) * 2 * WIDE.intermediate_size * 4
    slab = 64 * MIB if adapters else 0
    return together - alone - own - sums - slab


def test_buffers_are_there_once_and_as_large_as_the_largest_job_makes_them():
    small, large = MeftConfig(num_keys=2048), MeftConfig(num_keys=4096)
    numbers = 4096 * 4096
    assert buffers([], HALF) == 0
    assert buffers([large], HALF) == 2 * (2 * 2 + 2 * 4) * numbers
    assert buffers([large], FULL) == 2 * (2 * 4 + 2 * 4) * numbers
    assert buffers([small, large, large], HALF) == buffers([large], HALF)
    assert buffers([MeftConfig(num_keys=1 << 16)], HALF) == 2 * (2 * 2 + 2 * 4) * 32 * MIB


def test_rows_that_are_all_cached_need_no_buffers_but_their_gradients_do():
    cached, not_cached = MeftConfig(num_keys=1024), MeftConfig(num_keys=1040)
    assert buffers([cached], HALF) == 2 * 2 * 4 * 1024 * 4096
    assert buffers([cached, not_cached], HALF) == 2 * (2 * 2 + 2 * 4) * 1040 * 4096


#: Value, gradient, two moments, copy; without value and moments, but always with a copy.
@pytest.mark.parametrize(("held", "each", "beside_disk"), [(FULL, 16, 8), (HALF, 18, 6)])
def test_rows_in_the_host(held, each, beside_disk):
    # 24 rows of a layer are 12 keys with a value each: a count, a step and a flag.
    records = 2 * 12 * (4 + 4 + 1)
    assert host_row_bytes(BASE, MEFT, held) == ROWS * each + records
    assert host_row_bytes(BASE, MEFT, held, rows_on_disk=True) == ROWS * beside_disk + records


def test_a_gpu_workers_host_holds_process_rows_and_one_checkpoint():
    for held in (HALF, FULL):
        process = RUNTIME_BYTES + LATE
        rows = host_row_bytes(BASE, MEFT, held)
        lora = trained_parameters(BASE, LORA) * 12
        meft = (ROWS + ROUTER) * 12
        assert lora < meft
        assert predict_host_bytes(BASE, [], held, GPU) == process
        assert predict_host_bytes(BASE, [LORA, LORA], held, GPU) == process + lora
        assert predict_host_bytes(BASE, [LORA, MEFT, MEFT], held, GPU) == process + 2 * rows + meft
        on_disk = predict_host_bytes(BASE, [MEFT], held, GPU, rows_on_disk=True)
        assert on_disk == process + host_row_bytes(BASE, MEFT, held, rows_on_disk=True) + meft


def test_some_layers_take_their_share():
    half = replace(MEFT, layers=(1,))
    assert 2 * trained_parameters(BASE, half) == trained_parameters(BASE, MEFT) == ROWS + ROUTER
    for device in (CPU, GPU):
        assert 2 * adapter_bytes(BASE, half, HALF, device) == adapter_bytes(
            BASE, MEFT, HALF, device
        )
    assert 2 * host_row_bytes(BASE, half, HALF) == host_row_bytes(BASE, MEFT, HALF)


def test_a_cpu_has_no_second_memory():
    assert predict_host_bytes(BASE, [LORA, MEFT], FULL, CPU) == 0
    assert predict_host_bytes(BASE, [MEFT], HALF, CPU, rows_on_disk=True) == 0


@pytest.mark.parametrize(("held", "each"), [(FULL, 16), (HALF, 18)])
def test_the_peak_of_a_cpu(held, each):
    """Its one memory has the checkpoint and what the first steps leave in it too."""
    element = held.compute_bytes
    tokens = 10
    # The hungrier of MEFT, with products of 2 experts of 3 keys, and of LoRA, of rank 3.
    kept = 2 * 8 + 2 * 6 * 2 + 2 * 24
    of_meft = 2 * ((kept + 8) * element + 4 * 3 * 2 * 3 + 20 * 2)
    of_lora = 2 * ((kept + 2 * 8 + 24) * element + element * 3 * 2)
    for adapter, expected in ((MEFT, of_meft), (LORA, of_lora)):
        per_token = activation_bytes_per_token(BASE, adapter, element, Recompute.NOTHING)
        assert per_token == expected
    per_token = max(of_meft, of_lora)
    backward = tokens * element * (3 * 24 + 4 * 8)
    logits = 3 * 4 * tokens * 100
    trained = ROWS * 16 + ROUTER * each + trained_parameters(BASE, LORA) * each
    assert predict_peak_bytes(BASE, [MEFT, LORA], tokens, held, CPU, 77) == (
        77 + trained + tokens * per_token + backward + logits + LATE + 12 * (ROWS + ROUTER)
    )


@pytest.mark.parametrize(("held", "each"), [(FULL, 16), (HALF, 18)])
def test_the_peak_of_a_gpu_whatever_it_computes_in(held, each):
    element = held.compute_bytes
    tokens = 10
    per_token = max(
        activation_bytes_per_token(BASE, adapter, element, Recompute.NOTHING)
        for adapter in (MEFT, LORA)
    )
    backward = tokens * element * (3 * 24 + 4 * 8)
    logits = 2 * element * tokens * 100
    trained = ROWS * element + ROUTER * each + trained_parameters(BASE, LORA) * each
    gradients = 2 * 2 * 4 * 12 * 8  # all rows are cached
    sums = 3 * 2 * 24 * 3 * 4  # a chunk of 512 rows, and one for each of two jobs; rank 3
    scratch = 64 * MIB + 2 * 10 * 2 * 3  # a slab, and weights of 10 tokens' 2 experts of 3 keys
    assert predict_peak_bytes(BASE, [MEFT, LORA], tokens, held, GPU, 77) == (
        77 + trained + tokens * per_token + backward + logits + gradients + sums + scratch
    )
    assert logits_rows(100, element) > tokens
