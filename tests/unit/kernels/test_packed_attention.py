"""Every way through packed attention equals naive softmax attention on each sequence alone."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from naive_attention import naive, naive_gradients
from numerics import normal

from pando_kernels import packed_attention as module
from pando_kernels.packed_attention import (
    AttentionRule,
    attention_backward,
    attention_forward,
    causal_window,
    masked_attention,
    packed_attention,
    quickest_attention,
    varlen_arguments,
)
from pando_kernels.sequences import Sequences

HEADS = 4
CPU = torch.device("cpu")
SCALE = 0.3


def sequences_of(lengths):
    return Sequences(tuple(lengths), CPU)


def tensors(total, kv_heads, d=8, dv=None, dtype=torch.float64):
    """q, k, v [T, H, D], whole."""
    shapes = ((1, HEADS, d), (2, kv_heads, d), (3, kv_heads, dv or d))
    return tuple(normal(seed, total, heads, width, dtype=dtype) for seed, heads, width in shapes)


def views(total, kv_heads, d=8, dtype=torch.float64):
    """q, k, v as views of the buffer that one product made of them."""
    buffer = normal(1, total, HEADS + 2 * kv_heads, d, dtype=dtype)
    return buffer.split([HEADS, kv_heads, kv_heads], 1)


def by_autograd(function):
    def run(q, k, v, lengths, rule, dout):
        leaves = [t.detach().requires_grad_() for t in (q, k, v)]
        out = function(*leaves, sequences_of(lengths), rule)
        return out.detach(), *torch.autograd.grad(out, leaves, dout)

    return run


def by_hand(q, k, v, lengths, rule, dout):
    """As a decoder without autograd does it: gradients go to views of one buffer."""
    sequences = sequences_of(lengths)
    with torch.no_grad():
        out, tape = attention_forward(q, k, v, sequences, rule)
        if q.shape[2] == v.shape[2]:
            heads = [t.shape[1] for t in (q, k, v)]
            buffer = q.new_full((len(q), sum(heads), q.shape[2]), math.nan)
            grads = buffer.split(heads, 1)
        else:
            grads = tuple(torch.full_like(t, math.nan) for t in (q, k, v))
        attention_backward(dout, tape, grads, sequences, rule)
    return out, *grads


WAYS = {
    "packed": by_autograd(packed_attention),
    "quickest": by_autograd(quickest_attention),
    "by-hand": by_hand,
}
RULES = {
    "plain": AttentionRule(SCALE),
    "window-3": AttentionRule(SCALE, window=3),
    "window-1": AttentionRule(SCALE, window=1),
    "window-longer-than-all": AttentionRule(SCALE, window=2000),
    "softcap": AttentionRule(SCALE, softcap=2.0),
    "window-and-softcap": AttentionRule(SCALE, window=4, softcap=2.0),
}
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))


def assert_equal_to_naive(way, qkv, lengths, rule, **close):
    dout = normal(4, *qkv[0].shape[:2], qkv[2].shape[2], dtype=qkv[0].dtype)
    before = [t.clone() for t in qkv]
    ours = way(*qkv, lengths, rule, dout)
    expected = naive_gradients(*qkv, lengths, rule, dout)
    for got, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(got.double(), wanted, **close)
    for tensor, copy in zip(qkv, before, strict=True):
        assert torch.equal(tensor, copy)


@every_way
@every_rule
@pytest.mark.parametrize("make", [tensors, views])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("lengths", [(1,), (5,), (1, 7, 1, 2, 3)], ids=str)
def test_output_and_gradients_equal_naive_attention(lengths, kv_heads, make, rule, way):
    # With a soft-cap the softmax is fp32 in any type, as transformers' own is.
    close = {"rtol": 1e-5, "atol": 1e-6} if rule.softcap else {"rtol": 1e-6, "atol": 1e-8}
    assert_equal_to_naive(way, make(sum(lengths), kv_heads), lengths, rule, **close)


@every_way
@pytest.mark.parametrize("window", [None, 50], ids=["plain", "window"])
@pytest.mark.parametrize("d", [8, 32])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_sequences_long_enough_for_blocks(kv_heads, d, window, way):
    lengths = (3, 200)
    qkv = views(sum(lengths), kv_heads, d)
    rule = AttentionRule(SCALE, window)
    assert_equal_to_naive(way, qkv, lengths, rule, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("lengths", [(127, 1, 128, 129), (191, 192, 193)], ids=str)
def test_sequences_of_whole_blocks_and_of_one_row_more_or_less(lengths):
    qkv = views(sum(lengths), 2)
    assert_equal_to_naive(by_hand, qkv, lengths, AttentionRule(SCALE), rtol=1e-6, atol=1e-8)


@every_way
@pytest.mark.parametrize("window", [None, 16], ids=["plain", "window"])
def test_long_sequences_in_fp32(window, way):
    lengths = (127, 33, 210)
    qkv = views(370, 2, d=10, dtype=torch.float32)
    assert_equal_to_naive(way, qkv, lengths, AttentionRule(SCALE, window), rtol=1e-4, atol=2e-5)


@every_way
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("lengths", [(9, 30), (200,)], ids=str)
def test_half_precision_is_near(lengths, dtype, way):
    qkv = views(sum(lengths), 2, dtype=dtype)
    dout = normal(4, *qkv[0].shape, dtype=dtype)
    ours = way(*qkv, lengths, AttentionRule(SCALE), dout)
    expected = naive_gradients(*qkv, lengths, AttentionRule(SCALE), dout)
    for got, wanted in zip(ours, expected, strict=True):
        assert got.dtype == dtype
        error = float((got.double() - wanted).norm() / wanted.norm())
        assert error < 3 * torch.finfo(dtype).eps


@every_way
def test_values_may_be_narrower_than_keys(way):
    qkv = tensors(7, 4, d=8, dv=3)
    assert_equal_to_naive(way, qkv, (5, 2), AttentionRule(SCALE), rtol=1e-6, atol=1e-8)


@every_way
def test_huge_scores_do_not_overflow(way):
    q, k, v = views(205, 2, dtype=torch.float32)
    dout = torch.ones_like(q)
    for tensor in way(100 * q, 100 * k, v, (5, 200), AttentionRule(1.0), dout):
        assert tensor.isfinite().all()


@every_way
@every_rule
@pytest.mark.parametrize("lengths", [(4, 6, 3), (2, 200, 3)], ids=str)
def test_nan_in_one_sequence_stays_there(lengths, rule, way):
    first, bad, last = lengths
    others = [*range(first), *range(first + bad, first + bad + last)]
    results = []
    for poison in (False, True):
        qkv = [t.clone() for t in views(sum(lengths), 2, dtype=torch.float32)]
        if poison:
            for tensor in qkv:
                tensor[first : first + bad] = math.nan
        out, *grads = way(*qkv, lengths, rule, torch.ones_like(qkv[0]))
        results.append([t[others] for t in (out, *grads)])
        assert bool(out.isnan().any()) is poison
    for clean, beside in zip(*results, strict=True):
        assert torch.equal(clean, beside)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (AttentionRule(1.0), True),
        (AttentionRule(1.0, window=8), False),
        (AttentionRule(1.0, window=9), True),
        (AttentionRule(1.0, softcap=30.0), False),
        (AttentionRule(1.0, window=9, softcap=0.0), True),
    ],
)
def test_a_window_hides_nothing_from_sequences_that_are_not_longer(rule, expected):
    assert rule.hides_nothing(sequences_of((9, 4))) is expected


@pytest.mark.parametrize("window", [None, 1, 3, 100])
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (5, 5), (1, 7), (3, 7)])
def test_what_a_position_may_see(queries, keys, window):
    visible = causal_window(queries, keys, window, CPU)
    for row in range(queries):
        position = keys - queries + row
        for column in range(keys):
            near = window is None or position - column < window
            assert bool(visible[row, column]) is (column <= position and near)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("kv_heads", [4, 1])
def test_the_last_queries_of_a_sequence_equal_those_of_the_whole(kv_heads, softcap):
    """As generation asks: few queries, all keys."""
    rule = AttentionRule(SCALE, window=4, softcap=softcap)
    qkv = tensors(9, kv_heads)
    expected = naive(*qkv, (9,), rule)[6:]
    q, k, v = (t.transpose(0, 1)[None] for t in qkv)
    out = masked_attention(q[:, :, 6:], k, v, causal_window(3, 9, 4, CPU), rule)
    torch.testing.assert_close(out[0].transpose(0, 1), expected, rtol=1e-5, atol=1e-6)


#: What `varlen_attn` takes: torch 2.10 with a scale, 2.11, and 2.12 on.
OLDEST = frozenset({"query", "key", "value", "is_causal", "return_aux", "scale"})
OLDER = frozenset({"query", "key", "value", "return_aux", "scale", "window_size"})
NEWER = OLDER | {"enable_gqa", "seqused_k", "block_table"}


class TestVarlen:
    """Flash attention over variable lengths, where a GPU has it."""

    @pytest.mark.parametrize(
        ("options", "grouped", "window", "expected", "repeat"),
        [
            (NEWER, False, None, {"window_size": (-1, 0)}, False),
            (NEWER, True, None, {"window_size": (-1, 0), "enable_gqa": True}, False),
            (NEWER, True, 7, {"window_size": (6, 0), "enable_gqa": True}, False),
            (NEWER, False, 1, {"window_size": (0, 0)}, False),
            (OLDER, False, None, {"window_size": (-1, 0)}, False),
            (OLDER, True, 7, {"window_size": (6, 0)}, True),
            (OLDEST, False, None, {"is_causal": True}, False),
            (OLDEST, True, None, {"is_causal": True}, True),
        ],
    )
    def test_arguments(self, options, grouped, window, expected, repeat):
        found = varlen_arguments(options, grouped, AttentionRule(0.5, window))
        assert found == ({"scale": 0.5, **expected}, repeat)

    @pytest.mark.parametrize(
        ("options", "window"),
        [(OLDEST, None), (OLDER, None), (OLDER, 3), (NEWER, None), (NEWER, 3)],
    )
    @pytest.mark.parametrize("kv_heads", [4, 2])
    def test_the_call_means_this_attention(self, monkeypatch, kv_heads, window, options):
        """A stand-in of the documented meaning, called as each version lets itself be called."""
        varlen = pytest.importorskip("torch.nn.attention.varlen")

        def stand_in(q, k, v, starts_q, starts_k, longest_q, longest_k, **arguments):
            assert set(arguments) <= options
            assert q.shape[1] == k.shape[1] or arguments["enable_gqa"]
            assert starts_q.dtype == starts_k.dtype == torch.int32
            assert starts_q.tolist() == starts_k.tolist()
            lengths = starts_q.diff().tolist()
            assert longest_q == longest_k == max(lengths)
            left, right = arguments.get("window_size", (-1, 0))
            assert right == 0
            assert "window_size" in arguments or arguments["is_causal"]
            own = AttentionRule(arguments["scale"], None if left < 0 else left + 1)
            return naive(q, k, v, lengths, own)

        monkeypatch.setattr(varlen, "varlen_attn", stand_in)
        monkeypatch.setattr(module, "_varlen_serves", lambda *_: True)
        monkeypatch.setattr(module, "_varlen_options", lambda: options)
        way = by_autograd(packed_attention)
        qkv = views(12, kv_heads)
        rule = AttentionRule(SCALE, window)
        assert_equal_to_naive(way, qkv, (5, 1, 6), rule, rtol=1e-6, atol=1e-8)

    @pytest.mark.parametrize(
        ("options", "window", "expected"),
        [(None, None, False), (OLDEST, None, True), (OLDEST, 3, False), (OLDER, 3, True)],
    )
    def test_a_version_without_windows_is_not_asked_for_them(
        self, monkeypatch, options, window, expected
    ):
        on_gpu = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16, shape=(5, 4, 8))
        monkeypatch.setattr(module, "_varlen_options", lambda: options)
        assert module._varlen_serves(on_gpu, on_gpu, AttentionRule(SCALE, window)) is expected

    def test_a_cpu_does_not_ask_for_it(self, monkeypatch):
        monkeypatch.setattr(module, "_varlen_options", lambda: NEWER)
        monkeypatch.setattr(module, "_varlen", None)
        packed_attention(*views(5, 2, dtype=torch.bfloat16), sequences_of((5,)), RULES["plain"])
