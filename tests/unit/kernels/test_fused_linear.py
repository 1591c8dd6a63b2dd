"""The module that stands for a linear: shapes, autograd and plans around a `LinearGroup`."""

from __future__ import annotations

import pytest
import torch
from dense_adapters import dense, gradients
from numerics import make_lora, make_paca, normal

from pando_kernels.frozen_weight import DenseWeight
from pando_kernels.fused_linear import AdaptedLinear
from pando_kernels.plan import make_plan, planned

IN, OUT, ROWS = 13, 7, 140


@pytest.fixture(params=[True, False], ids=["bias", "no-bias"])
def linear(request):
    bias = normal(2, OUT) if request.param else None
    return AdaptedLinear("proj", DenseWeight(normal(1, OUT, IN)), bias)


def segments():
    """With and without adapter, one empty, one of another module, in the middle and at the end."""
    return [
        (4, {}),
        (5, {"proj": make_lora(1, (IN, OUT), 3)}),
        (0, {"proj": make_lora(7, (IN, OUT), 16)}),
        (1, {"other": make_lora(7, (IN, OUT), 16)}),
        (127, {"proj": make_paca(4, (IN, OUT), 5)}),
        (1, {"proj": make_lora(9, (IN, OUT), 100, scale=0.1)}),
        (2, {}),
    ]


def run(linear, layers, x, dy):
    leaf = x.clone().requires_grad_()
    with planned(make_plan(layers)):
        y = linear(leaf)
    y.backward(dy)
    return y.detach(), leaf.grad


@pytest.mark.parametrize("shape", [(ROWS,), (1, ROWS), (4, 35)], ids=str)
def test_forward_and_gradients_equal_the_dense_formula(linear, shape):
    layers = segments()
    x, dy = normal(2, *shape, IN), normal(3, *shape, OUT)
    y, dx = run(linear, layers, x, dy)
    expected = dense(linear.group, layers, x.view(-1, IN), dy.view(-1, OUT))
    torch.testing.assert_close(y, expected.y.view(*shape, OUT))
    torch.testing.assert_close(dx, expected.dx.view(*shape, IN))
    for (index, name), wanted in expected.gradients.items():
        for ours, theirs in zip(gradients(layers[index][1][name]), wanted, strict=True):
            torch.testing.assert_close(ours, theirs)
    for unused in (layers[2][1]["proj"], layers[3][1]["other"]):
        assert not unused.grad_b.any()


def test_a_gradient_that_is_not_contiguous(linear):
    results = []
    for dy in (normal(3, OUT, ROWS).t(), normal(3, OUT, ROWS).t().contiguous()):
        layers = segments()
        _, dx = run(linear, layers, normal(2, ROWS, IN), dy)
        results.append((dx, layers[1][1]["proj"].grad_a, layers[4][1]["proj"].grad_b))
    for strided, whole in zip(*results, strict=True):
        assert torch.equal(strided, whole)


def test_adapters_learn_though_the_input_needs_no_gradient(linear):
    x, dy = normal(2, ROWS, IN), normal(3, ROWS, OUT)
    layers, with_input_gradient = segments(), segments()
    with planned(make_plan(layers)):
        linear(x).backward(dy)
    run(linear, with_input_gradient, x, dy)
    for (_, job), (_, other) in zip(layers, with_input_gradient, strict=True):
        for name, layer in job.items():
            for ours, theirs in zip(gradients(layer), gradients(other[name]), strict=True):
                assert torch.equal(ours, theirs)
                assert bool(ours.any()) is (name == "proj" and layer.rank != 16)


def test_outside_a_plan_it_is_the_plain_linear(linear):
    x = normal(2, 3, 5, IN)
    expected = torch.nn.functional.linear(x, linear.weight, linear.bias)
    torch.testing.assert_close(linear(x), expected)
    with planned(make_plan([(15, {})])):
        assert torch.equal(
            linear(x), linear.frozen.forward(x.view(-1, IN), linear.bias).view(3, 5, OUT)
        )


def test_without_gradients_nothing_is_kept(linear):
    with torch.no_grad(), planned(make_plan(segments())):
        y = linear(normal(2, ROWS, IN))
    assert not y.requires_grad


def test_it_answers_what_models_ask_a_linear(linear):
    assert (linear.in_features, linear.out_features) == (IN, OUT)
    assert linear.weight.shape == (OUT, IN)
    assert linear.weight.dtype == torch.float64
    assert not list(linear.parameters())


@pytest.mark.parametrize("where", ["parameters", "input"])
def test_nan_in_one_segment_stays_there(linear, where):
    x, dy = normal(2, 1, ROWS, IN), normal(3, 1, ROWS, OUT)
    others = [row for row in range(ROWS) if not 10 <= row < 137]
    results = []
    for poison in (False, True):
        layers, poisoned = segments(), x.clone()
        if poison and where == "parameters":
            layers[4][1]["proj"].b.fill_(float("nan"))
        elif poison:
            poisoned[0, 10:137] = float("nan")
        y, dx = run(linear, layers, poisoned, dy)
        healthy = [g for i in (1, 5) for g in gradients(layers[i][1]["proj"])]
        results.append((y[0, others], dx[0, others], *healthy))
        assert bool(y.isnan().any()) is poison
    for clean, beside in zip(*results, strict=True):
        assert torch.equal(clean, beside)
