"""The dense parallel adapter of He et al. (ICLR 2022): every key at every token, no router.

y = FFN(x) + W_V ReLU(W_K x) beside every frozen feed-forward network of a stock transformers model,
by autograd. It is what MEFT makes sparse.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from knowledge_facts import Facts
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, PreTrainedModel

from pando_shared.training import Plan
from pando_worker.engine.data import batch_at


@dataclass(frozen=True, slots=True)
class DenseConfig:
    """`num_keys` keys and as many values a layer, all of them used."""

    num_keys: int


class ParallelAdapter(nn.Module):
    """keys, values [M, d]; values start at zero, keys as nn.Linear's weights do."""

    def __init__(self, num_keys: int, hidden_size: int, rng: torch.Generator):
        super().__init__()
        bound = 1.0 / math.sqrt(hidden_size)
        keys = torch.empty(num_keys, hidden_size).uniform_(-bound, bound, generator=rng)
        self.keys = nn.Parameter(keys)
        self.values = nn.Parameter(torch.zeros(num_keys, hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x @ self.keys.t()) @ self.values


def stock_base(path: str) -> PreTrainedModel:
    """The base as transformers runs it, in fp32, frozen."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return model.requires_grad_(False).eval()


def attach(model: PreTrainedModel, config: DenseConfig, seed: int) -> nn.ModuleList:
    """An adapter beside every feed-forward network of a Llama."""
    rng = torch.Generator().manual_seed(seed)
    adapters = nn.ModuleList()
    for layer in model.base_model.layers:
        adapter = ParallelAdapter(config.num_keys, model.config.hidden_size, rng)
        layer.mlp.register_forward_hook(
            lambda _, inputs, output, adapter=adapter: output + adapter(inputs[0])
        )
        adapters.append(adapter)
    return adapters


def _answers(facts: Facts) -> int:
    return int(facts.items[0][1].sum())


def answer_logits(model: PreTrainedModel, ids: Tensor, answers: int) -> Tensor:
    """ids [B, L] -> logits [B, answers, V] of the last tokens, each from those before it."""
    return model(input_ids=ids, logits_to_keep=answers + 1).logits[:, :-1]


def steps(
    model: PreTrainedModel, trained: list[nn.Parameter], facts: Facts, plan: Plan
) -> Iterator[float]:
    """AdamW steps over the batches that the engine would take; yields each one's loss."""
    answers, ids = _answers(facts), torch.from_numpy(facts.ids)
    optimizer = torch.optim.AdamW(trained, lr=plan.learning_rate, weight_decay=0.0)
    for step in range(plan.total_steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate_at(step)
        batch = ids[batch_at(step, len(ids), plan.batch_size, plan.config.seed)]
        logits = answer_logits(model, batch, answers)
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, -answers:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, plan.config.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        yield float(loss.detach())


@torch.no_grad()
def accuracy(model: PreTrainedModel, facts: Facts) -> float:
    """The part of all facts whose token is the likeliest."""
    answers = _answers(facts)
    hits = sum(
        int((answer_logits(model, ids, answers).argmax(-1) == ids[:, -answers:]).sum())
        for ids in torch.from_numpy(facts.ids).split(64)
    )
    return hits / facts.facts
