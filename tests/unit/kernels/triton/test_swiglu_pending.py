"""Gated activations that add adapters' sums on the way: against the dense formula, in fp64."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from segment_world import Job, World, alone, expanded, magnitude, make_world, members, unshrunk
from torch import Tensor
from torch.nn import functional

from pando_kernels.backend import always_triton
from pando_kernels.lora import LoraLinear
from pando_kernels.paca import PacaLinear
from pando_kernels.pending import Pending
from pando_kernels.swiglu import swiglu, swiglu_backward

FP32, BF16, FP16 = torch.float32, torch.bfloat16, torch.float16
D = 24

#: Segments, m, and each job's adapters at gate and up, and at down.
WORLDS = {
    "mixed": (
        [(67, 0), (0, 1), (3, 1), (1, 3), (5, -1), (66, 3), (3, 2), (2, 4), (4, 5)],
        72,
        [
            Job(LoraLinear, 16, dropout=0.1),
            Job(PacaLinear, 3, missing=(1,)),
            None,
            Job(LoraLinear, 128, missing=(0,)),
            Job(LoraLinear, 1),
            Job(PacaLinear, 16, dropout=0.25),
        ],
        [
            Job(LoraLinear, 16, dropout=0.1),
            None,
            Job(LoraLinear, 5, dropout=0.5),
            Job(LoraLinear, 100),
            None,
            Job(PacaLinear, 20, dropout=0.25),
        ],
    ),
    "aligned": (
        [(63, 1), (40, 0), (24, 2)],
        128,
        [Job(LoraLinear, 16), Job(PacaLinear, 8), Job(LoraLinear, 24, missing=(1,))],
        [Job(LoraLinear, 16), Job(PacaLinear, 8), Job(LoraLinear, 24)],
    ),
    "odd": ([(5, 0), (2, -1)], 7, [Job(LoraLinear, 3)], [Job(LoraLinear, 3, dropout=0.5)]),
    "only paca": ([(5, 0), (3, 1)], 9, [Job(PacaLinear, 2), None], [None, Job(PacaLinear, 4)]),
    "no row": ([(0, 0)], 8, [Job(LoraLinear, 3)], [Job(LoraLinear, 3)]),
}
CASES = [
    *((name, FP32) for name in WORLDS),
    ("mixed", BF16),
    ("aligned", BF16),
    ("odd", FP16),
]
ACTIVATIONS = ["silu", "gelu_tanh"]
#: No |activation'| and |activation''| is larger.
STEEPEST = 1.2

#: The interpreter warns where a GPU goes on with infinity, as is meant.
pytestmark = [
    pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def _triton():
    with always_triton():
        yield


@dataclass(frozen=True)
class Network:
    """gate_up [T, 2m] is `outer.y`, dact [T, m] is `inner.dx`; both lack their adapters' sums."""

    outer: World
    inner: World

    @property
    def pending(self) -> Pending:
        return Pending(self.outer.s, self.outer.group, self.outer.layout)

    @property
    def pending_dact(self) -> Pending:
        return Pending(self.inner.ds, self.inner.group, self.outer.layout)


def make_network(name, dtype, device) -> Network:
    segments, m, outer, inner = WORLDS[name]
    return Network(
        make_world(outer, segments, (m, m), D, dtype, device),
        make_world(inner, segments, (D,), m, dtype, device),
    )


def activation_of(gate: Tensor, kind: str) -> Tensor:
    return functional.silu(gate) if kind == "silu" else functional.gelu(gate, approximate="tanh")


