"""MEFT by hand equals a dense masked formula, at every edge of its selection."""

from __future__ import annotations

import pytest
import torch
from dense_meft import dense_meft
from lazy_adamw_reference import adamw_row
from numerics import make_meft, meft_of, normal, numerical_gradient
from torch import nn

from pando_kernels.adamw import AdamWSettings, adamw_step
from pando_kernels.meft.beside import attach_meft, meft_backward, meft_forward
from pando_kernels.meft.layer import MeftLayer
from pando_kernels.meft.lazy_adamw import AdamWRows, lazy_adamw
from pando_kernels.meft.memory import HostMemory
from pando_kernels.meft.rows import LayerRows
from pando_kernels.plan import make_plan, planned


def run(layer: MeftLayer, x: torch.Tensor, dy: torch.Tensor):
    """(what the layer adds, dx), its own gradients being filled."""
    y, dx = torch.zeros_like(x), torch.zeros_like(x)
    saved = layer.forward(x, y)
    layer.backward(x, dy, dx, saved, None)
    return y, dx


def assert_equals_dense(layer: MeftLayer, x: torch.Tensor, dy: torch.Tensor) -> None:
    leaves = [
        t.clone().requires_grad_()
        for t in (x, layer.memory.rows.keys, layer.memory.rows.values, layer.router)
    ]
    expected = dense_meft(*leaves, layer.probes, layer.top_k)
    expected.backward(dy)
    y, dx = run(layer, x, dy)
    torch.testing.assert_close(y, expected.detach())
    for ours, leaf in zip(
        (dx, layer.memory.rows.grad_keys, layer.memory.rows.grad_values, layer.grad_router),
        leaves,
        strict=True,
    ):
        torch.testing.assert_close(ours, leaf.grad)


#: experts, keys an expert, probed experts, top-k
SELECTIONS = {
    "top-1": (4, 3, 2, 1),
    "some": (8, 4, 3, 5),
    "all-probed-keys": (8, 4, 3, 12),
    "all-keys": (5, 3, 5, 15),
    "one-expert": (1, 11, 1, 4),
    "one-key-an-expert": (13, 1, 4, 3),
}


@pytest.mark.parametrize("rows", [0, 1, 5, 127])
@pytest.mark.parametrize("selection", SELECTIONS.values(), ids=list(SELECTIONS))
def test_forward_and_gradients_equal_the_dense_formula(rows, selection):
    layer = make_meft(1, 9, *selection)
    assert_equals_dense(layer, normal(7, rows, 9), normal(8, rows, 9))


def test_gradients_equal_finite_differences():
    layer = make_meft(1, 4, 4, 3, 2, 4)
    x, dy = normal(7, 3, 4), normal(8, 3, 4)

    def objective() -> float:
        y = torch.zeros_like(x)
        layer.forward(x, y)
        return float((y * dy).sum())

    _, dx = run(layer, x, dy)
    for gradient, tensor in (
        (dx, x),
        (layer.memory.rows.grad_keys, layer.memory.rows.keys),
        (layer.memory.rows.grad_values, layer.memory.rows.values),
        (layer.grad_router, layer.router),
    ):
        numerical = numerical_gradient(objective, tensor)
        torch.testing.assert_close(gradient, numerical, rtol=1e-5, atol=1e-6)


def test_equal_keys_share_one_place():
    """Which of two equal keys is kept is free; their sum is not."""
    layer = make_meft(1, 6, 1, 4, 1, 1)
    layer.memory.rows.keys[0, 1:] = layer.memory.rows.keys[0, 0]
    layer.memory.rows.values[0, 1:] = layer.memory.rows.values[0, 0]
    x, dy = normal(7, 9, 6), normal(8, 9, 6)
    leaves = [
        t.clone().requires_grad_()
        for t in (x, layer.memory.rows.keys, layer.memory.rows.values, layer.router)
    ]
    expected = dense_meft(*leaves, 1, 1)
    expected.backward(dy)
    y, dx = run(layer, x, dy)
    torch.testing.assert_close(y, expected.detach())
    torch.testing.assert_close(dx, leaves[0].grad)
    torch.testing.assert_close(layer.memory.rows.grad_keys.sum(1), leaves[1].grad.sum(1))
    torch.testing.assert_close(layer.memory.rows.grad_values.sum(1), leaves[2].grad.sum(1))
    torch.testing.assert_close(layer.grad_router, leaves[3].grad)


