"""Text from the base, with or without an adapter: enough to try a model out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from pando_kernels.plan import AdapterSet, Plan, planned
from pando_kernels.segment_layout import SegmentLayout
from pando_kernels.sequences import Sequences
from pando_shared.errors import InvalidRequest
from pando_worker.engine.base_model import BaseModel


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to choose the next token; temperature 0 takes the likeliest."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    end_tokens: frozenset[int] = frozenset()


@torch.inference_mode()
def generate(
    base: BaseModel, layers: Mapping[str, Any], prompt: list[int], sampling: Sampling
) -> Iterator[int]:
    """Yield new token ids until an end token (not yielded) or `max_tokens`.

    `layers` is an adapter's layer by module name, as in training; empty for the base alone.
    """
    rng = torch.Generator(base.device)
    if sampling.seed is None:
        rng.seed()
    else:
        rng.manual_seed(sampling.seed)
    cache = DynamicCache(config=base.model.config)
    ids = torch.tensor([prompt], device=base.device)
    adapters = AdapterSet((layers,))
    room = min(sampling.max_tokens, base.max_positions - len(prompt))
    for position in range(len(prompt), len(prompt) + max(0, room)):
        count = ids.shape[1]
        positions = torch.arange(position - count, position, device=base.device)[None]
        # No sequence lengths: the attention then follows the cache instead of a packing.
        layout = SegmentLayout((0, count), (0,), base.device)
        with planned(Plan(adapters, layout, Sequences((), base.device))):
            output = base.model.base_model(
                input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True
            )
        logits = base.head.logits(output.last_hidden_state[0, -1:])[0]
        token = _choose(logits, sampling, rng)
        if token in sampling.end_tokens:
            return
        yield token
        ids = torch.tensor([[token]], device=base.device)


def _choose(logits: Tensor, sampling: Sampling, rng: torch.Generator) -> int:
    """logits fp32 [V] -> a token id.

    Raises:
        InvalidRequest: an adapter that ran away in training gives no finite numbers. Drawing from
            what is no probability would leave a GPU unusable, for all jobs.
    """
    likeliest = logits.max()
    if not likeliest.isfinite():
        raise InvalidRequest(
            "the model's output is not finite; if it is an adapter, its training ran away: train "
            "it with a lower learning rate"
        )
    if sampling.temperature == 0.0:
        return int(logits.argmax())
    # From the likeliest down, so that however low a temperature leads to zeros, not to infinity.
    temperature = max(sampling.temperature, torch.finfo(logits.dtype).tiny)
    probabilities = ((logits - likeliest) / temperature).softmax(0)
    if sampling.top_p < 1.0:
        ordered, order = probabilities.sort(descending=True)
        outside = ordered.cumsum(0) - ordered >= sampling.top_p
        probabilities[order[outside]] = 0.0
    return int(torch.multinomial(probabilities, 1, generator=rng))