def formula(gate_up: Tensor, dact: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """(act, d(gate_up)) by autograd."""
    leaf = gate_up.clone().requires_grad_()
    gate, up = leaf.chunk(2, 1)
    act = activation_of(gate, kind) * up
    act.backward(dact)
    return act.detach(), leaf.grad


def spread(gate_up, dact, error, error_dact, kind) -> tuple[Tensor, Tensor]:
    """How far errors of gate_up and dact move the results, at most."""
    gate, up = gate_up.chunk(2, 1)
    of_gate, of_up = error.chunk(2, 1)
    active, d = activation_of(gate, kind).abs(), dact.abs()
    of_active = STEEPEST * of_gate
    of_dgate = STEEPEST * (error_dact * up.abs() + d * of_up + d * up.abs() * of_gate)
    act = up.abs() * of_active + active * of_up
    return act, torch.cat([of_dgate, error_dact * active + d * of_active], 1)


def assert_within(actual: Tensor, expected: Tensor, margin: Tensor) -> None:
    """Roundings at the end, and of PaCA's columns of dact; sums are made in fp32."""
    sums = 8 * torch.finfo(FP32).eps * margin
    limit = 2 * torch.finfo(actual.dtype).eps * expected.abs() + sums + 1e-6
    error = (actual.double() - expected).abs()
    assert bool((error <= limit).all()), f"off by {float((error / limit).max()):.3g} of the limit"


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_it_equals_the_dense_formula(device, name, dtype, kind):
    net = make_network(name, dtype, device)
    whole, whole_dact = expanded(net.outer), unshrunk(net.inner)
    error, error_dact = expanded(magnitude(net.outer)), unshrunk(magnitude(net.inner))
    act, gradient = formula(whole, whole_dact, kind)
    margin, margin_gradient = spread(whole, whole_dact, error, error_dact, kind)
    before = net.outer.y.clone()
    found = swiglu(net.outer.y, kind, net.pending)
    assert found.dtype == dtype
    assert_within(found, act, margin)
    assert torch.equal(net.outer.y, before)
    result = swiglu_backward(net.inner.dx, net.outer.y, kind, net.pending, net.pending_dact)
    assert result is net.outer.y
    assert_within(result, gradient, margin_gradient)


@pytest.mark.parametrize("name", ["mixed", "only paca"])
@pytest.mark.parametrize("missing", ["gate_up", "dact"])
def test_either_sum_may_have_been_added_before(device, name, missing):
    net = make_network(name, FP32, device)
    whole, whole_dact = expanded(net.outer), unshrunk(net.inner)
    pending, pending_dact = net.pending, net.pending_dact
    if missing == "gate_up":
        net.outer.y.copy_(whole)
        pending = None
    else:
        net.inner.dx.copy_(whole_dact)
        pending_dact = None
    error, error_dact = expanded(magnitude(net.outer)), unshrunk(magnitude(net.inner))
    _, gradient = formula(whole, whole_dact, "silu")
    _, margin = spread(whole, whole_dact, error, error_dact, "silu")
    found = swiglu_backward(net.inner.dx, net.outer.y, "silu", pending, pending_dact)
    assert_within(found, gradient, margin)


def run(net: Network, kind: str = "silu") -> tuple[Tensor, Tensor]:
    """(act, d(gate_up)), with nothing pending where no job has an adapter."""
    pending, pending_dact = (
        one if any(slot is not None for slot in one.group.slots) else None
        for one in (net.pending, net.pending_dact)
    )
    act = swiglu(net.outer.y, kind, pending)
    gate_up, dact = net.outer.y.clone(), net.inner.dx.clone()
    return act, swiglu_backward(dact, gate_up, kind, pending, pending_dact)


def same(left: Tensor, right: Tensor) -> bool:
    kind = {2: torch.int16, 4: torch.int32}[left.element_size()]
    return torch.equal(left.view(kind), right.view(kind))


@pytest.mark.parametrize(("dtype", "kind"), [(FP32, "gelu_tanh"), (BF16, "silu")], ids=str)
def test_alone_is_the_same_as_among_neighbours(device, dtype, kind):
    net = make_network("mixed", dtype, device)
    found = run(net, kind)
    starts = net.outer.layout.starts
    for segment, slot in enumerate(net.outer.layout.slots):
        if slot >= 0:
            own = Network(alone(net.outer, segment), alone(net.inner, segment))
            rows = slice(starts[segment], starts[segment + 1])
            for together, expected in zip(found, run(own, kind), strict=True):
                assert same(together[rows], expected)


@pytest.mark.parametrize("dtype", [FP32, BF16], ids=str)
def test_rows_without_an_adapter_get_what_the_activation_alone_gives(device, dtype):
    net = make_network("mixed", dtype, device)
    act, gradient = run(net)
    segment = net.outer.layout.slots.index(-1)
    rows = slice(*net.outer.layout.starts[segment : segment + 2])
    gate_up = net.outer.y[rows].clone()
    assert same(act[rows], swiglu(gate_up))
    assert same(gradient[rows], swiglu_backward(net.inner.dx[rows], gate_up))


@pytest.mark.parametrize("bad", [0, 3, 5], ids=["lora", "wide", "paca"])
def test_a_job_that_is_not_finite_changes_no_other(device, bad):
    expected = run(make_network("mixed", BF16, device))
    sick = make_network("mixed", BF16, device)
    others = torch.ones(sick.outer.layout.tokens, dtype=torch.bool, device=device)
    for rows, slot in sick.outer.layout.parts():
        if slot == bad:
            others[rows] = False
    sick.outer.y[~others] = float("nan")
    sick.inner.dx[~others] = float("inf")
    for columns in (sick.outer.s, sick.inner.ds):
        columns[~others] = torch.where(columns[~others] != 0, float("nan"), 0.0).to(BF16)
    for world in (sick.outer, sick.inner):
        for (slot, _), member in members(world):
            if slot == bad:
                member.b.fill_(float("nan"))
                if isinstance(member, LoraLinear):
                    member.a.fill_(float("inf"))
    for found, healthy in zip(run(sick), expected, strict=True):
        assert same(found[others], healthy[others])
        assert not found[~others].isfinite().any()


def test_without_keys_nothing_is_dropped(device):
    """Evaluation, and jobs whose dropout is zero beside others."""
    net = make_network("odd", FP32, device)
    layout = replace(net.outer.layout, keys=None)
    found, expected = (
        swiglu_backward(
            net.inner.dx.clone(),
            net.outer.y.clone(),
            "silu",
            None,
            Pending(net.inner.ds, replace(net.inner.group, slots=slots), layout),
        )
        for slots in (net.inner.group.slots, without_dropout(net.inner))
    )
    assert torch.equal(found, expected)


def without_dropout(world: World):
    return tuple(
        slot and replace(slot, members=tuple(m and replace(m, dropout=0.0) for m in slot.members))
        for slot in world.group.slots
    )


def test_rows_may_lie_apart(device):
    net = make_network("aligned", FP32, device)
    act, gradient = run(net)
    tokens, m = act.shape
    wide = torch.zeros(tokens, 3 * m + 5, device=device)
    gate_up, dact = wide[:, 1 : 2 * m + 1], wide[:, 2 * m + 4 : 3 * m + 4]
    gate_up.copy_(net.outer.y)
    dact.copy_(net.inner.dx)
    assert torch.equal(swiglu(gate_up, "silu", net.pending), act)
    swiglu_backward(dact, gate_up, "silu", net.pending, net.pending_dact)
    assert torch.equal(gate_up, gradient)
    assert not wide[:, 0].any()
    assert not wide[:, 2 * m + 1 : 2 * m + 4].any()
    assert not wide[:, -1].any()


def test_what_does_not_fit_together_is_refused(device):
    net = make_network("odd", FP32, device)
    other = replace(net.pending_dact, layout=replace(net.outer.layout))
    with pytest.raises(ValueError, match="two layouts"):
        swiglu_backward(net.inner.dx, net.outer.y, "silu", net.pending, other)
    with pytest.raises(ValueError, match="equal width"):
        swiglu(net.outer.y, "silu", net.pending_dact)
    with pytest.raises(TypeError, match="adapters of that type"):
        swiglu(net.outer.y.half(), "silu", net.pending)
