"""Building one job's adapter on an opened base: initial values, and a layer object per module."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pando_kernels.lora import LoraLinear
from pando_kernels.meft.layer import MeftLayer
from pando_kernels.meft.memory import JobMemory
from pando_kernels.meft.rows import RowShape
from pando_kernels.paca import PacaLinear
from pando_shared.adapters import AdapterConfig, LoraConfig, MeftConfig, PacaConfig
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import BaseModel
from pando_worker.engine.rows_home import RowsHome, make_home
from pando_worker.engine.vector import ParameterVector, make_vector


@dataclass(frozen=True, slots=True)
class Adapter:
    """A job's trained parameters and where they act.

    Parameter names are `MODULE.lora_A`, `.lora_B`; `.paca_P`; `.meft_keys`, `.meft_values`,
    `.meft_router`. `columns` holds PaCA's chosen input columns by module; `memory` MEFT's keys and
    values, which lie in the host's memory. All else is in the vector.
    """

    config: AdapterConfig
    vector: ParameterVector
    layers: Mapping[str, LoraLinear | PacaLinear | MeftLayer]
    columns: Mapping[str, Tensor]
    memory: JobMemory | None = None

    @property
    def parameters(self) -> Mapping[str, Tensor]:
        """All trained tensors by name, fp32; waits for an update of rows that is in progress."""
        named = dict(self.vector.parameters)
        if self.memory is not None:
            self.memory.settle()
            for index, name in enumerate(self.layers):
                keys, values = self.memory.rows.parameters(index)
                named |= {f"{name}.meft_keys": keys, f"{name}.meft_values": values}
        return named

    @property
    def parameter_count(self) -> int:
        rows = 0 if self.memory is None else self.memory.rows.shape.numbers
        return self.vector.parameter_count + rows

    @property
    def device_bytes(self) -> int:
        """What it holds of the memory of the device that computes."""
        return self.vector.bytes + (0 if self.memory is None else self.memory.device_bytes)

    def clear_gradients(self) -> None:
        self.vector.gradient.zero_()
        if self.memory is not None:
            self.memory.abandon()


def build_adapter(
    base: BaseModel, config: AdapterConfig, seed: int, home: RowsHome | None = None
) -> Adapter:
    """A fresh adapter; `seed` and the module names decide its initial values, nothing else does.

    `home`: where MEFT's rows are; None: in the host's memory.

    Raises:
        InvalidRequest: unknown target modules or layers, a rank larger than a layer, no
            feed-forward network.
        OSError: the disk that rows are mapped to has no room for them.
    """
    match config:
        case LoraConfig():
            return _lora(base, config, seed)
        case PacaConfig():
            return _paca(base, config, seed)
        case MeftConfig():
            return _meft(base, config, seed, home or make_home(base.device, base.dtype))


def _rng(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + zlib.crc32(name.encode()))


def _kaiming(shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """Uniform in ±1/√fan_in: what `kaiming_uniform_(a=√5)` comes to, as PEFT and nn.Linear do."""
    tensor = torch.empty(shape)
    _fill_kaiming(tensor, rng)
    return tensor


def _fill_kaiming(tensor: Tensor, rng: torch.Generator) -> None:
    bound = 1.0 / math.sqrt(tensor.shape[-1])
    tensor.uniform_(-bound, bound, generator=rng)


def _lora(base: BaseModel, config: LoraConfig, seed: int) -> Adapter:
    initial: dict[str, Tensor] = {}
    names = base.match(config.target_modules)
    chosen = set(names)
    for group in base.groups:
        members = [name for name in group.names if name in chosen]
        # The As of linears that run as one product lie behind each other, to be one factor.
        for name in members:
            shape = (config.rank, base.linears[name].in_features)
            initial[f"{name}.lora_A"] = _kaiming(shape, _rng(seed, name))
        for name in members:
            initial[f"{name}.lora_B"] = torch.zeros(base.linears[name].out_features, config.rank)
    vector = make_vector(initial, base.device, base.dtype)
    layers = {
        name: LoraLinear(
            a=vector.computed[f"{name}.lora_A"],
            b=vector.computed[f"{name}.lora_B"],
            grad_a=vector.gradients[f"{name}.lora_A"],
            grad_b=vector.gradients[f"{name}.lora_B"],
            scale=config.scale,
            dropout=config.dropout,
        )
        for name in names
    }
    return Adapter(config, vector, layers, {})


def _paca(base: BaseModel, config: PacaConfig, seed: int) -> Adapter:
    initial: dict[str, Tensor] = {}
    columns: dict[str, Tensor] = {}
    names = base.match(config.target_modules)
    for name in names:
        linear = base.linears[name]
        if config.rank > linear.in_features:
            raise InvalidRequest(
                f"PaCA rank {config.rank} exceeds the {linear.in_features} input columns of {name}",
                param="adapter.rank",
            )
        if config.selection == "weight-norm":
            chosen = linear.frozen.column_norms().topk(config.rank).indices
        else:
            chosen = torch.randperm(linear.in_features, generator=_rng(seed, name))[: config.rank]
        columns[name] = chosen.sort().values.to(base.device)
        initial[f"{name}.paca_P"] = torch.zeros(linear.out_features, config.rank)
    vector = make_vector(initial, base.device, base.dtype)
    layers = {
        name: PacaLinear(
            columns=columns[name],
            b=vector.computed[f"{name}.paca_P"],
            grad_b=vector.gradients[f"{name}.paca_P"],
            scale=config.scale,
        )
        for name in names
    }
    return Adapter(config, vector, layers, columns)


def _meft(base: BaseModel, config: MeftConfig, seed: int, home: RowsHome) -> Adapter:
    if not base.feed_forwards:
        raise InvalidRequest(
            f"{base.path} has no feed-forward network that MEFT can work beside", param="adapter"
        )
    experts, d = config.experts, base.hidden_size
    chosen = range(len(base.feed_forwards)) if config.layers is None else config.layers
    if max(chosen) >= len(base.feed_forwards):
        raise InvalidRequest(
            f"{base.path} has {len(base.feed_forwards)} feed-forward networks; layers names "
            f"{max(chosen)}",
            param="adapter.layers",
        )
    names = tuple(base.feed_forwards[index] for index in sorted(chosen))
    shape = RowShape(len(names), experts, config.num_keys // experts, d)
    rngs = [_rng(seed, name) for name in names]

    def draw_keys(index: int, keys: Tensor) -> None:
        _fill_kaiming(keys, rngs[index])

    memory = home.open(shape, draw_keys, base.dtype)
    initial = {}
    for name, rng in zip(names, rngs, strict=True):
        initial[f"{name}.meft_router"] = _kaiming((experts, d), rng)
    vector = make_vector(initial, base.device, torch.float32)
    memory.connect([(vector.parameters[f"{name}.meft_router"], config.probes) for name in names])
    layers = {
        name: MeftLayer(
            memory=of_layer,
            router=vector.parameters[f"{name}.meft_router"],
            grad_router=vector.gradients[f"{name}.meft_router"],
            probes=config.probes,
            top_k=config.top_k,
            balance=config.balance,
            owner=memory,
        )
        for name, of_layer in zip(names, memory.layers, strict=True)
    }
    return Adapter(config, vector, layers, {}, memory)
