"""One feed-forward network's adapter on a CPU: MEFT's, and a dense one of as many keys."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pando_kernels.adamw import AdamWSettings
from pando_kernels.meft.layer import MeftKept, MeftLayer
from pando_kernels.meft.memory import HostJobMemory
from pando_kernels.meft.rows import RowShape, make_rows
from pando_shared.adapters import MeftConfig

_SETTINGS = AdamWSettings()
_RATE = 1e-5


@dataclass(frozen=True, slots=True)
class Problem:
    """Tokens x of width d with the gradient dy of what is added to them, and their results' sums.

    x, dy, y, dx [T, d], fp32.
    """

    x: Tensor
    dy: Tensor
    y: Tensor
    dx: Tensor

    @staticmethod
    def of(tokens: int, d: int) -> Problem:
        rng = torch.Generator().manual_seed(0)
        x, dy = (torch.randn(tokens, d, generator=rng) for _ in range(2))
        return Problem(x, dy / tokens, torch.zeros(tokens, d), torch.zeros(tokens, d))


class Side(Protocol):
    def forward(self) -> None: ...

    def backward(self) -> None: ...

    def update(self) -> None:
        """The gradient's norm, a step of AdamW, and gradients of zero."""
        ...


class Trained:
    """A tensor that every step updates whole, with its gradient and moments."""

    def __init__(self, value: Tensor):
        self.value = value
        self.gradient, self.mean, self.square = (torch.zeros_like(value) for _ in range(3))
        self._steps = 0

    def norm(self) -> float:
        return float(torch.linalg.vector_norm(self.gradient))

    def update(self) -> None:
        self._steps += 1
        torch._fused_adamw_(
            [self.value],
            [self.gradient],
            [self.mean],
            [self.square],
            [],
            [torch.tensor(float(self._steps))],
            lr=_RATE,
            beta1=_SETTINGS.beta1,
            beta2=_SETTINGS.beta2,
            weight_decay=_SETTINGS.weight_decay,
            eps=_SETTINGS.epsilon,
            amsgrad=False,
            maximize=False,
        )
        self.gradient.zero_()


def _keys(*size: int) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(size, generator=rng).div_(math.sqrt(size[-1]))


class Sparse:
    """MEFT's layer over rows that are used where they lie."""

    def __init__(self, problem: Problem, config: MeftConfig):
        self._problem, d = problem, problem.x.shape[1]
        self.router = Trained(_keys(config.experts, d))
        shape = RowShape(1, config.experts, config.num_keys // config.experts, d)

        def draw(_: int, keys: Tensor) -> None:
            keys.copy_(_keys(*keys.shape))

        self.memory = HostJobMemory(make_rows(shape, draw))
        self._layer = MeftLayer(
            self.memory.layers[0],
            self.router.value,
            self.router.gradient,
            config.probes,
            config.top_k,
        )
        self._kept: MeftKept | None = None
        self._steps = 0
        self.touched_rows = 0

    def forward(self) -> None:
        self._kept = self._layer.forward(self._problem.x, self._problem.y)

    def backward(self) -> None:
        assert self._kept is not None
        problem = self._problem
        self._layer.backward(problem.x, problem.dy, problem.dx, self._kept, None)
        self._kept = None

    def update(self) -> None:
        self._steps += 1
        self.touched_rows = int(self.memory.rows.touched.sum())
        self.memory.collect()
        self.router.norm()
        self.memory.step(self._steps, _RATE, _SETTINGS, 1.0)
        self.router.update()


class Dense:
    """y += relu(x Kᵀ) V: the parallel adapter that MEFT thins out. K is trained.value[0], V [1]."""

    def __init__(self, problem: Problem, keys: int):
        self._problem, d = problem, problem.x.shape[1]
        value = torch.zeros(2, keys, d)
        value[0] = _keys(keys, d)
        self.trained = Trained(value)
        self._hidden: Tensor | None = None

    def forward(self) -> None:
        keys, values = self.trained.value
        self._hidden = torch.mm(self._problem.x, keys.t()).relu_()
        self._problem.y.addmm_(self._hidden, values)

    def backward(self) -> None:
        assert self._hidden is not None
        problem, (keys, values) = self._problem, self.trained.value
        grad_keys, grad_values = self.trained.gradient
        grad_values.addmm_(self._hidden.t(), problem.dy)
        d_hidden = torch.mm(problem.dy, values.t()).mul_(self._hidden > 0)
        grad_keys.addmm_(d_hidden.t(), problem.x)
        problem.dx.addmm_(d_hidden, keys)
        self._hidden = None

    def update(self) -> None:
        self.trained.norm()
        self.trained.update()
