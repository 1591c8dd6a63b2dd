"""One microbatch of many jobs through a base, by whichever decoder, and the gradients it leaves."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace

import torch
from adapter_tensors import gradients_of
from engine_jobs import shake
from torch import Tensor

from pando_kernels.linear_group import LinearGroup
from pando_kernels.plan import AdapterSet
from pando_shared.adapters import AdapterConfig, LoraConfig
from pando_worker.engine.adapters import Adapter, build_adapter
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.decoder import ModuleDecoder
from pando_worker.engine.microbatch import Result, run_microbatch
from pando_worker.engine.packed_batch import Share
from tiny_models import random_sequences


@dataclass(frozen=True, slots=True)
class Jobs:
    """Adapters that have learnt something, and each job's share of a microbatch."""

    adapters: tuple[Adapter, ...]
    shares: tuple[Share, ...]

    @property
    def set(self) -> AdapterSet:
        return AdapterSet(tuple(adapter.layers for adapter in self.adapters))


def make_jobs(
    base: BaseModel, configs: list[AdapterConfig], sequences: int = 3, longest: int = 40
) -> Jobs:
    """Everything follows from a job's place in the list and its configuration."""
    adapters, shares = [], []
    for index, config in enumerate(configs):
        adapter = build_adapter(base, config, seed=index)
        shake(adapter, seed=index)
        adapter.vector.refresh()
        data = random_sequences(index, sequences, longest=longest)
        items = [data.sequence(i) for i in range(sequences)]
        drops = isinstance(config, LoraConfig) and config.dropout > 0.0
        keys = [1000 * index + i for i in range(sequences)] if drops else None
        shares.append(Share(index, items, 0.1 * (index + 1), keys))
        adapters.append(adapter)
    return Jobs(tuple(adapters), tuple(shares))


def train(base: BaseModel, jobs: Jobs) -> tuple[list[Result], list[dict[str, Tensor]]]:
    """Each job's sums, and its gradients by the parameters' names."""
    for adapter in jobs.adapters:
        adapter.clear_gradients()
    results = run_microbatch(base, jobs.set, jobs.shares, train=True)
    return results, [gradients_of(adapter) for adapter in jobs.adapters]


@dataclass(frozen=True)
class _Member(LinearGroup):
    """A linear that runs alone, with the dropout masks of the group that `leader` is first of."""

    leader: str = ""

    @property
    def site(self) -> int:
        return zlib.crc32(self.leader.encode())


def by_module(base: BaseModel) -> BaseModel:
    """The same base on transformers' own modules, under autograd."""
    for group in base.groups:
        for name in group.names:
            own = base.linears[name].group
            member = _Member(own.names, own.widths, own.weight, own.bias, group.names[0])
            base.linears[name].group = member
    return replace(base, decoder=ModuleDecoder(base.model.base_model))


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Relative to theirs, which must not be zero."""
    norm = float(theirs.double().norm())
    assert norm > 0.0
    return float((ours.double() - theirs.double()).norm()) / norm


def flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients.values()])
