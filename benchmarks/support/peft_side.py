"""peft and AdamW, one job at a time, with the settings that suit it best."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from engine_side import Measured
from length_mixes import Item
from measuring import peak_bytes, release, reset_peak, synchronize
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from pando_kernels.packed_attention import AttentionRule, packed_attention
from pando_kernels.sequences import Sequences

VARLEN = "benchmark_varlen"


@dataclass(frozen=True, slots=True)
class Settings:
    """packed: a batch's sequences behind each other instead of padded. attention: "sdpa", or flash
    attention over variable lengths. pieces: forward passes that a batch is split into.
    """

    packed: bool
    attention: str
    checkpointing: bool = False
    pieces: int = 1

    @property
    def told(self) -> str:
        words = ["packed" if self.packed else "padded"]
        words.append("flash" if self.attention == VARLEN else self.attention)
        if self.checkpointing:
            words.append("checkpointing")
        if self.pieces > 1:
            words.append(f"{self.pieces} pieces")
        return ", ".join(words)


#: Flash attention over variable lengths is the same that our engine calls.
CANDIDATES = (Settings(True, VARLEN), Settings(False, "sdpa"), Settings(True, "sdpa"))


def register_varlen() -> None:
    AttentionInterface.register(VARLEN, _varlen)
    AttentionMaskInterface.register(VARLEN, lambda *_, **__: None)


def _varlen(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    sequences: Sequences,
    **_: Any,
) -> tuple[Tensor, None]:
    """query [1, H, T, D] -> [1, T, H, D]."""
    q, k, v = (t[0].transpose(0, 1) for t in (query, key, value))
    return packed_attention(q, k, v, sequences, AttentionRule(scaling))[None], None


def with_lora(model: PreTrainedModel, rank: int, dropout: float = 0.0) -> Any:
    """The model with LoRA at all linears of its blocks, of the base's type, which is quickest."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules="all-linear"
    )
    adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(model.dtype)
    return adapted.train()


def use_liger(model: PreTrainedModel) -> bool:
    """Liger's kernels in place of the model's own, if they are installed."""
    try:
        from liger_kernel.transformers import apply_liger_kernel_to_llama
    except ImportError:
        return False
    apply_liger_kernel_to_llama(model=model)
    return True


def run_peft(
    adapted: Any, batches: Sequence[Sequence[Item]], settings: Settings, seconds: float
) -> Measured:
    """One optimizer step for each batch, over and over for about `seconds`, at least once.

    The batches are those of jobs that would train one after another: an adapter of theirs costs
    what this one does. Where memory runs out, batches are split further, then activations are
    checkpointed.

    Raises:
        torch.OutOfMemoryError: even then.
    """
    largest = max(len(batch) for batch in batches)
    while True:
        try:
            return _run(adapted, batches, settings, seconds)
        except torch.OutOfMemoryError:
            if settings.pieces >= largest and settings.checkpointing:
                raise
        adapted.zero_grad(set_to_none=True)
        release(adapted.device)
        if settings.pieces < largest:
            settings = replace(settings, pieces=min(2 * settings.pieces, largest))
        else:
            settings = replace(settings, pieces=1, checkpointing=True)


def _run(
    adapted: Any, batches: Sequence[Sequence[Item]], settings: Settings, seconds: float
) -> Measured:
    device = adapted.device
    _set(adapted, settings)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=1e-5, weight_decay=0.0, fused=device.type == "cuda" or None
    )
    longest = max(batches, key=lambda batch: sum(len(tokens) for tokens, _ in batch))
    for _ in range(2):
        _step(adapted, optimizer, trained, longest, settings)
    synchronize(device)
    reset_peak(device)
    began, tokens = time.perf_counter(), 0
    while tokens == 0 or time.perf_counter() - began < seconds:
        for batch in batches:
            _step(adapted, optimizer, trained, batch, settings)
            tokens += sum(len(item) for item, _ in batch)
        synchronize(device)
    spent = time.perf_counter() - began
    return Measured(tokens, spent, peak_bytes(device), settings.told)


def gradients(adapted: Any, batch: Sequence[Item], settings: Settings) -> list[Tensor]:
    """Of the mean loss over a batch's targets, by every trained tensor."""
    _set(adapted, settings)
    _backward(adapted, batch, settings)
    found = [p.grad for p in adapted.parameters() if p.requires_grad]
    adapted.zero_grad(set_to_none=True)
    return found


def _set(adapted: Any, settings: Settings) -> None:
    model = adapted.get_base_model()
    model.set_attn_implementation(settings.attention)
    # transformers 5.23 renamed these.
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if settings.checkpointing:
        getattr(model, f"{kind}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{kind}_checkpointing_disable")()


def _step(
    adapted: Any,
    optimizer: torch.optim.Optimizer,
    trained: list[nn.Parameter],
    batch: Sequence[Item],
    settings: Settings,
) -> None:
    _backward(adapted, batch, settings)
    nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _backward(adapted: Any, batch: Sequence[Item], settings: Settings) -> None:
    targets = sum(int(at.sum()) for _, at in batch)
    size = -(-len(batch) // settings.pieces)
    arrange = _packed if settings.packed else _padded
    for first in range(0, len(batch), size):
        inputs = arrange(batch[first : first + size], adapted.device, settings)
        # The sum over targets divided by those of the whole batch, so pieces' gradients add up.
        loss = adapted(**inputs, use_cache=False, num_items_in_batch=targets).loss
        loss.backward()


def _packed(items: Sequence[Item], device: torch.device, settings: Settings) -> dict[str, Any]:
    ids = np.concatenate([tokens for tokens, _ in items])
    labels = np.where(np.concatenate([at for _, at in items]), ids, -100)
    positions = np.concatenate([np.arange(len(tokens)) for tokens, _ in items])
    inputs: dict[str, Any] = {
        name: torch.from_numpy(array).to(device)[None]
        for name, array in (("input_ids", ids), ("labels", labels), ("position_ids", positions))
    }
    if settings.attention == VARLEN:
        inputs["sequences"] = Sequences(tuple(len(tokens) for tokens, _ in items), device)
    return inputs


def _padded(items: Sequence[Item], device: torch.device, _: Settings) -> dict[str, Any]:
    longest = max(len(tokens) for tokens, _ in items)
    ids, mask, labels = (np.full((len(items), longest), fill) for fill in (0, 0, -100))
    for row, (tokens, at) in enumerate(items):
        n = len(tokens)
        ids[row, :n], mask[row, :n] = tokens, 1
        labels[row, :n] = np.where(at, tokens, -100)
    arrays = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}
