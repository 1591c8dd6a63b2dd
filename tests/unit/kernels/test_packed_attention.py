"""Packed attention equals naive softmax attention on each sequence alone."""

from __future__ import annotations

import pytest
import torch
from numerics import normal

from pando_kernels.packed_attention import packed_attention

HEADS = 4


def naive(q, k, v, lengths, scale, window=None, softcap=None):
    """Sequence by sequence, head by head, row by row."""
    group = q.shape[1] // k.shape[1]
    sequences = []
    start = 0
    for length in lengths:
        rows = []
        for t in range(start, start + length):
            first = start if window is None else max(start, t - window + 1)
            heads = []
            for h in range(q.shape[1]):
                scores = k[0, h // group, first : t + 1] @ q[0, h, t] * scale
                if softcap:
                    scores = softcap * torch.tanh(scores / softcap)
                heads.append(scores.softmax(0) @ v[0, h // group, first : t + 1])
            rows.append(torch.stack(heads))
        sequences.append(torch.stack(rows))
        start += length
    return torch.cat(sequences)[None]


def tensors(total, kv_heads, d=8, dv=None, dtype=torch.float64):
    """q, k, v laid out [1, T, H, D] and seen as [1, H, T, D], as transformers passes them."""
    return tuple(
        normal(seed, 1, total, heads, width, dtype=dtype).transpose(1, 2)
        for seed, heads, width in ((1, HEADS, d), (2, kv_heads, d), (3, kv_heads, dv or d))
    )


def both(lengths, qkv, **options):
    """Outputs and gradients of ours and the naive one's."""
    results = []
    dout = None
    for attention in (packed_attention, naive):
        leaves = [t.detach().clone().requires_grad_() for t in qkv]
        out = attention(*leaves, lengths, 0.3, **options)
        dout = normal(4, *out.shape, dtype=out.dtype) if dout is None else dout
        out.backward(dout)
        results.append((out.detach(), *(leaf.grad for leaf in leaves)))
    return results


OPTIONS = {
    "plain": {},
    "window-3": {"window": 3},
    "window-1": {"window": 1},
    "window-longer-than-all": {"window": 200},
    "softcap": {"softcap": 2.0},
    "window-and-softcap": {"window": 4, "softcap": 2.0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("lengths", [(1,), (5,), (1, 7, 1, 2, 3)], ids=str)
def test_output_and_gradients_equal_naive_attention(lengths, kv_heads, options):
    ours, expected = both(lengths, tensors(sum(lengths), kv_heads), **options)
    # With a soft-cap the softmax is fp32 in any type, as transformers' own is.
    close = {"rtol": 1e-5, "atol": 1e-6} if "softcap" in options else {"rtol": 1e-6, "atol": 1e-8}
    for got, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, wanted, **close)


@pytest.mark.parametrize("options", [{}, {"window": 16}], ids=["plain", "window"])
def test_long_sequences_in_fp32(options):
    lengths = (127, 33)
    ours, expected = both(lengths, tensors(160, 2, d=10, dtype=torch.float32), **options)
    for got, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_values_may_be_narrower_than_keys():
    lengths = (5, 2)
    ours, expected = both(lengths, tensors(7, 4, d=8, dv=3))
    for got, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
def test_nan_in_one_sequence_stays_there(options):
    lengths = (4, 6, 3)
    q, k, v = tensors(13, 2, dtype=torch.float32)
    others = [*range(4), *range(10, 13)]
    results = []
    for poison in (False, True):
        leaves = [t.detach().clone() for t in (q, k, v)]
        if poison:
            for tensor in leaves:
                tensor[:, :, 4:10] = float("nan")
        for tensor in leaves:
            tensor.requires_grad_()
        out = packed_attention(*leaves, lengths, 0.3, **options)
        out.backward(torch.ones_like(out))
        results.append((out.detach()[:, others], *(leaf.grad[:, :, others] for leaf in leaves)))
        assert bool(out.isnan().any()) is poison
    for clean, beside in zip(*results, strict=True):
        assert torch.equal(clean, beside)
