"""How others run a linear layer with LoRA, on the same problem: forward, dX and adapter gradients.

Each peer is a function that prepares what need not be done again in every step and returns what
is timed, or None where it does not apply; ImportError where it is not installed. None trains the
base or has dropout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from linear_problem import Problem
from torch import Tensor, nn

from pando_kernels.lora import LoraLinear

Run = Callable[[], object]


def _jobs(problem: Problem) -> list[tuple[slice, Sequence[LoraLinear]]]:
    """Each job's rows and its adapters, one for each linear of the group."""
    plan = problem.lora
    return [
        (rows, [plan.adapters.jobs[slot][name] for name in problem.names])
        for rows, slot in plan.layout.parts()
    ]


def _add_lora(x: Tensor, y: Tensor, adapter: LoraLinear) -> Tensor:
    """y += s · x Aᵀ Bᵀ; returns x Aᵀ."""
    down = torch.mm(x, adapter.a.t())
    y.addmm_(down, adapter.b.t(), alpha=adapter.scale)
    return down


def _lora_backward(x: Tensor, dy: Tensor, dx: Tensor, down: Tensor, adapter: LoraLinear) -> None:
    """dx += s · dy B A; gradients in 16 bit are added to those in 32."""
    up = torch.mm(dy, adapter.b).mul_(adapter.scale)
    dx.addmm_(up, adapter.a)
    adapter.grad_a.add_(torch.mm(up.t(), x))
    adapter.grad_b.add_(torch.mm(dy.t(), down), alpha=adapter.scale)


def segment_loop(problem: Problem) -> Run:
    """One frozen product for all rows; then cuBLAS, job by job and linear by linear."""
    jobs, outputs = _jobs(problem), problem.adapters(problem.lora).outputs
    x, dy, weight = problem.x, problem.dy, problem.weight

    def run() -> tuple[Tensor, Tensor]:
        y = torch.mm(x, weight.t())
        downs = [
            [
                _add_lora(x[rows], y[rows, columns], adapter)
                for adapter, columns in zip(adapters, outputs, strict=True)
            ]
            for rows, adapters in jobs
        ]
        dx = torch.mm(dy, weight)
        for (rows, adapters), kept in zip(jobs, downs, strict=True):
            for adapter, columns, down in zip(adapters, outputs, kept, strict=True):
                _lora_backward(x[rows], dy[rows, columns], dx[rows], down, adapter)
        return y, dx

    return run


def job_after_job(problem: Problem) -> Run:
    """Unsloth's way: one job at a time, each linear a cuBLAS product and addmm for its adapter."""
    jobs, outputs = _jobs(problem), problem.adapters(problem.lora).outputs
    x, dy = problem.x, problem.dy
    weights = [problem.weight[columns] for columns in outputs]

    def run() -> None:
        for rows, adapters in jobs:
            mine, downs = x[rows], []
            for adapter, weight in zip(adapters, weights, strict=True):
                y = torch.mm(mine, weight.t())
                downs.append(_add_lora(mine, y, adapter))
            dx: Tensor | None = None
            parts = [dy[rows, columns] for columns in outputs]
            for adapter, weight, part, down in zip(adapters, weights, parts, downs, strict=True):
                dx = torch.mm(part, weight) if dx is None else dx.addmm_(part, weight)
                _lora_backward(mine, part, dx, down, adapter)

    return run


def peft_layer(problem: Problem) -> Run | None:
    """`peft`'s own layer under autograd, for one job; its adapters of the base's type."""
    if problem.case.jobs != 1:
        return None
    from peft import LoraConfig, inject_adapter_in_model

    model = nn.Module()
    for name, columns in zip(problem.names, problem.adapters(problem.lora).outputs, strict=True):
        weight = problem.weight[columns]
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        linear.weight = nn.Parameter(weight, requires_grad=False)
        model.add_module(name, linear)
    rank = problem.case.rank
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(problem.names))
    inject_adapter_in_model(config, model)
    model.to(problem.weight.dtype).train()
    layers = [getattr(model, name) for name in problem.names]
    x = problem.x.detach().requires_grad_()
    trained = [p for p in model.parameters() if p.requires_grad]
    parts = problem.dy.split(problem.case.shape.widths, 1)

    def run() -> tuple[Tensor, ...]:
        outputs = [layer(x) for layer in layers]
        return torch.autograd.grad(outputs, [x, *trained], parts)

    return run


def concatenated_forward(problem: Problem) -> Run | None:
    """[X|S]·[W|B]ᵀ as one cuBLAS product over K + J·C columns, and S by torch."""
    return _concatenated(problem, forward=True)


def concatenated_dx(problem: Problem) -> Run | None:
    """[dY|dS]·[W;A] as one cuBLAS product; dS is given."""
    return _concatenated(problem, forward=False)


def _concatenated(problem: Problem, forward: bool) -> Run | None:
    case, jobs = problem.case, _jobs(problem)
    extra = case.jobs * len(case.shape.widths) * case.rank
    if extra > 1024:
        return None
    long = problem.x if forward else problem.dy
    weight = problem.weight if forward else problem.weight.t()
    # The rows' producer would write them here, and B or A would be kept here.
    left = torch.cat([long, long.new_zeros(len(long), extra)], 1)
    right = torch.cat([weight, weight.new_zeros(len(weight), extra)], 1)
    outputs = problem.adapters(problem.lora).outputs
    blocks = []
    at = long.shape[1]
    for rows, adapters in jobs:
        stacked = torch.cat([adapter.a for adapter in adapters])
        blocks.append((rows, slice(at, at + len(stacked)), stacked))
        for g, (adapter, columns) in enumerate(zip(adapters, outputs, strict=True)):
            own = slice(at + g * case.rank, at + (g + 1) * case.rank)
            if forward:
                right[columns, own] = adapter.b
            else:
                right[:, own] = adapter.a.t()
        at += len(stacked)

    def run() -> Tensor:
        if forward:
            for rows, columns, stacked in blocks:
                torch.mm(problem.x[rows], stacked.t(), out=left[rows, columns])
        return torch.mm(left, right.t())

    return run


PEERS: dict[str, Callable[[Problem], Run | None]] = {
    "loop": segment_loop,
    "job by job": job_after_job,
    "peft": peft_layer,
    "[X|S] forward": concatenated_forward,
    "[dY|dS] dX": concatenated_dx,
}