def test_activations_all_negative_add_nothing_and_learn_nothing():
    layer = make_meft(1, 6, 3, 4, 2, 3)
    layer.router.abs_()
    layer.memory.rows.keys.copy_(-layer.memory.rows.keys.abs())
    x = normal(7, 5, 6).abs()
    y, dx = run(layer, x, normal(8, 5, 6))
    for tensor in (
        y,
        dx,
        layer.memory.rows.grad_keys,
        layer.memory.rows.grad_values,
        layer.grad_router,
    ):
        assert not tensor.any()


def test_an_expert_nobody_chose_has_no_gradient():
    layer = make_meft(1, 6, 4, 3, 2, 6)
    layer.router[2] = -10.0
    x, dy = normal(7, 20, 6).abs(), normal(8, 20, 6)
    assert_equals_dense(layer, x, dy)
    for gradient in (layer.memory.rows.grad_keys, layer.memory.rows.grad_values, layer.grad_router):
        assert not gradient[2].any()
        assert gradient.any()


def test_values_of_zero_add_nothing_and_still_learn():
    layer = make_meft(1, 6, 4, 3, 2, 6)
    layer.memory.rows.values.zero_()
    y, _ = run(layer, normal(7, 20, 6), normal(8, 20, 6))
    assert not y.any()
    assert layer.memory.rows.grad_values.any()


#: experts, keys an expert, probed experts, top-k; 24 keys in all.
@pytest.mark.parametrize("selection", [(6, 4, 3, 5), (6, 4, 6, 24), (8, 3, 1, 1), (1, 24, 1, 7)])
def test_twenty_steps_equal_the_dense_formula_and_adamw_row_by_row(selection):
    experts, width, probes, top_k = selection
    d = 8
    value = normal(1, 2, experts * width, d)
    tables = AdamWRows(
        value,
        *(torch.zeros_like(value) for _ in range(3)),
        torch.zeros(experts * width, dtype=torch.int32),
    )
    keys, values, grad_keys, grad_values = (
        table.view(experts, width, d) for table in (*value, *tables.gradient)
    )
    touched = torch.zeros(experts, width, dtype=torch.bool)
    memory = HostMemory(LayerRows(keys, values, grad_keys, grad_values, touched))
    router = normal(2, experts, d)
    layer = MeftLayer(memory, router, torch.zeros_like(router), probes, top_k)
    router_mean, router_square = torch.zeros_like(router), torch.zeros_like(router)
    settings = AdamWSettings(weight_decay=0.1)

    theirs = [t.clone().requires_grad_() for t in (keys, values, router)]
    router_optimizer = torch.optim.AdamW(theirs[2:], lr=0.01, weight_decay=0.1)
    zero = torch.zeros(d, dtype=torch.float64)
    moments = [[[zero, zero] for _ in range(experts * width)] for _ in range(2)]
    steps = [0] * (experts * width)
    options = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}
    for step in range(1, 21):
        x, target = normal(100 + step, 9, d), normal(200 + step, 9, d)
        expected = dense_meft(x, *theirs, probes, top_k)
        (expected - target).square().mean().backward()
        used = (theirs[1].grad != 0).any(2).flatten()
        for i in used.nonzero()[:, 0].tolist():
            steps[i] += 1
            for t in range(2):
                row, gradient = theirs[t].detach().view(-1, d)[i], theirs[t].grad.view(-1, d)[i]
                new, *moments[t][i] = adamw_row(row, gradient, *moments[t][i], steps[i], **options)
                row.copy_(new)
        router_optimizer.step()
        for leaf in theirs:
            leaf.grad = None

        y = torch.zeros_like(x)
        saved = layer.forward(x, y)
        torch.testing.assert_close(y, expected.detach(), rtol=1e-9, atol=1e-9)
        layer.backward(x, 2 * (y - target) / target.numel(), None, saved, None)
        lazy_adamw(tables, touched.flatten().nonzero()[:, 0], 0.01, settings, 1.0)
        flat = (t.view(-1) for t in (router, layer.grad_router, router_mean, router_square))
        adamw_step(*flat, step, 0.01, settings)
        touched.zero_()
        layer.grad_router.zero_()
    assert tables.counts.tolist() == steps
    for ours, reference in zip((keys, values, router), theirs, strict=True):
        torch.testing.assert_close(ours, reference.detach(), rtol=1e-9, atol=1e-9)


