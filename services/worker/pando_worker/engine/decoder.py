"""From token ids to final hidden states, and back: what the engine asks of any model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from pando_kernels.plan import Plan, planned


class Tape(Protocol):
    """A forward pass that can be run backward, once."""

    def backward(self, d_rows: Tensor) -> None:
        """d_rows [n, d], the gradient of the rows; accumulates the adapters' gradients."""
        ...


class Decoder(Protocol):
    """A decoder without its output layer. Runs any number of microbatches at once."""

    def evaluate(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        """ids, positions int64 [T] -> final hidden states of the needed rows, [n, d]."""
        ...

    def train(self, ids: Tensor, positions: Tensor, plan: Plan) -> tuple[Tensor, Tape]:
        """The same, with the way back."""
        ...


def needed_rows(hidden: Tensor, plan: Plan) -> Tensor:
    """hidden [T, d] -> [n, d]."""
    return hidden if plan.needed is None else hidden.index_select(0, plan.needed.rows)


@dataclass(frozen=True, slots=True)
class _AutogradTape:
    rows: Tensor

    def backward(self, d_rows: Tensor) -> None:
        if self.rows.requires_grad:
            self.rows.backward(d_rows)


@dataclass(frozen=True, slots=True)
class ModuleDecoder:
    """Any decoder of transformers', run as it is, module by module, under autograd."""

    module: nn.Module

    def evaluate(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        return needed_rows(self._hidden(ids, positions, plan), plan)

    def train(self, ids: Tensor, positions: Tensor, plan: Plan) -> tuple[Tensor, Tape]:
        rows = needed_rows(self._hidden(ids, positions, plan), plan)
        return rows.detach(), _AutogradTape(rows)

    def _hidden(self, ids: Tensor, positions: Tensor, plan: Plan) -> Tensor:
        with planned(plan):
            output: Any = self.module(
                input_ids=ids[None], position_ids=positions[None], use_cache=False
            )
        hidden: Tensor = output.last_hidden_state[0]
        return hidden
