"""Each segment operation on a problem, with the least work that any implementation must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from linear_problem import Case, Problem

from pando_kernels.plan import Plan
from pando_kernels.segment_ops import segment_ops

#: What a GPU reads at least where it wants a single number of a row.
_SECTOR_BYTES = 32
#: Gradients are fp32, read and written.
_GRADIENT_BYTES = 8


@dataclass(frozen=True, slots=True)
class Operation:
    """`flops` and `bytes` are floors: each tensor read or written once, from memory."""

    name: str
    run: Callable[[], object]
    flops: float
    bytes: float


@dataclass(frozen=True, slots=True)
class _Floors:
    """Bytes of a case's tensors. C = G · r columns of S."""

    case: Case
    item: int

    @property
    def columns(self) -> int:
        return len(self.case.shape.widths) * self.case.rank

    @property
    def x(self) -> float:
        return self.case.tokens * self.case.shape.inputs * self.item

    @property
    def y(self) -> float:
        return self.case.tokens * self.case.shape.outputs * self.item

    @property
    def s(self) -> float:
        return self.case.tokens * self.columns * self.item

    @property
    def weight(self) -> float:
        return self.case.shape.inputs * self.case.shape.outputs * self.item

    @property
    def a_numbers(self) -> float:
        return self.case.jobs * self.columns * self.case.shape.inputs

    @property
    def b_numbers(self) -> float:
        return self.case.jobs * self.case.rank * self.case.shape.outputs

    @property
    def chosen(self) -> float:
        """X at PaCA's columns."""
        return min(self.x, self.case.tokens * self.columns * _SECTOR_BYTES)

    @property
    def product(self) -> float:
        """FLOPs of the frozen product, one way."""
        return 2.0 * self.case.tokens * self.case.shape.inputs * self.case.shape.outputs

    @property
    def at_input(self) -> float:
        """FLOPs of one product with A or its like."""
        return 2.0 * self.case.tokens * self.columns * self.case.shape.inputs

    @property
    def at_output(self) -> float:
        """FLOPs of one product with B or its like."""
        return 2.0 * self.case.tokens * self.case.rank * self.case.shape.outputs


def frozen_operations(problem: Problem) -> Iterator[Operation]:
    """The layer without adapters."""
    floors = _Floors(problem.case, problem.x.element_size())
    weight, x, dy = problem.group.weight, problem.x, problem.dy
    one_way = floors.x + floors.weight + floors.y
    yield Operation("frozen forward", lambda: weight.forward(x, None), floors.product, one_way)
    yield Operation("frozen dX", lambda: weight.backward(dy), floors.product, one_way)
    yield Operation(
        "frozen both",
        lambda: (weight.forward(x, None), weight.backward(dy)),
        2 * floors.product,
        2 * one_way,
    )


def lora_operations(problem: Problem) -> Iterator[Operation]:
    floors = _Floors(problem.case, problem.x.element_size())
    plan, item = problem.lora, floors.item
    group, layout = problem.adapters(plan), plan.layout
    ops = segment_ops(problem.x.device)
    s = ops.shrink(problem.x, group, layout)
    y, dx = torch.zeros_like(problem.dy), torch.zeros_like(problem.x)
    a, b = floors.a_numbers, floors.b_numbers
    yield Operation(
        "shrink",
        lambda: ops.shrink(problem.x, group, layout),
        floors.at_input,
        floors.x + a * item + floors.s,
    )
    yield Operation(
        "expand",
        lambda: ops.expand(s, group, layout, y),
        floors.at_output,
        floors.s + b * item + 2 * floors.y,
    )
    yield Operation(
        "reduce",
        lambda: ops.reduce(problem.dy, s, group, layout),
        2 * floors.at_output,
        floors.y + 2 * floors.s + b * (item + _GRADIENT_BYTES),
    )
    yield Operation(
        "weigh",
        lambda: ops.weigh(s, problem.x, group, layout),
        floors.at_input,
        floors.x + floors.s + a * _GRADIENT_BYTES,
    )
    yield Operation(
        "unshrink",
        lambda: ops.unshrink(s, group, layout, dx),
        floors.at_input,
        floors.s + a * item + 2 * floors.x,
    )
    yield from _gemm_expand(problem, floors, plan)
    yield Operation(
        "LoRA both",
        lambda: problem.forward_backward(plan),
        2 * floors.product + 3 * (floors.at_input + floors.at_output),
        2 * (floors.x + floors.weight + floors.y) + (a + b) * (item + _GRADIENT_BYTES),
    )


def _gemm_expand(problem: Problem, floors: _Floors, plan: Plan) -> Iterator[Operation]:
    """The frozen product with expand in its epilogue, which only Triton's backend has."""
    try:
        from pando_kernels.triton.gemm_expand import gemm_expand
    except ImportError:
        return
    ops, group, layout = segment_ops(problem.x.device), problem.adapters(plan), plan.layout
    s = ops.shrink(problem.x, group, layout)
    flops = floors.product + floors.at_output
    moved = floors.x + floors.weight + floors.y + floors.s + floors.b_numbers * floors.item

    def apart() -> None:
        ops.expand(s, group, layout, problem.group.weight.forward(problem.x, None))

    yield Operation("gemm, expand", apart, flops, moved)
    yield Operation(
        "gemm+expand",
        lambda: gemm_expand(problem.x, problem.weight, None, s, group, layout),
        flops,
        moved,
    )


def paca_operations(problem: Problem) -> Iterator[Operation]:
    floors = _Floors(problem.case, problem.x.element_size())
    plan, item, b = problem.paca, floors.item, floors.b_numbers
    group, layout = problem.adapters(plan), plan.layout
    ops = segment_ops(problem.x.device)
    s = ops.shrink(problem.x, group, layout)
    y, dx = torch.zeros_like(problem.dy), torch.zeros_like(problem.x)
    yield Operation(
        "PaCA gather",
        lambda: ops.shrink(problem.x, group, layout),
        0,
        floors.chosen + floors.s,
    )
    yield Operation(
        "PaCA expand",
        lambda: ops.expand(s, group, layout, y),
        floors.at_output,
        floors.s + b * item + 2 * floors.y,
    )
    yield Operation(
        "PaCA reduce",
        lambda: ops.reduce(problem.dy, s, group, layout),
        2 * floors.at_output,
        floors.y + 2 * floors.s + b * (item + _GRADIENT_BYTES),
    )
    yield Operation(
        "PaCA scatter",
        lambda: ops.unshrink(s, group, layout, dx),
        0,
        floors.s + 2 * floors.chosen,
    )
    yield Operation(
        "PaCA both",
        lambda: problem.forward_backward(plan),
        2 * floors.product + 3 * floors.at_output,
        2 * (floors.x + floors.weight + floors.y) + b * (item + _GRADIENT_BYTES),
    )