class TestBesideAFeedForward:
    """Attached to a module, on the rows of its own segments."""

    @pytest.fixture
    def network(self):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)).double()
        network.requires_grad_(False)
        attach_meft("mlp", network)
        return network

    def test_segments_in_the_middle_empty_and_without_adapter(self, network):
        first, second = make_meft(1, 8, 4, 3, 2, 4), make_meft(5, 8, 2, 5, 1, 3)
        unused = make_meft(9, 8, 2, 5, 1, 3)
        segments = [
            (3, {}),
            (5, {"mlp": first}),
            (0, {"mlp": unused}),
            (1, {"elsewhere": unused}),
            (11, {"mlp": second}),
        ]
        x, dy = normal(7, 1, 20, 8), normal(8, 1, 20, 8)
        x_ours, x_theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
        with planned(make_plan(segments)):
            y = network(x_ours)
        y.backward(dy)
        added = torch.zeros(20, 8, dtype=torch.float64)
        for layer, rows in ((first, slice(3, 8)), (second, slice(9, 20))):
            parts = (layer.memory.rows.keys, layer.memory.rows.values, layer.router)
            delta = dense_meft(x_theirs[0, rows], *parts, layer.probes, layer.top_k)
            added = added.index_add(0, torch.arange(20)[rows], delta)
        expected = network(x_theirs) + added
        expected.backward(dy)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(x_ours.grad, x_theirs.grad)
        assert not unused.memory.rows.grad_keys.any()

    def test_outside_a_plan_nothing_is_added(self, network):
        x, layer = normal(7, 1, 5, 8), make_meft(1, 8, 4, 3, 2, 4)
        with planned(make_plan([(5, {"mlp": layer})])):
            inside = network(x)
        with planned(make_plan([(5, {})])):
            without = network(x)
        assert torch.equal(network(x), without)
        assert not torch.equal(network(x), inside)

    def test_a_base_in_bfloat16(self):
        network = nn.Linear(8, 8, bias=False, dtype=torch.bfloat16).requires_grad_(False)
        attach_meft("mlp", network)
        wide = make_meft(1, 8, 4, 3, 4, 12)
        tensors = [t.float() for t in (wide.memory.rows.keys, wide.memory.rows.values, wide.router)]
        layer = meft_of(*tensors, 4, 12)
        x = normal(7, 6, 8, dtype=torch.bfloat16).requires_grad_()
        dy = normal(8, 6, 8, dtype=torch.bfloat16)
        with planned(make_plan([(2, {}), (4, {"mlp": layer})])):
            y = network(x)
        y.backward(dy)
        leaves = [
            t.double().requires_grad_() for t in (x.detach(), network.weight.detach(), *tensors)
        ]
        added = dense_meft(leaves[0][2:], *leaves[2:], 4, 12)
        expected = leaves[0] @ leaves[1].t() + torch.cat([torch.zeros_like(added[:2]), added])
        expected.backward(dy.double())
        torch.testing.assert_close(y.double(), expected, rtol=0.02, atol=0.1)
        torch.testing.assert_close(x.grad.double(), leaves[0].grad, rtol=0.02, atol=0.2)
        torch.testing.assert_close(
            layer.memory.rows.grad_keys.double(), leaves[2].grad, rtol=1e-4, atol=1e-4
        )

    def test_nan_in_one_adapter_stays_in_its_rows(self, network):
        x, dy = normal(7, 1, 12, 8), normal(8, 1, 12, 8)
        results = []
        for poison in (False, True):
            good, bad = make_meft(1, 8, 4, 3, 2, 4), make_meft(5, 8, 2, 5, 1, 3)
            if poison:
                for tensor in (bad.memory.rows.keys, bad.memory.rows.values, bad.router):
                    tensor.fill_(float("nan"))
            segments = [(4, {"mlp": good}), (4, {"mlp": bad}), (4, {})]
            leaf = x.clone().requires_grad_()
            with planned(make_plan(segments)):
                y = network(leaf)
            y.backward(dy)
            others = [0, 1, 2, 3, 8, 9, 10, 11]
            results.append(
                (
                    y[0, others],
                    leaf.grad[0, others],
                    good.memory.rows.grad_keys,
                    good.memory.rows.grad_values,
                )
            )
            assert bool(bad.grad_router.isnan().any()) is poison
        for clean, poisoned in zip(*results, strict=True):
            assert torch.equal(clean, poisoned)


