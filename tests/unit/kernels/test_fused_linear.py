"""One frozen linear under many segments equals each segment's own dense formula."""

from __future__ import annotations

import pytest
import torch
from numerics import make_lora, make_paca, normal
from torch import nn

from pando_kernels.fused_linear import AdaptedLinear
from pando_kernels.plan import Plan, Segment, planned

IN, OUT = 13, 7


@pytest.fixture(params=[True, False], ids=["bias", "no-bias"])
def linear(request):
    torch.manual_seed(0)
    return nn.Linear(IN, OUT, bias=request.param).double().requires_grad_(False)


def adapters():
    return {
        "lora": make_lora(1, (IN, OUT), 3),
        "paca": make_paca(4, (IN, OUT), 5),
        "unused": make_lora(7, (IN, OUT), 16),
        "lora-too": make_lora(9, (IN, OUT), 100, scale=0.1),
    }


def segments(layers):
    """With and without adapter, one empty, one of another module, in the middle and at the end."""
    return (
        Segment(0, 4, {}),
        Segment(4, 9, {"proj": layers["lora"]}),
        Segment(9, 9, {"proj": layers["unused"]}),
        Segment(9, 10, {"other": layers["unused"]}),
        Segment(10, 137, {"proj": layers["paca"]}),
        Segment(137, 138, {"proj": layers["lora-too"]}),
        Segment(138, 140, {}),
    )


def run(linear, layers, x, dy):
    leaf = x.clone().requires_grad_()
    with planned(Plan(segments(layers), (140,))):
        y = AdaptedLinear("proj", linear)(leaf)
    y.backward(dy)
    return y.detach(), leaf.grad


def test_forward_and_gradients_equal_the_dense_formula(linear):
    layers = adapters()
    x, dy = normal(2, 1, 140, IN), normal(3, 1, 140, OUT)
    y, dx = run(linear, layers, x, dy)

    leaf = x.clone().requires_grad_()
    lora, paca, wide = layers["lora"], layers["paca"], layers["lora-too"]
    a, b, p, wide_a, wide_b = (
        t.clone().requires_grad_() for t in (lora.a, lora.b, paca.p, wide.a, wide.b)
    )
    expected = nn.functional.linear(leaf, linear.weight, linear.bias)[0]
    rows = torch.arange(140)
    expected = expected.index_add(0, rows[4:9], 0.7 * leaf[0, 4:9] @ a.t() @ b.t())
    delta = 0.7 * leaf[0, 10:137][:, paca.columns] @ p.t()
    expected = expected.index_add(0, rows[10:137], delta)
    expected = expected.index_add(
        0, rows[137:138], 0.1 * leaf[0, 137:138] @ wide_a.t() @ wide_b.t()
    )
    expected.backward(dy[0])

    torch.testing.assert_close(y[0], expected.detach())
    torch.testing.assert_close(dx, leaf.grad)
    for ours, theirs in (
        (lora.grad_a, a),
        (lora.grad_b, b),
        (paca.grad_p, p),
        (wide.grad_a, wide_a),
        (wide.grad_b, wide_b),
    ):
        torch.testing.assert_close(ours, theirs.grad)
    assert not layers["unused"].grad_b.any()
    assert linear.weight.grad is None


def test_adapters_learn_though_the_input_needs_no_gradient(linear):
    layers = adapters()
    x, dy = normal(2, 140, IN), normal(3, 140, OUT)
    with planned(Plan(segments(layers), (140,))):
        AdaptedLinear("proj", linear)(x).backward(dy)
    with_input_gradient = adapters()
    run(linear, with_input_gradient, x[None], dy[None])
    for name, layer in layers.items():
        gradient = "grad_p" if name == "paca" else "grad_b"
        assert torch.equal(getattr(layer, gradient), getattr(with_input_gradient[name], gradient))


def test_outside_a_plan_it_is_the_plain_linear(linear):
    x = normal(2, 3, 5, IN)
    assert torch.equal(AdaptedLinear("proj", linear)(x), linear(x))
    with planned(Plan((Segment(0, 15, {}),), (15,))):
        assert torch.equal(AdaptedLinear("proj", linear)(x), linear(x))


def test_without_gradients_nothing_is_kept(linear):
    layers = adapters()
    with torch.no_grad(), planned(Plan(segments(layers), (140,))):
        y = AdaptedLinear("proj", linear)(normal(2, 140, IN))
    assert not y.requires_grad


@pytest.mark.parametrize("where", ["parameters", "input"])
def test_nan_in_one_segment_stays_there(linear, where):
    x, dy = normal(2, 1, 140, IN), normal(3, 1, 140, OUT)
    others = [row for row in range(140) if not 10 <= row < 137]
    results = []
    for poison in (False, True):
        layers, poisoned = adapters(), x.clone()
        if poison and where == "parameters":
            layers["paca"].p.fill_(float("nan"))
        elif poison:
            poisoned[0, 10:137] = float("nan")
        y, dx = run(linear, layers, poisoned, dy)
        lora, wide = layers["lora"], layers["lora-too"]
        parts = (lora.grad_a, lora.grad_b, wide.grad_a, wide.grad_b)
        results.append((y[0, others], dx[0, others], *parts))
        assert bool(y.isnan().any()) is poison
    for clean, beside in zip(*results, strict=True):
        assert torch.equal(clean, beside)