class TestByHand:
    """`meft_forward` and `meft_backward`, as a decoder calls them that has no autograd."""

    def segments(self):
        first, second = make_meft(1, 8, 4, 3, 2, 4), make_meft(5, 8, 2, 5, 1, 3)
        return [(3, {}), (5, {"mlp": first}), (0, {"mlp": second}), (2, {}), (6, {"mlp": second})]

    def test_they_add_to_what_is_there(self):
        segments = self.segments()
        plan, x, dy = make_plan(segments), normal(7, 16, 8), normal(8, 16, 8)
        y, dx = normal(9, 16, 8), normal(10, 16, 8)
        expected_y, expected_dx = y.clone(), dx.clone()
        kept = meft_forward(x, y, "mlp", plan)
        meft_backward(x, dy, dx, kept)
        for rows, layer in (
            (slice(3, 8), segments[1][1]["mlp"]),
            (slice(10, 16), segments[4][1]["mlp"]),
        ):
            leaves = [
                t.clone().requires_grad_()
                for t in (x[rows], layer.memory.rows.keys, layer.memory.rows.values, layer.router)
            ]
            added = dense_meft(*leaves, layer.probes, layer.top_k)
            added.backward(dy[rows])
            expected_y[rows] += added.detach()
            expected_dx[rows] += leaves[0].grad
            for gradient, leaf in zip(
                (layer.memory.rows.grad_keys, layer.memory.rows.grad_values, layer.grad_router),
                leaves[1:],
                strict=True,
            ):
                torch.testing.assert_close(gradient, leaf.grad)
        torch.testing.assert_close(y, expected_y)
        torch.testing.assert_close(dx, expected_dx)

    def test_a_dx_that_is_not_wanted_changes_nothing_else(self):
        x, dy, results = normal(7, 16, 8), normal(8, 16, 8), []
        for dx in (torch.zeros(16, 8, dtype=torch.float64), None):
            segments = self.segments()
            kept = meft_forward(x, torch.zeros_like(x), "mlp", make_plan(segments))
            meft_backward(x, dy, dx, kept)
            layer = segments[1][1]["mlp"]
            results.append(
                (layer.memory.rows.grad_keys, layer.memory.rows.grad_values, layer.grad_router)
            )
        for with_dx, without in zip(*results, strict=True):
            assert torch.equal(with_dx, without)

    def test_without_adapters_nothing_happens(self):
        x, y = normal(7, 5, 8), normal(9, 5, 8)
        before = y.clone()
        assert (
            meft_forward(x, y, "mlp", make_plan([(5, {"other": make_meft(1, 8, 4, 3, 2, 4)})]))
            is None
        )
        assert torch.equal(y, before)
